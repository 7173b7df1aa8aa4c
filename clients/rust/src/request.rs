//! What a token is asked for with.

use std::{fmt, time::Duration};

use serde::Serialize;

use crate::{Error, canonical::canonical, exact, proto::MintTokenRequest};

/// What a token is asked for with: a profile, and what else is to be said.
///
/// ```
/// # use std::time::Duration;
/// # use jotsmith::Request;
/// let short = Request::new("asc")
///     .claims(serde_json::json!({"scope": ["GET /v1/apps"]}))
///     .ttl(Duration::from_secs(300));
/// let plain: Request = "asc".into();
/// ```
#[derive(Clone)]
pub struct Request {
    profile: String,
    claims: Result<String, String>,
    ttl: Duration,
    pub(crate) min_remaining: Duration,
}

impl Request {
    /// Asks for a token of a profile of the server's.
    pub fn new(profile: impl Into<String>) -> Self {
        Self {
            profile: profile.into(),
            claims: Ok(String::new()),
            ttl: Duration::ZERO,
            min_remaining: Duration::ZERO,
        }
    }

    /// Sets the claims that the profile takes from its callers, as anything that
    /// serializes to a JSON object. Numbers are written exactly; what JSON cannot say, as
    /// an infinite number, is an `INVALID_REQUEST` of the call. For JSON text see
    /// [`claims_json`](Self::claims_json).
    #[must_use]
    pub fn claims(mut self, claims: impl Serialize) -> Self {
        self.claims = exact::to_json(&claims);
        self
    }

    /// Sets the claims as the text of a JSON object, which the server gets byte for byte.
    #[must_use]
    pub fn claims_json(mut self, claims: impl Into<String>) -> Self {
        self.claims = Ok(claims.into());
        self
    }

    /// Sets how long the token is to be valid, in whole seconds. Zero means the profile's
    /// default.
    #[must_use]
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = ttl;
        self
    }

    /// Sets the least time that the token must still be valid when it is handed out. Zero
    /// means the server's, a third of its life.
    #[must_use]
    pub fn min_remaining(mut self, min_remaining: Duration) -> Self {
        self.min_remaining = min_remaining;
        self
    }

    /// The request on the wire.
    pub(crate) fn message(&self) -> Result<MintTokenRequest, Error> {
        let claims = self
            .claims
            .as_ref()
            .map_err(|why| Error::refused("claims", why))?;
        Ok(MintTokenRequest {
            profile: self.profile.clone(),
            claims: claims.clone(),
            ttl: duration("ttl", self.ttl)?,
            min_remaining: duration("min_remaining", self.min_remaining)?,
        })
    }

    /// Where a token of this request is kept.
    pub(crate) fn place(&self, message: &MintTokenRequest) -> Place {
        Place {
            profile: self.profile.clone(),
            claims: canonical(&message.claims),
            ttl: self.ttl,
        }
    }
}

/// The claims are not among it.
impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("profile", &self.profile)
            .field("ttl", &self.ttl)
            .field("min_remaining", &self.min_remaining)
            .finish_non_exhaustive()
    }
}

impl From<&str> for Request {
    fn from(profile: &str) -> Self {
        Self::new(profile)
    }
}

impl From<String> for Request {
    fn from(profile: String) -> Self {
        Self::new(profile)
    }
}

impl From<&Request> for Request {
    fn from(request: &Request) -> Self {
        request.clone()
    }
}

fn duration(field: &str, value: Duration) -> Result<Option<prost_types::Duration>, Error> {
    if value.is_zero() {
        return Ok(None);
    }
    prost_types::Duration::try_from(value)
        .map(Some)
        .map_err(|_| Error::refused(field, "is too long"))
}

/// Where a token is kept: requests that differ in nothing else can have the same.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    pub(crate) profile: String,
    claims: String,
    ttl: Duration,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn claims_stay_as_they_are_written() {
        #[derive(Serialize)]
        struct Claims {
            sub: &'static str,
            n: u128,
        }
        let sent = |request: Request| request.message().unwrap().claims;
        assert_eq!(sent("p".into()), "");
        let text = "{\"n\": 9007199254740993.10,\n\"n\":1e400}";
        assert_eq!(sent(Request::new("p").claims_json(text)), text);
        let native = Request::new("p").claims(json!({"a": "é<&>", "n": 9_007_199_254_740_993_i64}));
        assert_eq!(sent(native), "{\"a\":\"é<&>\",\"n\":9007199254740993}");
        let big = Claims {
            sub: "日本",
            n: u128::MAX,
        };
        let want = "{\"sub\":\"日本\",\"n\":340282366920938463463374607431768211455}";
        assert_eq!(sent(Request::new("p").claims(big)), want);
    }

    #[test]
    fn no_claim_is_shown() {
        let shown = format!("{:?}", Request::new("p").claims_json("secret"));
        assert!(
            shown.contains("\"p\"") && !shown.contains("secret"),
            "{shown}"
        );
    }

    #[test]
    fn what_cannot_be_said_is_refused_before_it_is_sent() {
        for request in [
            Request::new("p").claims(json!({}).as_object().map(|_| f64::NAN)),
            Request::new("p").claims([f64::INFINITY]),
            Request::new("p").ttl(Duration::MAX),
        ] {
            let e = request.message().unwrap_err();
            assert_eq!(e.reason(), "INVALID_REQUEST");
            assert_eq!(e.violations().len(), 1);
        }
    }
}
