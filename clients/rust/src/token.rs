//! A token that does not show itself.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use prost_types::Timestamp;
use serde::{Serialize, Serializer};

use crate::{
    lifetime::{Lifetime, Reading},
    proto::MintTokenResponse,
};

/// A minted token. Displaying, debugging and serializing it show what it is about and
/// never the token itself, which [`reveal`](Token::reveal) returns. A clone is cheap.
///
/// Its times are by the server's clock; to decide anything by them is what
/// [`remaining`](Token::remaining) and [`fresh`](Token::fresh) are for.
#[derive(Clone)]
pub struct Token {
    parts: Arc<Parts>,
    pub(crate) life: Lifetime,
}

struct Parts {
    text: String,
    kid: String,
    issue_time: Option<SystemTime>,
    expire_time: Option<SystemTime>,
    refresh_time: Option<SystemTime>,
    generation: String,
    reused: bool,
    public_key: String,
}

impl Token {
    /// The token in its compact serialization, for the header that it goes into and for
    /// nothing else.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.parts.text
    }

    /// The name of the key that signed it.
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.parts.kid
    }

    /// When it was issued: its `iat`.
    #[must_use]
    pub fn issue_time(&self) -> Option<SystemTime> {
        self.parts.issue_time
    }

    /// When it ends: its `exp`. None for a token without one.
    #[must_use]
    pub fn expire_time(&self) -> Option<SystemTime> {
        self.parts.expire_time
    }

    /// When it should be replaced. None for a token that is for one use.
    #[must_use]
    pub fn refresh_time(&self) -> Option<SystemTime> {
        self.parts.refresh_time
    }

    /// The name of the configuration that the server decided under.
    #[must_use]
    pub fn generation(&self) -> &str {
        &self.parts.generation
    }

    /// Whether the server had made it for an earlier request.
    #[must_use]
    pub fn reused(&self) -> bool {
        self.parts.reused
    }

    /// What VAPID's Authorization header carries as k. Most profiles leave it empty.
    #[must_use]
    pub fn public_key(&self) -> &str {
        &self.parts.public_key
    }

    /// Whether the token is for one use.
    #[must_use]
    pub fn one_time(&self) -> bool {
        self.life.refresh.is_none()
    }

    /// For how long the token is still valid, counted from when it was asked for and by
    /// the server's times, so that a wrong clock here changes nothing. Zero for an expired
    /// token, None for one without an end.
    #[must_use]
    pub fn remaining(&self) -> Option<Duration> {
        self.life.remaining(Reading::now())
    }

    /// Whether the server's refresh time has not come.
    #[must_use]
    pub fn fresh(&self) -> bool {
        self.life.fresh(Reading::now(), Duration::ZERO)
    }

    /// The token of an answer to what was asked at a time.
    pub(crate) fn received(answer: MintTokenResponse, asked: Reading) -> Self {
        let now = answer.answer_time;
        // Without the server's time nobody knows how long that is: it is kept by nobody.
        let lasts = |until: Option<Timestamp>| Some(between(now?, until?));
        let life = Lifetime {
            asked,
            refresh: lasts(answer.refresh_time),
            expire: lasts(answer.expire_time),
        };
        let time = |t: Option<Timestamp>| SystemTime::try_from(t?).ok();
        let parts = Arc::new(Parts {
            issue_time: time(answer.issue_time),
            expire_time: time(answer.expire_time),
            refresh_time: time(answer.refresh_time),
            text: answer.token,
            kid: answer.kid,
            generation: answer.config_generation,
            reused: answer.reused,
            public_key: answer.public_key,
        });
        Self { parts, life }
    }
}

/// From one time to a later one; zero if it is not later.
fn between(from: Timestamp, to: Timestamp) -> Duration {
    let nanos = |t: Timestamp| i128::from(t.seconds) * 1_000_000_000 + i128::from(t.nanos);
    let gap = u64::try_from((nanos(to) - nanos(from)).max(0)).unwrap_or(u64::MAX);
    Duration::from_nanos(gap)
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "token of key {} (redacted)", self.parts.kid)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What it is about, as text: a live token does not belong on a disk.
impl Serialize for Token {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_never_printed() {
        let answer = MintTokenResponse {
            token: "eyJ.secret.sig".into(),
            kid: "kid".into(),
            ..Default::default()
        };
        let printed = format!("{answer:?}");
        let token = Token::received(answer, Reading::now());
        let in_json = serde_json::to_string(&[&token]).unwrap();
        for text in [printed, format!("{token}{token:?}{token:#?}"), in_json] {
            assert!(
                text.contains("redacted") && !text.contains("secret"),
                "{text}"
            );
        }
        assert_eq!(token.reveal(), "eyJ.secret.sig");
    }

    #[test]
    fn a_token_without_the_servers_time_is_not_kept() {
        let later = Timestamp::from(SystemTime::now() + Duration::from_secs(3600));
        let answer = MintTokenResponse {
            refresh_time: Some(later),
            expire_time: Some(later),
            ..Default::default()
        };
        let token = Token::received(answer, Reading::now());
        assert!(!token.fresh() && token.remaining().is_none() && token.one_time());
    }
}
