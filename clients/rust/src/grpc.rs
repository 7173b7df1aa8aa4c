//! What plugs into other gRPC services.

use std::{
    fmt,
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll},
};

use http::{header::AUTHORIZATION, uri::Scheme};
use tonic::{
    Status,
    body::Body,
    transport::{Channel, Endpoint},
};
use tower_service::Service;

use crate::{Client, Error, Request, SettingError, bearer::authorization};

/// A channel to another gRPC service that puts a token into the `authorization` of each
/// call. Make the generated client of that service of it. A clone is the same channel.
#[derive(Clone)]
pub struct GrpcChannel {
    client: Client,
    request: Request,
    channel: Channel,
}

impl Client {
    /// A channel to another gRPC service whose calls carry a token. It connects with the
    /// first call.
    ///
    /// ```no_run
    /// # fn f(client: jotsmith::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// # use tonic::transport::{ClientTlsConfig, Endpoint};
    /// # use jotsmith::proto::key_service_client::KeyServiceClient as OtherClient;
    /// let endpoint = Endpoint::from_static("https://other.example")
    ///     .tls_config(ClientTlsConfig::new())?;
    /// let other = OtherClient::new(client.grpc_channel("svc", &endpoint)?);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// An endpoint without https: a token is as good as a password.
    ///
    /// # Panics
    /// Outside of a tokio runtime, as [`Endpoint::connect_lazy`] does.
    pub fn grpc_channel(
        &self,
        request: impl Into<Request>,
        endpoint: &Endpoint,
    ) -> Result<GrpcChannel, SettingError> {
        // With this scheme tonic makes no connection without TLS.
        if endpoint.uri().scheme() != Some(&Scheme::HTTPS) {
            let message = format!(
                "a token is sent over TLS alone, and {} is none",
                endpoint.uri()
            );
            return Err(SettingError::new(message));
        }
        Ok(GrpcChannel {
            client: self.clone(),
            request: request.into(),
            channel: endpoint.connect_lazy(),
        })
    }
}

impl Service<http::Request<Body>> for GrpcChannel {
    type Response = http::Response<Body>;
    type Error = Status;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Status>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        let mut this = self.clone();
        Box::pin(async move {
            let token = this.client.token(&this.request).await?;
            let value = authorization(token.reveal())
                .ok_or_else(|| Error::nonsense("the server's token is not one"))?;
            request.headers_mut().insert(AUTHORIZATION, value);
            let of = |e| Status::from_error(Box::new(e));
            poll_fn(|cx| this.channel.poll_ready(cx))
                .await
                .map_err(of)?;
            this.channel.call(request).await.map_err(of)
        })
    }
}

impl fmt::Debug for GrpcChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GrpcChannel")
            .field("request", &self.request)
            .finish_non_exhaustive()
    }
}
