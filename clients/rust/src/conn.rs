//! The connection of a client.

use std::{
    fmt,
    future::poll_fn,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use http::header::AUTHORIZATION;
use tonic::{
    Status,
    body::Body,
    transport::{Channel, Endpoint},
};
use tower_service::Service;

use crate::{bearer::Bearer, closing::Closing, connector::Connector};

/// The connection of a [`Client`](crate::Client), for clients of [`proto`](crate::proto).
/// It carries the bearer, and ends with its client. A clone is the same connection.
#[derive(Clone)]
pub struct Conn(Arc<Shared>);

struct Shared {
    connector: Connector,
    bearer: Option<Bearer>,
    closing: Closing,
    channel: Mutex<Option<Channel>>,
}

impl Conn {
    pub(crate) fn new(connector: Connector, bearer: Option<Bearer>, closing: Closing) -> Self {
        Self(Arc::new(Shared {
            connector,
            bearer,
            closing,
            channel: Mutex::new(None),
        }))
    }

    /// Lets go of the channel. Whoever calls with it ends first.
    pub(crate) fn close(&self) {
        self.0.set(None);
    }
}

impl Shared {
    fn set(&self, channel: Option<Channel>) {
        *self.channel.lock().unwrap_or_else(PoisonError::into_inner) = channel;
    }

    /// The channel, new where there is none. It is made by a call, because it belongs to
    /// the runtime that it is made on.
    fn channel(&self) -> Result<Channel, Status> {
        if self.closing.closed() {
            return Err(Status::cancelled("the client is closed"));
        }
        let mut channel = self.channel.lock().unwrap_or_else(PoisonError::into_inner);
        let made = channel.get_or_insert_with(|| {
            // TLS is the connector's, not tonic's: hence the plain URL beneath.
            Endpoint::from_static("http://localhost")
                .user_agent("jotsmith-rust")
                .expect("it is what a header can hold")
                .origin(self.connector.origin())
                .http2_keep_alive_interval(Duration::from_secs(45))
                .keep_alive_timeout(Duration::from_secs(10))
                .connect_with_connector_lazy(self.connector.clone())
        });
        Ok(made.clone())
    }

    async fn call(&self, mut request: http::Request<Body>) -> Result<http::Response<Body>, Status> {
        if let Some(bearer) = &self.bearer {
            let value = bearer.header().await?;
            request.headers_mut().insert(AUTHORIZATION, value);
        }
        let mut channel = self.channel()?;
        if let Err(e) = poll_fn(|cx| channel.poll_ready(cx)).await {
            self.set(None); // its runtime has ended
            return Err(Status::from_error(Box::new(e)));
        }
        let answer = channel.call(request).await;
        answer.map_err(|e| Status::from_error(Box::new(e)))
    }
}

impl Service<http::Request<Body>> for Conn {
    type Response = http::Response<Body>;
    type Error = Status;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Status>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let shared = self.0.clone();
        Box::pin(async move { shared.call(request).await })
    }
}

impl fmt::Debug for Conn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Conn")
            .field(&self.0.connector.origin())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use crate::Settings;

    #[test]
    fn a_client_outlives_the_runtime_of_its_connection() {
        let client = Settings::new()
            .address("unix:///nobody/is/here")
            .timeout(std::time::Duration::from_millis(400))
            .connect()
            .unwrap();
        for _ in 0..2 {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            let e = runtime.block_on(async { client.token("p").await.unwrap_err() });
            assert_eq!(e.code(), tonic::Code::Unavailable, "{e}");
            assert!(e.message().contains("No such file"), "{e}");
        }
    }
}
