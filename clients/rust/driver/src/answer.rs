//! What the driver says.

use std::{error::Error as _, fmt::Display, io, time::SystemTime};

use futures_util::future::Aborted;
use jotsmith::{Error, SettingError, Token};
use serde_json::{Map, Value, json};
use tonic::Code;

/// Why a command came to nothing.
pub enum Failure {
    Call(Error),
    Other(&'static str, String),
}

impl Failure {
    pub fn other(native: &'static str, message: impl Display) -> Self {
        Self::Other(native, message.to_string())
    }

    pub fn to_json(&self) -> Value {
        match self {
            Self::Call(e) => error(e),
            Self::Other(native, message) => json!({"native": native, "message": message}),
        }
    }
}

impl From<Error> for Failure {
    fn from(e: Error) -> Self {
        Self::Call(e)
    }
}

impl From<SettingError> for Failure {
    fn from(e: SettingError) -> Self {
        Self::other("setting", e)
    }
}

/// An error of the library.
pub fn error(e: &Error) -> Value {
    let source = e.source();
    let io = source.and_then(|source| source.downcast_ref::<io::Error>());
    let native = if io.is_some_and(|e| e.kind() == io::ErrorKind::TimedOut) {
        "deadline"
    } else if source.is_some_and(<dyn std::error::Error>::is::<Aborted>) {
        "cancelled"
    } else {
        ""
    };
    let violations = e
        .violations()
        .iter()
        .map(|v| json!({"field": v.field, "description": v.description}));
    json!({
        "code": name(e.code()),
        "reason": e.reason(),
        "message": e.message(),
        "retryable": e.retryable(),
        "retry_after": millis(e.retry_after()),
        "violations": violations.collect::<Vec<_>>(),
        "native": native,
    })
}

/// A call that was given up: its future is dropped, as calls are given up in Rust, and
/// this is what whoever did it has of it.
pub fn aborted(e: Aborted) -> Value {
    json!({"code": name(Code::Cancelled), "message": e.to_string(), "retryable": false, "native": "cancelled"})
}

/// gRPC's name of a code.
pub fn name(code: Code) -> String {
    let mut name = String::new();
    for c in format!("{code:?}").chars() {
        if c.is_ascii_uppercase() && !name.is_empty() && code != Code::Ok {
            name.push('_');
        }
        name.push(c.to_ascii_uppercase());
    }
    name
}

pub fn token(token: &Token) -> Value {
    let mut answer = Map::new();
    answer.insert("jwt".into(), token.reveal().into());
    answer.insert("kid".into(), token.kid().into());
    answer.insert("reused".into(), token.reused().into());
    answer.insert("one_time".into(), token.one_time().into());
    for (name, time) in [
        ("expire_time", token.expire_time()),
        ("refresh_time", token.refresh_time()),
    ] {
        if let Some(time) = time {
            answer.insert(name.into(), rfc3339(time).into());
        }
    }
    answer.into()
}

fn rfc3339(time: SystemTime) -> String {
    humantime::format_rfc3339_millis(time).to_string()
}

pub fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
