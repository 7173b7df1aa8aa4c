//! A token that is always there.

use std::{
    fmt, mem,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use futures_core::Stream;
use futures_util::stream::unfold;
use tokio::time::{Instant, timeout_at};
use tonic::{Code, Status, Streaming};

use crate::{
    Client, Error, Request, Token,
    lifetime::Reading,
    proto::{
        MintTokenRequest, WatchTokenRequest, WatchTokenResponse,
        token_service_client::TokenServiceClient,
    },
    retry::{FIRST, Waits, pause},
};

/// How long a stream has been quiet, at least, where its end says nothing about how the
/// server is.
const LIVED: Duration = Duration::from_secs(10);

/// The tokens of [`Client::watch`], a [`Stream`]. Nothing is asked for before it is polled;
/// whoever drops it ends the watch.
#[must_use = "nothing is asked for before it is polled"]
pub struct Watch(Pin<Box<dyn Stream<Item = Result<Token, Error>> + Send>>);

impl Client {
    /// A token at once, and each that replaces it. Where the server stops or the
    /// connection ends, it goes on with another at once, and then with longer and longer
    /// waits. It ends with one error when the server refuses, when no first token comes
    /// within the client's timeout, or when the server stays away until the last token has
    /// passed its margin.
    ///
    /// ```no_run
    /// # async fn f(client: jotsmith::Client) -> Result<(), jotsmith::Error> {
    /// let mut watch = client.watch("asc");
    /// while let Some(token) = watch.next().await {
    ///     let token = token?;
    /// }
    /// # Ok(()) }
    /// ```
    pub fn watch(&self, request: impl Into<Request>) -> Watch {
        let client = self.clone();
        let request = request.into();
        let states = unfold(State::New(client, request), |state| async move {
            let mut watching = match state {
                State::New(client, request) => match request.message() {
                    Ok(message) => Box::new(Watching::new(client, message)),
                    Err(e) => return Some((Err(e), State::Over)),
                },
                State::On(watching) => watching,
                State::Over => return None,
            };
            let closing = watching.client.closing().clone();
            match closing.unless(watching.next()).await {
                Ok(token) => Some((Ok(token), State::On(watching))),
                Err(e) => Some((Err(e), State::Over)),
            }
        });
        Watch(Box::pin(states))
    }
}

impl Watch {
    /// The next token; None after the error that ended the watch.
    pub async fn next(&mut self) -> Option<Result<Token, Error>> {
        std::future::poll_fn(|cx| self.0.as_mut().poll_next(cx)).await
    }
}

impl Stream for Watch {
    type Item = Result<Token, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.as_mut().poll_next(cx)
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watch")
    }
}

enum State {
    New(Client, Request),
    On(Box<Watching>),
    Over,
}

/// One watch.
struct Watching {
    client: Client,
    message: MintTokenRequest,
    /// The stream that is open, if one is.
    stream: Option<Streaming<WatchTokenResponse>>,
    last: Option<Token>,
    /// When a token must have come.
    until: Instant,
    waits: Waits,
    /// A message came in this stream.
    came: bool,
    /// When the newest message came, or the call began.
    asked: Reading,
}

impl Watching {
    fn new(client: Client, message: MintTokenRequest) -> Self {
        Self {
            until: Instant::now() + client.timeout(),
            client,
            message,
            stream: None,
            last: None,
            waits: Waits::default(),
            came: false,
            asked: Reading::now(),
        }
    }

    /// The next token that is not the last one.
    async fn next(&mut self) -> Result<Token, Error> {
        loop {
            match self.receive().await {
                Ok(token) => {
                    let last = self.last.replace(token.clone());
                    // A new stream begins with the token that the old one ended with.
                    if last.is_none_or(|last| last.reveal() != token.reveal()) {
                        return Ok(token);
                    }
                }
                Err(e) => {
                    self.stream = None;
                    if self.asked.age(Reading::now()) >= LIVED {
                        self.waits = Waits::default();
                    }
                    self.go_on(e).await?;
                }
            }
        }
    }

    /// The next message of the open stream, or of a new one.
    async fn receive(&mut self) -> Result<Token, Error> {
        let received = if let Some(stream) = self.stream.as_mut().filter(|_| self.came) {
            // The server says itself when an open stream has no more to bring.
            stream.message().await
        } else {
            // The stream itself has no deadline, but what it must bring has.
            let first = timeout_at(self.until, self.first()).await;
            first.map_err(|_| Error::late())?
        };
        match received {
            Ok(Some(WatchTokenResponse { token: Some(token) })) => {
                // A later one came when it was made, and its life counts from about now.
                if mem::replace(&mut self.came, true) {
                    self.asked = Reading::now();
                }
                let token = Token::received(token, self.asked);
                let now = Reading::now();
                let margin = token.life.margin().saturating_sub(self.asked.age(now));
                self.until = Instant::now() + margin.max(self.client.timeout());
                Ok(token)
            }
            Ok(Some(_)) => Err(Error::nonsense("the server sent no token")),
            // A server ends a watch with a reason, and this one was cut short.
            Ok(None) => Err(Error::of_server(Status::unavailable(
                "the server ended the watch",
            ))),
            Err(status) => Err(Error::of_call(status)),
        }
    }

    async fn first(&mut self) -> Result<Option<WatchTokenResponse>, Status> {
        self.came = false;
        self.asked = Reading::now();
        let request = WatchTokenRequest {
            request: Some(self.message.clone()),
        };
        let mut tokens = TokenServiceClient::new(self.client.conn());
        let stream = tokens.watch_token(request).await?.into_inner();
        self.stream.insert(stream).message().await
    }

    /// Waits until the next stream may begin, or returns the error that ends the watch.
    async fn go_on(&mut self, e: Error) -> Result<(), Error> {
        if !matches!(e.code(), Code::Unavailable | Code::ResourceExhausted) {
            return Err(e);
        }
        // The server that stops, or that closes a connection because it is old, had served
        // until then: another one, or the same, is asked at once, but not over and over.
        let ended = e.code() == Code::Unavailable && matches!(e.reason(), "" | "DRAINING");
        if self.came && self.waits == Waits::default() && ended {
            self.waits.last = FIRST / 2;
            return Ok(());
        }
        if pause(self.waits.next(&e), self.until).await {
            Ok(())
        } else {
            Err(e)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scripted::{Scripted, failure};

    fn watching() -> Watching {
        let client = Client::scripted(Scripted::default().ask());
        Watching::new(client, MintTokenRequest::default())
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_stops_is_followed_at_once_but_not_over_and_over() {
        let draining = || failure(Code::Unavailable, "DRAINING", Duration::ZERO);
        let mut watch = watching();
        watch.came = true;
        let start = Instant::now();
        watch.go_on(draining()).await.unwrap();
        assert_eq!(start.elapsed(), Duration::ZERO);
        watch.go_on(draining()).await.unwrap();
        assert!(start.elapsed() >= FIRST, "{:?}", start.elapsed());
        // No message came: the server had not served until then.
        let mut watch = watching();
        let start = Instant::now();
        watch.go_on(draining()).await.unwrap();
        assert!(start.elapsed() >= FIRST, "{:?}", start.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_ends_when_there_can_be_no_token() {
        let mut watch = watching();
        let told = |code, seconds| failure(code, "TOLD", Duration::from_secs(seconds));
        watch.go_on(told(Code::ResourceExhausted, 2)).await.unwrap();
        let start = Instant::now();
        for e in [told(Code::PermissionDenied, 0), told(Code::Unavailable, 60)] {
            let code = e.code();
            assert_eq!(watch.go_on(e).await.unwrap_err().code(), code);
        }
        assert_eq!(start.elapsed(), Duration::ZERO);
    }

    #[tokio::test]
    async fn a_wrong_request_and_a_closed_client_end_a_watch() {
        let client = Client::scripted(Scripted::default().ask());
        let mut wrong = client.watch(Request::new("p").claims(f64::NAN));
        assert_eq!(
            wrong.next().await.unwrap().unwrap_err().reason(),
            "INVALID_REQUEST"
        );
        assert!(wrong.next().await.is_none());
        client.close();
        let mut closed = client.watch("p");
        assert_eq!(
            closed.next().await.unwrap().unwrap_err().reason(),
            "CANCELLED"
        );
        assert!(closed.next().await.is_none());
    }
}
