//! The end of a client.

use std::sync::Arc;

use tokio::sync::watch;

use crate::Error;

/// Says to everything of a client that it is closed.
#[derive(Clone)]
pub(crate) struct Closing(Arc<watch::Sender<bool>>);

impl Closing {
    pub(crate) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }

    pub(crate) fn close(&self) {
        self.0.send_replace(true);
    }

    pub(crate) fn closed(&self) -> bool {
        *self.0.borrow()
    }

    /// What the work comes to, unless the client is closed before.
    pub(crate) async fn unless<T>(
        &self,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let mut closed = self.0.subscribe();
        tokio::select! {
            biased;
            _ = closed.wait_for(|closed| *closed) => Err(Error::closed()),
            done = work => done,
        }
    }
}
