//! A server for tests, whose tokens live ten minutes and whose clock is off.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use prost_types::Timestamp;
use tokio::time::{Instant, sleep};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::{
    Error,
    keeper::Ask,
    proto::{MintTokenRequest, MintTokenResponse},
};

/// What it does is set by the test, also under way.
#[derive(Clone, Default)]
pub(crate) struct Scripted(Arc<Mutex<Script>>, Arc<AtomicU64>);

#[derive(Default)]
#[allow(clippy::struct_excessive_bools)] // each is a switch of its own
pub(crate) struct Script {
    /// How many seconds its clock is ahead.
    pub(crate) skew: i64,
    pub(crate) one_time: bool,
    pub(crate) endless: bool,
    /// It answers with the same token each time.
    pub(crate) same: bool,
    /// It takes no wish for a longer life.
    pub(crate) shared: bool,
    /// How long an answer takes.
    pub(crate) takes: Duration,
    pub(crate) fail: Option<Error>,
    pub(crate) last: MintTokenRequest,
}

impl Scripted {
    pub(crate) fn set(&self, change: impl FnOnce(&mut Script)) {
        change(&mut self.0.lock().unwrap());
    }

    pub(crate) fn fail(&self, e: Option<Error>) {
        self.set(|script| script.fail = e);
    }

    pub(crate) fn calls(&self) -> u64 {
        self.1.load(Ordering::SeqCst)
    }

    /// The least remaining time of the last request.
    pub(crate) fn wished(&self) -> Option<Duration> {
        let wish = self.0.lock().unwrap().last.min_remaining?;
        Duration::try_from(wish).ok()
    }

    pub(crate) fn ask(&self) -> Box<Ask> {
        let this = self.clone();
        Box::new(move |message, _: Instant| {
            let this = this.clone();
            Box::pin(async move { this.answer(message).await })
        })
    }

    async fn answer(self, message: MintTokenRequest) -> Result<MintTokenResponse, Error> {
        let n = self.1.fetch_add(1, Ordering::SeqCst) + 1;
        let takes = self.0.lock().unwrap().takes;
        sleep(takes).await;
        let mut script = self.0.lock().unwrap();
        script.last = message;
        if let Some(e) = &script.fail {
            return Err(e.clone());
        }
        if script.shared && script.last.min_remaining.is_some() {
            return Err(failure(
                Code::InvalidArgument,
                "INVALID_REQUEST",
                Duration::ZERO,
            ));
        }
        let mut now = Timestamp::from(SystemTime::now());
        now.seconds += script.skew;
        let later = |seconds| Timestamp {
            seconds: now.seconds + seconds,
            ..now
        };
        Ok(MintTokenResponse {
            token: format!("token-{}", if script.same { 1 } else { n }),
            kid: "kid".into(),
            answer_time: Some(now),
            expire_time: (!script.endless).then(|| later(600)),
            refresh_time: (!script.one_time).then(|| later(400)),
            ..Default::default()
        })
    }
}

/// An error as of the server.
pub(crate) fn failure(code: Code, reason: &str, retry_after: Duration) -> Error {
    let mut details = ErrorDetails::new();
    details.set_error_info(reason, "jotsmith", std::collections::HashMap::new());
    if !retry_after.is_zero() {
        details.set_retry_info(Some(retry_after));
    }
    Error::of_server(Status::with_error_details(code, "told", details))
}
