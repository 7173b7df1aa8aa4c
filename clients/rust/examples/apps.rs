//! Lists one's apps in App Store Connect. The library puts a token of Jotsmith into the
//! request; there is no key here and nothing to renew.
//!
//! ```text
//! export JOTSMITH_ADDRESS=unix:///run/jotsmith/jotsmith.sock
//! cargo run --example apps -- --profile asc
//! ```
//!
//! With `--api` it asks another server than Apple's, as the stand-in in
//! clients/conformance/standin.

use std::{env, error::Error};

use http_body_util::{BodyExt, Empty};
use hyper_util::{client::legacy::Client as Web, rt::TokioExecutor};
use serde::Deserialize;
use tower::{Layer, ServiceExt};

#[derive(Deserialize)]
struct Apps {
    data: Vec<App>,
}

#[derive(Deserialize)]
struct App {
    id: String,
    attributes: Attributes,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Attributes {
    name: String,
    bundle_id: String,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let mut profile = "asc".to_owned();
    let mut api = "https://api.appstoreconnect.apple.com".to_owned();
    let mut arguments = env::args().skip(1);
    while let Some(flag) = arguments.next() {
        let value = arguments.next();
        match (flag.as_str(), value) {
            ("--profile", Some(value)) => profile = value,
            ("--api", Some(value)) => api = value,
            _ => return Err("usage: apps [--profile PROFILE] [--api URL]".into()),
        }
    }

    let client = jotsmith::Client::from_env()?; // the address in JOTSMITH_ADDRESS
    let https = hyper_rustls::HttpsConnectorBuilder::new()
        .with_native_roots()?
        .https_or_http()
        .enable_http1()
        .build();
    let web = Web::builder(TokioExecutor::new()).build::<_, Empty<&[u8]>>(https);
    let apple = client.http_layer(profile, &api)?.layer(web);

    let request = http::Request::get(format!("{api}/v1/apps")).body(Empty::new())?;
    let answer = apple.oneshot(request).await?;
    let status = answer.status();
    let body = answer.into_body().collect().await?.to_bytes();
    if !status.is_success() {
        return Err(format!("{status}: {}", String::from_utf8_lossy(&body)).into());
    }
    for app in serde_json::from_slice::<Apps>(&body)?.data {
        let Attributes { name, bundle_id } = app.attributes;
        println!("{}\t{bundle_id}\t{name}", app.id);
    }
    Ok(())
}
