//! A client and its tokens.

use std::{fmt, future::IntoFuture, num::NonZeroUsize, pin::Pin, sync::Arc, time::Duration};

use serde::Serialize;
use tokio::time::{Instant, timeout_at};
use tonic::{Response, Status};

use crate::{
    Conn, Error, Request, SettingError, Settings, Token,
    bearer::Bearer,
    closing::Closing,
    connector::Connector,
    keeper::{Ask, Keeper},
    proto::{MintTokenRequest, MintTokenResponse, token_service_client::TokenServiceClient},
    retry::retry,
};

/// Gets tokens from a server. A clone is the same client; a program needs one for each
/// server. It ends what is under way when the last clone is gone, or at
/// [`close`](Client::close).
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    conn: Conn,
    timeout: Duration,
    keeper: Keeper,
    closing: Closing,
}

impl Client {
    /// A client of the server at an address, `unix:///PATH` or `HOST:PORT`, with whatever
    /// else the environment says. A Unix socket is plaintext, and the kernel says who
    /// calls; TCP is TLS 1.3. Nobody is called yet: the first call makes the connection,
    /// and every later one mends it.
    ///
    /// # Errors
    /// A setting that is wrong, or a file that cannot be read.
    pub fn connect(address: impl Into<String>) -> Result<Self, SettingError> {
        Settings::new().address(address).connect()
    }

    /// A client of the server that the environment names, or else of the one at
    /// [`DEFAULT_ADDRESS`](crate::DEFAULT_ADDRESS).
    ///
    /// # Errors
    /// A setting that is wrong, or a file that cannot be read.
    pub fn from_env() -> Result<Self, SettingError> {
        Settings::new().connect()
    }

    pub(crate) fn new(
        connector: Connector,
        bearer: Option<Bearer>,
        timeout: Duration,
        most: NonZeroUsize,
    ) -> Self {
        let closing = Closing::new();
        let conn = Conn::new(connector, bearer, closing.clone());
        let asked = conn.clone();
        let ask: Box<Ask> =
            Box::new(move |message, deadline| Box::pin(mint(asked.clone(), message, deadline)));
        Self::of(conn, ask, timeout, most, closing)
    }

    /// A client whose tokens come from a test.
    #[cfg(test)]
    pub(crate) fn scripted(ask: Box<Ask>) -> Self {
        let nowhere = Connector::new(crate::connector::Target::Unix("/nowhere".into()));
        let closing = Closing::new();
        let conn = Conn::new(nowhere, None, closing.clone());
        Self::of(
            conn,
            ask,
            Duration::from_secs(10),
            NonZeroUsize::new(8).unwrap(),
            closing,
        )
    }

    fn of(
        conn: Conn,
        ask: Box<Ask>,
        timeout: Duration,
        most: NonZeroUsize,
        closing: Closing,
    ) -> Self {
        Self(Arc::new(Inner {
            keeper: Keeper::new(ask, timeout, most, closing.clone()),
            conn,
            timeout,
            closing,
        }))
    }

    /// A token of a profile: the one that is kept, until its refresh time, or a new one.
    ///
    /// The server is asked once however many ask for it. While it is away the old one is
    /// returned as long as that has its margin, half of the time between its refresh and
    /// its end. A token that is for one use is never kept, and no two callers get the same.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # async fn f(client: jotsmith::Client) -> Result<(), jotsmith::Error> {
    /// let token = client
    ///     .token("asc")
    ///     .claims(serde_json::json!({"scope": ["GET /v1/apps"]}))
    ///     .ttl(Duration::from_secs(300))
    ///     .await?;
    /// # Ok(()) }
    /// ```
    pub fn token(&self, request: impl Into<Request>) -> TokenCall<'_> {
        TokenCall {
            client: self,
            request: request.into(),
            deadline: None,
        }
    }

    /// Forgets the tokens of a profile, those of calls under way too. The next
    /// [`token`](Self::token) asks the server, which may answer with the same one.
    pub fn invalidate(&self, profile: &str) {
        self.0.keeper.invalidate(profile);
    }

    /// Ends what is under way, with `CANCELLED`, and the connection, for all clones.
    pub fn close(&self) {
        self.0.close();
    }

    /// The connection, for RPCs that have no method here.
    #[must_use]
    pub fn conn(&self) -> Conn {
        self.0.conn.clone()
    }

    pub(crate) fn keeper(&self) -> &Keeper {
        &self.0.keeper
    }

    pub(crate) fn timeout(&self) -> Duration {
        self.0.timeout
    }

    pub(crate) fn closing(&self) -> &Closing {
        &self.0.closing
    }

    /// Makes one call within the timeout, again while it is UNAVAILABLE.
    /// Each try gets the time that is left.
    pub(crate) async fn call<T, F>(
        &self,
        mut once: impl FnMut(Conn, Duration) -> F,
    ) -> Result<T, Error>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let deadline = Instant::now() + self.0.timeout;
        let all = retry(deadline, || {
            let left = deadline.saturating_duration_since(Instant::now());
            within(deadline, once(self.conn(), left))
        });
        self.0.closing.unless(all).await
    }
}

impl Inner {
    fn close(&self) {
        self.closing.close();
        self.keeper.clear();
        self.conn.close();
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.close();
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("conn", &self.0.conn)
            .finish_non_exhaustive()
    }
}

async fn mint(
    conn: Conn,
    message: MintTokenRequest,
    deadline: Instant,
) -> Result<MintTokenResponse, Error> {
    retry(deadline, || {
        let mut request = tonic::Request::new(message.clone());
        request.set_timeout(deadline.saturating_duration_since(Instant::now()));
        let mut tokens = TokenServiceClient::new(conn.clone());
        within(deadline, async move { tokens.mint_token(request).await })
    })
    .await
}

/// What one try comes to before the deadline.
async fn within<T>(
    deadline: Instant,
    once: impl Future<Output = Result<Response<T>, Status>>,
) -> Result<T, Error> {
    match timeout_at(deadline, once).await {
        Ok(Ok(response)) => Ok(response.into_inner()),
        Ok(Err(status)) => Err(Error::of_call(status)),
        Err(_) => Err(Error::late()),
    }
}

/// A call of [`Client::token`], which begins when it is awaited.
///
/// Whoever drops it stops nobody else who asks for the same.
#[derive(Clone, Debug)]
#[must_use = "nothing is asked for before it is awaited"]
pub struct TokenCall<'a> {
    client: &'a Client,
    request: Request,
    deadline: Option<Instant>,
}

impl TokenCall<'_> {
    /// As [`Request::claims`].
    pub fn claims(mut self, claims: impl Serialize) -> Self {
        self.request = self.request.claims(claims);
        self
    }

    /// As [`Request::claims_json`].
    pub fn claims_json(mut self, claims: impl Into<String>) -> Self {
        self.request = self.request.claims_json(claims);
        self
    }

    /// As [`Request::ttl`].
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.request = self.request.ttl(ttl);
        self
    }

    /// As [`Request::min_remaining`].
    pub fn min_remaining(mut self, min_remaining: Duration) -> Self {
        self.request = self.request.min_remaining(min_remaining);
        self
    }

    /// Sets how long this call may take, from now on; at most the client's timeout. Unlike
    /// a [`tokio::time::timeout`] around it, it leaves time for the old token where the
    /// server is silent.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.deadline = Instant::now().checked_add(timeout);
        self
    }
}

impl<'a> IntoFuture for TokenCall<'a> {
    type Output = Result<Token, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            self.client
                .0
                .keeper
                .token(&self.request, self.deadline)
                .await
        })
    }
}
