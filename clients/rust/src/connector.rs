//! Makes connections, and not too many.

use std::{
    error::Error,
    future::poll_fn,
    io,
    net::SocketAddr,
    path::PathBuf,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use http::Uri;
use hyper_util::{client::legacy::connect::HttpConnector, rt::TokioIo};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
    time::{Instant, timeout},
};
use tower_service::Service;

use crate::tls::FreshTls;

/// How long one attempt takes at most.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long it is left at that after a failed attempt, and after many.
const FIRST: Duration = Duration::from_millis(100);
const LAST: Duration = Duration::from_secs(5);

/// Where a server is.
pub(crate) enum Target {
    Unix(PathBuf),
    Plaintext(SocketAddr),
    Tls(String, u16, FreshTls),
}

impl Target {
    async fn connect(&self) -> io::Result<Box<dyn Io>> {
        match self {
            Self::Unix(path) => Ok(Box::new(UnixStream::connect(path).await?)),
            Self::Plaintext(at) => Ok(Box::new(quick(TcpStream::connect(at).await?)?)),
            Self::Tls(host, port, tls) => {
                let tcp = dial(host, *port).await?;
                Ok(Box::new(tls.handshake(tcp).await?))
            }
        }
    }

    /// What is in the URL of each call.
    fn origin(&self) -> String {
        match self {
            Self::Unix(_) => "http://localhost".into(),
            Self::Plaintext(at) => format!("http://{at}"),
            Self::Tls(host, port, _) => origin(host, *port),
        }
    }
}

fn origin(host: &str, port: u16) -> String {
    if host.contains(':') {
        format!("https://[{host}]:{port}")
    } else {
        format!("https://{host}:{port}")
    }
}

/// Connects to whichever address of a host answers first.
async fn dial(host: &str, port: u16) -> io::Result<TcpStream> {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    let uri: Uri = origin(host, port).parse().map_err(io::Error::other)?;
    poll_fn(|cx| tcp.poll_ready(cx)).await.map_err(told)?;
    tcp.call(uri).await.map(TokioIo::into_inner).map_err(told)
}

/// An error with all that its causes say.
fn told(e: impl Error) -> io::Error {
    let mut text = e.to_string();
    let mut cause = e.source();
    while let Some(e) = cause {
        text = format!("{text}: {e}");
        cause = e.source();
    }
    io::Error::other(text)
}

/// Small messages do not wait for others.
fn quick(tcp: TcpStream) -> io::Result<TcpStream> {
    tcp.set_nodelay(true)?;
    Ok(tcp)
}

/// A connection of any kind.
pub(crate) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// Makes the connections of a client. After an attempt that failed the next is some time
/// apart, and until then whoever wants one gets the same error.
#[derive(Clone)]
pub(crate) struct Connector {
    target: Arc<Target>,
    failed: Arc<Mutex<Option<Failure>>>,
}

struct Failure {
    kind: io::ErrorKind,
    message: String,
    wait: Duration,
    until: Instant,
}

impl Connector {
    pub(crate) fn new(target: Target) -> Self {
        Self {
            target: Arc::new(target),
            failed: Arc::new(Mutex::new(None)),
        }
    }

    /// What is in the URL of each call.
    pub(crate) fn origin(&self) -> Uri {
        let text = self.target.origin();
        text.parse()
            .unwrap_or_else(|_| Uri::from_static("https://localhost"))
    }

    async fn connect(self) -> io::Result<TokioIo<Box<dyn Io>>> {
        let lock = || self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(failure) = &*lock()
            && Instant::now() < failure.until
        {
            return Err(io::Error::new(failure.kind, failure.message.clone()));
        }
        let late = || io::Error::new(io::ErrorKind::TimedOut, "no connection was made in 5 s");
        let made = timeout(PATIENCE, self.target.connect()).await;
        let made = made.unwrap_or_else(|_| Err(late()));
        let mut failed = lock();
        *failed = match &made {
            Ok(_) => None,
            Err(e) => {
                let wait = match &*failed {
                    Some(before) => before.wait.mul_f64(1.6).min(LAST),
                    None => FIRST,
                };
                Some(Failure {
                    kind: e.kind(),
                    message: e.to_string(),
                    wait,
                    until: Instant::now() + wait.mul_f64(0.8 + 0.4 * fastrand::f64()),
                })
            }
        };
        made.map(TokioIo::new)
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<Box<dyn Io>>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        Box::pin(self.clone().connect())
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::UnixListener;

    use super::*;

    #[tokio::test]
    async fn after_a_failure_the_next_attempt_is_some_time_apart() {
        let dir = std::env::temp_dir().join(format!("jotsmith-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let socket = dir.join("s");
        let connector = Connector::new(Target::Unix(socket.clone()));
        let first = connector.clone().connect().await.err().unwrap();
        let listener = UnixListener::bind(&socket).unwrap();
        let second = connector.clone().connect().await.err().unwrap();
        assert_eq!(first.to_string(), second.to_string());
        tokio::time::sleep(Duration::from_millis(150)).await;
        connector.connect().await.unwrap();
        drop(listener);
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
