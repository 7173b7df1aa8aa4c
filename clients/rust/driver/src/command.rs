//! What the driver is told.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use serde::Deserialize;
use serde_json::Value;

/// One line of the input.
#[derive(Deserialize)]
pub struct Command {
    pub id: u64,
    pub op: String,
    #[serde(default)]
    pub client: String,
    pub address: Option<String>,
    #[serde(default)]
    pub settings: Settings,
    #[serde(flatten)]
    pub request: Request,
    #[serde(default)]
    pub requests: Vec<Request>,
    pub timeout: Option<u64>,
    pub callers: Option<usize>,
    pub of: Option<u64>,
    #[serde(default)]
    pub jwt: String,
    #[serde(default)]
    pub jwk: String,
    #[serde(default)]
    pub method: String,
    #[serde(default)]
    pub url: String,
    #[serde(default)]
    pub body: String,
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    pub tls_ca: Option<PathBuf>,
}

#[derive(Default, Deserialize)]
pub struct Settings {
    pub tls_ca: Option<PathBuf>,
    pub tls_cert: Option<PathBuf>,
    pub tls_key: Option<PathBuf>,
    pub tls_server_name: Option<String>,
    pub plaintext_loopback: Option<bool>,
    pub bearer: Option<String>,
    pub bearer_file: Option<PathBuf>,
    pub timeout: Option<u64>,
}

#[derive(Deserialize)]
pub struct Request {
    #[serde(default)]
    pub profile: String,
    pub claims: Option<Value>,
    pub ttl: Option<u64>,
    pub min_remaining: Option<u64>,
}

impl Request {
    /// The library's request.
    pub fn native(&self) -> jotsmith::Request {
        let mut native = jotsmith::Request::new(&self.profile);
        match &self.claims {
            Some(Value::String(text)) => native = native.claims_json(text),
            Some(value) => native = native.claims(value),
            None => {}
        }
        if let Some(ttl) = self.ttl {
            native = native.ttl(Duration::from_millis(ttl));
        }
        if let Some(least) = self.min_remaining {
            native = native.min_remaining(Duration::from_millis(least));
        }
        native
    }
}
