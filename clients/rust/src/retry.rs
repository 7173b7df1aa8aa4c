//! What is tried again, and when.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use tonic::Code;

use crate::Error;

pub(crate) const FIRST: Duration = Duration::from_millis(100);
const LAST: Duration = Duration::from_secs(2);

/// How long to wait, longer from time to time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Waits {
    pub(crate) last: Duration,
}

impl Waits {
    /// How long to wait after an error: at least as long as the server asked for, and
    /// never the same as everybody else.
    pub(crate) fn next(&mut self, e: &Error) -> Duration {
        self.last = (2 * self.last).clamp(FIRST, LAST);
        let wait = self.last.max(e.retry_after());
        wait.saturating_add(wait.mul_f64(fastrand::f64() / 5.0))
    }
}

/// Calls until the call succeeds, fails with anything but UNAVAILABLE, or would have to
/// wait past the deadline. What is `RESOURCE_EXHAUSTED` is not tried again: each try would
/// add to the load, or to the quota, that is the trouble.
pub(crate) async fn retry<T, F>(deadline: Instant, mut call: impl FnMut() -> F) -> Result<T, Error>
where
    F: Future<Output = Result<T, Error>>,
{
    let mut waits = Waits::default();
    loop {
        let e = match call().await {
            Err(e) if e.code() == Code::Unavailable => e,
            settled => return settled,
        };
        if !pause(waits.next(&e), deadline).await {
            return Err(e);
        }
    }
}

/// Waits, or says at once that the deadline would come before.
pub(crate) async fn pause(wait: Duration, deadline: Instant) -> bool {
    if deadline.saturating_duration_since(Instant::now()) <= wait {
        return false;
    }
    sleep(wait).await;
    true
}
