//! The one error of all calls.

use std::{error, fmt, io, sync::Arc, time::Duration};

use futures_util::future::Aborted;
use prost::Message;
use tonic::{Code, Status, TimeoutExpired};
use tonic_types::StatusExt;

/// Why there is no answer. Every error that comes from a call of a [`Client`] is one.
///
/// [`source`](error::Error::source) is an [`io::Error`] of the kind
/// [`TimedOut`](io::ErrorKind::TimedOut) where a deadline has passed, an [`Aborted`] where
/// the call was given up, and else what the connection has to say, if anything.
///
/// [`Client`]: crate::Client
#[derive(Clone)]
pub struct Error(Box<Inner>);

#[derive(Clone)]
struct Inner {
    reason: String,
    message: String,
    retry_after: Duration,
    violations: Vec<Violation>,
    status: Status,
    /// What the language has for the same.
    native: Option<Arc<dyn error::Error + Send + Sync>>,
}

/// What is wrong with one field of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Violation {
    /// The field, as in `ttl` or `claims.sub`.
    pub field: String,
    /// What is wrong with it.
    pub description: String,
}

impl Error {
    /// gRPC's code.
    #[must_use]
    pub fn code(&self) -> Code {
        self.0.status.code()
    }

    /// The server's reason, one of docs/errors.md. Empty where the server was not reached.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.0.reason
    }

    /// A text for people. It holds no token and no value of a claim.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Whether the same call may succeed later.
    #[must_use]
    pub fn retryable(&self) -> bool {
        matches!(
            self.code(),
            Code::Unavailable | Code::ResourceExhausted | Code::DeadlineExceeded
        )
    }

    /// The time after which the server asks to be asked again; zero where it did not say.
    #[must_use]
    pub fn retry_after(&self) -> Duration {
        self.0.retry_after
    }

    /// What is wrong with the request.
    #[must_use]
    pub fn violations(&self) -> &[Violation] {
        &self.0.violations
    }

    /// The status as it came, with its details.
    #[must_use]
    pub fn status(&self) -> &Status {
        &self.0.status
    }

    /// A deadline that has passed here.
    pub(crate) fn late() -> Self {
        let status = Status::deadline_exceeded("the deadline of the call has passed");
        Self::of_server(status).because("DEADLINE_EXCEEDED")
    }

    /// A call of a client that was closed, before or meanwhile.
    pub(crate) fn closed() -> Self {
        Self::of_server(Status::cancelled("the client is closed")).because("CANCELLED")
    }

    /// A request that is not sent.
    pub(crate) fn refused(field: &str, description: impl Into<String>) -> Self {
        let description = description.into();
        let message = format!("request refused: {field} {description}");
        let mut e = Self::of_server(Status::invalid_argument(message)).because("INVALID_REQUEST");
        e.0.violations.push(Violation {
            field: field.into(),
            description,
        });
        e
    }

    /// An answer that cannot be right.
    pub(crate) fn nonsense(message: impl Into<String>) -> Self {
        Self::of_server(Status::internal(message))
    }

    /// What a call of tonic's came to. Its statuses have a source where the connection
    /// failed and the server said nothing.
    pub(crate) fn of_call(status: Status) -> Self {
        let mut texts: Vec<String> = Vec::new();
        let mut cause = error::Error::source(&status);
        while let Some(e) = cause {
            if e.is::<TimeoutExpired>() {
                return Self::late();
            }
            let text = e.to_string();
            if !texts.iter().any(|known| known.contains(&text)) {
                texts.push(text);
            }
            cause = e.source();
        }
        if texts.is_empty() {
            return Self::of_server(status);
        }
        let mut unreached = Status::unavailable(texts.join(": "));
        unreached.set_source(Arc::new(status));
        Self::of_server(unreached)
    }

    /// A status inside an answer.
    pub(crate) fn of_proto(status: &tonic_types::Status) -> Self {
        Self::of_server(Status::with_details(
            Code::from(status.code),
            status.message.clone(),
            status.encode_to_vec().into(),
        ))
    }

    /// A status as the server said it.
    pub(crate) fn of_server(status: Status) -> Self {
        let details = status.get_error_details();
        let violations = details
            .bad_request()
            .map(|bad| &bad.field_violations)
            .into_iter()
            .flatten()
            .map(|v| Violation {
                field: v.field.clone(),
                description: v.description.clone(),
            });
        let native: Option<Arc<dyn error::Error + Send + Sync>> = match status.code() {
            Code::DeadlineExceeded => Some(Arc::new(io::Error::from(io::ErrorKind::TimedOut))),
            Code::Cancelled => Some(Arc::new(Aborted)),
            _ => None,
        };
        Self(Box::new(Inner {
            reason: details
                .error_info()
                .map(|info| info.reason.clone())
                .unwrap_or_default(),
            message: status.message().to_owned(),
            retry_after: details
                .retry_info()
                .and_then(|info| info.retry_delay)
                .unwrap_or_default(),
            violations: violations.collect(),
            status,
            native,
        }))
    }

    fn because(mut self, reason: &str) -> Self {
        reason.clone_into(&mut self.0.reason);
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner {
            reason, message, ..
        } = &*self.0;
        if reason.is_empty() {
            write!(f, "jotsmith: {:?}: {message}", self.code())
        } else {
            write!(f, "jotsmith: {reason}: {message}")
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("code", &self.code())
            .field("reason", &self.0.reason)
            .field("message", &self.0.message)
            .field("retry_after", &self.0.retry_after)
            .field("violations", &self.0.violations)
            .finish_non_exhaustive()
    }
}

impl error::Error for Error {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match &self.0.native {
            Some(native) => Some(&**native),
            None => self.0.status.source(),
        }
    }
}

/// The status, for programs that answer with it.
impl From<Error> for Status {
    fn from(e: Error) -> Self {
        e.0.status
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;
    use crate::scripted::failure;

    #[test]
    fn an_error_says_what_the_server_said() {
        let told = failure(Code::Unavailable, "NOT_READY", Duration::from_millis(1500));
        assert_eq!((told.reason(), told.message()), ("NOT_READY", "told"));
        assert_eq!(told.retry_after(), Duration::from_millis(1500));
        assert!(told.retryable() && told.violations().is_empty());
        assert_eq!(told.to_string(), "jotsmith: NOT_READY: told");
        assert_eq!(Status::from(told).code(), Code::Unavailable);
    }

    #[test]
    fn the_languages_own_errors_are_its_sources() {
        let late = Error::late();
        let source = late.source().unwrap().downcast_ref::<io::Error>().unwrap();
        assert_eq!(source.kind(), io::ErrorKind::TimedOut);
        assert!(late.retryable() && late.reason() == "DEADLINE_EXCEEDED");
        let closed = Error::closed();
        assert!(closed.source().unwrap().is::<Aborted>() && !closed.retryable());
    }

    #[test]
    fn a_connection_that_failed_is_unavailable() {
        let reset = io::Error::from(io::ErrorKind::ConnectionReset);
        let e = Error::of_call(Status::from_error(Box::new(reset)));
        assert_eq!((e.code(), e.reason()), (Code::Unavailable, ""));
        assert!(e.message().contains("reset") && e.source().is_some());
        assert_eq!(
            Error::of_call(Status::internal("told")).code(),
            Code::Internal
        );
    }
}
