//! What plugs into the programs of the language.

use std::error::Error as StdError;

use bytes::Bytes;
use http::Uri;
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::{Client as Web, connect::HttpConnector},
    rt::TokioExecutor,
};
use jotsmith::{
    Client, Error, proto::ListKeysRequest, proto::key_service_client::KeyServiceClient,
};
use serde_json::{Value, json};
use tonic::{
    Code,
    transport::{Certificate, ClientTlsConfig, Endpoint},
};
use tower::{Layer, ServiceExt};
use tower_http::follow_redirect::FollowRedirectLayer;

use crate::{
    answer::{Failure, name},
    command::Command,
};

pub const HTTP: &str = "tower layer";
pub const GRPC: &str = "tonic channel";

/// A request through the layer, and through what follows redirects before it.
pub async fn http(client: &Client, command: Command) -> Result<Value, Failure> {
    let uri: Uri = command.url.parse().map_err(|e| Failure::other("uri", e))?;
    let origin = format!(
        "{}://{}",
        uri.scheme_str().unwrap_or_default(),
        uri.authority()
            .map(http::uri::Authority::as_str)
            .unwrap_or_default()
    );
    let mut request = http::Request::builder()
        .method(command.method.as_str())
        .uri(uri);
    for (name, value) in &command.headers {
        request = request.header(name, value);
    }
    let request = request
        .body(Full::new(Bytes::from(command.body)))
        .map_err(|e| Failure::other("http", e))?;
    let web: Web<HttpConnector, Full<Bytes>> = Web::builder(TokioExecutor::new()).build_http();
    let plugged = client
        .http_layer(command.request.native(), &origin)?
        .layer(web);
    let following = FollowRedirectLayer::new().layer(plugged);
    let answer = following.oneshot(request).await.map_err(failure)?;
    let status = answer.status().as_u16();
    let body = answer
        .into_body()
        .collect()
        .await
        .map_err(|e| Failure::other("hyper", e))?;
    let body = String::from_utf8_lossy(&body.to_bytes()).into_owned();
    Ok(json!({"status": status, "body": body}))
}

fn failure(e: Box<dyn StdError + Send + Sync>) -> Failure {
    match e.downcast::<Error>() {
        Ok(e) => Failure::Call(*e),
        Err(e) => Failure::other("hyper", e),
    }
}

/// A call through the channel.
pub async fn grpc(client: &Client, command: Command) -> Result<Value, Failure> {
    let failed = |e| Failure::other("tonic", e);
    let mut tls = ClientTlsConfig::new();
    if let Some(ca) = command.tls_ca.as_ref() {
        let pem = std::fs::read(ca).map_err(|e| Failure::other("io", e))?;
        tls = tls.ca_certificate(Certificate::from_pem(pem));
    }
    let address = command.address.as_deref().unwrap_or_default();
    let endpoint = Endpoint::from_shared(format!("https://{address}"))
        .and_then(|endpoint| endpoint.tls_config(tls))
        .map_err(failed)?;
    let channel = client.grpc_channel(command.request.native(), &endpoint)?;
    let answer = KeyServiceClient::new(channel)
        .list_keys(ListKeysRequest::default())
        .await;
    let code = answer.err().map_or(Code::Ok, |status| status.code());
    Ok(json!({"status": name(code)}))
}
