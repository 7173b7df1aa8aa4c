//! How long a token lasts, whatever the clocks here say.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

/// A moment by both clocks of this machine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading {
    steady: Instant,
    wall: SystemTime,
}

impl Reading {
    pub(crate) fn now() -> Self {
        Self {
            steady: Instant::now(),
            wall: SystemTime::now(),
        }
    }

    /// How long before `now` this was. The monotonic clock cannot be set, and stands
    /// still while a laptop sleeps; the other runs on, and can be set. The longer of the
    /// two is never too short, unless a clock is set back in its sleep.
    pub(crate) fn age(self, now: Self) -> Duration {
        let wall = now.wall.duration_since(self.wall).unwrap_or_default();
        wall.max(now.steady.saturating_duration_since(self.steady))
    }
}

/// How long a token lasts, in durations of the server's since it was asked for, which
/// was before the server answered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lifetime {
    pub(crate) asked: Reading,
    /// None for a token that is for one use.
    pub(crate) refresh: Option<Duration>,
    /// None for a token without an end.
    pub(crate) expire: Option<Duration>,
}

impl Lifetime {
    /// The token is the one to have, with `at_least` of its life left.
    pub(crate) fn fresh(&self, now: Reading, at_least: Duration) -> bool {
        self.refresh
            .is_some_and(|refresh| self.asked.age(now) < refresh)
            && self.lasts(now, at_least)
    }

    /// How long a token may be used that the server should have replaced but cannot: to
    /// the middle of the time between its refresh and its end, so that as a rule a sixth
    /// of its life is left. Of a token without end nobody knows how long its consumer
    /// takes it, so it has none.
    pub(crate) fn margin(&self) -> Duration {
        let refresh = self.refresh.unwrap_or_default();
        match self.expire {
            Some(expire) if self.refresh.is_some() => refresh + expire.saturating_sub(refresh) / 2,
            _ => refresh,
        }
    }

    /// The token may stand in while the server is away.
    pub(crate) fn usable(&self, now: Reading, at_least: Duration) -> bool {
        self.refresh.is_some() && self.asked.age(now) < self.margin() && self.lasts(now, at_least)
    }

    /// What is left until the end; None without one.
    pub(crate) fn remaining(&self, now: Reading) -> Option<Duration> {
        Some(self.expire?.saturating_sub(self.asked.age(now)))
    }

    /// Whether `at_least` of its life is left; zero asks for nothing.
    fn lasts(&self, now: Reading, at_least: Duration) -> bool {
        at_least.is_zero() || self.remaining(now).is_some_and(|left| left >= at_least)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn age_is_the_longer_of_both_clocks() {
        let start = Reading::now();
        let hour = Duration::from_secs(3600);
        let asleep = Reading {
            wall: start.wall + hour,
            ..start
        };
        assert_eq!(start.age(asleep), hour);
        let set_back = Reading {
            steady: start.steady + hour,
            wall: start.wall - hour,
        };
        assert_eq!(start.age(set_back), hour);
    }

    #[test]
    fn a_margin_is_the_middle_between_refresh_and_end() {
        let now = Reading::now();
        let seconds = Duration::from_secs;
        let life = |refresh, expire| Lifetime {
            asked: now,
            refresh,
            expire,
        };
        assert_eq!(
            life(Some(seconds(400)), Some(seconds(600))).margin(),
            seconds(500)
        );
        assert_eq!(life(Some(seconds(400)), None).margin(), seconds(400));
        assert_eq!(
            life(Some(seconds(400)), Some(seconds(300))).margin(),
            seconds(400)
        );
        let one_time = life(None, Some(seconds(600)));
        assert!(!one_time.fresh(now, Duration::ZERO) && !one_time.usable(now, Duration::ZERO));
        assert!(!life(Some(seconds(400)), None).fresh(now, seconds(1)));
    }
}
