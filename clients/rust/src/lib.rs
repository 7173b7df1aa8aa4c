//! Tokens of a [Jotsmith](https://github.com/jotsmith/jotsmith) server that are always
//! fresh, and asked for no more often than they must be.
//!
//! ```no_run
//! # async fn f() -> Result<(), Box<dyn std::error::Error>> {
//! let client = jotsmith::Client::connect("unix:///run/jotsmith/jotsmith.sock")?;
//! let token = client.token("asc").await?;
//! let header = format!("Bearer {}", token.reveal());
//! # Ok(()) }
//! ```
//!
//! A [`Client`] keeps tokens, tries again what may pass, and mends its connection. It is
//! `Clone`, `Send` and `Sync`; one for each server is enough. What it does, and when, is
//! in [docs/clients.md](https://github.com/jotsmith/jotsmith/blob/main/docs/clients.md).
//!
//! What plugs in: [`Client::http_layer`] for HTTP clients that are tower services, and
//! [`Client::grpc_channel`] for the generated clients of other gRPC services. Both await a
//! token, which a synchronous [`tonic::service::Interceptor`] cannot do.
//!
//! Everything here runs on tokio. The connection lives on the runtime of the call that
//! made it; after the end of that runtime the next call makes another.

mod bearer;
mod calls;
mod canonical;
mod client;
mod closing;
mod conn;
mod connector;
mod error;
mod exact;
mod grpc;
mod http_layer;
mod keeper;
mod lifetime;
mod request;
mod retry;
mod settings;
mod tls;
mod token;
mod watch;

#[cfg(test)]
mod keeper_tests;
#[cfg(test)]
mod plugs_tests;
#[cfg(test)]
mod scripted;

pub use calls::{Decision, Explanation, Key};
pub use client::{Client, TokenCall};
pub use conn::Conn;
pub use error::{Error, Violation};
pub use grpc::GrpcChannel;
pub use http_layer::{Again, Copies, HttpLayer, HttpService, Once};
pub use request::Request;
pub use settings::{DEFAULT_ADDRESS, SettingError, Settings};
pub use token::Token;
pub use watch::Watch;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// The messages and clients of the protos, for RPCs that have no method here: make a
/// client of [`Client::conn`].
#[allow(
    missing_docs,
    clippy::all,
    clippy::pedantic,
    rustdoc::broken_intra_doc_links
)]
pub mod proto {
    include!("generated/jotsmith.v1.rs");

    /// What a token is about, without the token.
    impl std::fmt::Debug for MintTokenResponse {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.debug_struct("MintTokenResponse")
                .field("token", &"redacted")
                .field("kid", &self.kid)
                .finish_non_exhaustive()
        }
    }
}
