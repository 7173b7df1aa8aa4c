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

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::scripted::failure;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn waits_grow_to_two_seconds_and_are_at_least_what_the_server_says() {
        let mut waits = Waits::default();
        let plain = failure(Code::Unavailable, "AWAY", Duration::ZERO);
        for millis in [100, 200, 400, 800, 1600, 2000, 2000] {
            let least = Duration::from_millis(millis);
            let wait = waits.next(&plain);
            assert!(
                wait >= least && wait <= least.mul_f64(1.2),
                "{wait:?} for {least:?}"
            );
        }
        let told = failure(Code::Unavailable, "AWAY", 5 * SECOND);
        let wait = Waits::default().next(&told);
        assert!(wait >= 5 * SECOND && wait <= 6 * SECOND, "{wait:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn unavailable_is_tried_again_when_the_server_says() {
        let start = Instant::now();
        let calls = Cell::new(0);
        let done = retry(start + 30 * SECOND, async || {
            calls.set(calls.get() + 1);
            match calls.get() {
                3 => Ok(()),
                _ => Err(failure(Code::Unavailable, "NOT_READY", 2 * SECOND)),
            }
        });
        done.await.unwrap();
        let took = start.elapsed();
        assert!(took >= 4 * SECOND && took < 5 * SECOND, "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_try_that_would_begin_too_late_is_not_waited_for() {
        let start = Instant::now();
        let told = || failure(Code::Unavailable, "NOT_READY", 2 * SECOND);
        let done = retry(start + SECOND, async || Err::<(), _>(told())).await;
        assert_eq!(done.unwrap_err().reason(), "NOT_READY");
        assert_eq!(start.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_else_is_tried_again() {
        for code in [
            Code::ResourceExhausted,
            Code::Internal,
            Code::PermissionDenied,
        ] {
            let calls = Cell::new(0);
            let done = retry(Instant::now() + 30 * SECOND, async || {
                calls.set(calls.get() + 1);
                Err::<(), _>(failure(code, "R", SECOND))
            });
            assert_eq!(done.await.unwrap_err().code(), code);
            assert_eq!(calls.get(), 1, "{code:?}");
        }
    }
}
