//! What plugs into HTTP clients that are tower services.

use std::{
    error::Error as StdError,
    fmt,
    future::poll_fn,
    marker::PhantomData,
    mem,
    pin::Pin,
    task::{Context, Poll},
};

use http::{StatusCode, Uri, header::AUTHORIZATION, uri::Scheme};
use tower_layer::Layer;
use tower_service::Service;

use crate::{Client, Error, Request, SettingError, Token, bearer::authorization};

/// Puts a token into the Authorization of each request to one origin.
///
/// Where the answer is 401 it asks for another token and repeats the request once, if the
/// server has another and the profile's tokens are not for one use. A body that is sent
/// again is cloned; for bodies that cannot be, see [`once`](HttpLayer::once).
///
/// A request to another scheme, host or port passes without a token. So does one that
/// follows a redirect there, wherever redirects are followed: a layer for that may stand
/// before or behind this one.
pub struct HttpLayer<C = Again> {
    client: Client,
    request: Request,
    origin: Origin,
    copies: PhantomData<fn() -> C>,
}

/// How a body is sent again. [`Again`] and [`Once`] are the two ways.
pub trait Copies<B> {
    /// Another body like this one, if there can be one.
    fn copy(body: &B) -> Option<B>;
}

/// Clones bodies.
#[derive(Clone, Copy, Debug)]
pub struct Again;

impl<B: Clone> Copies<B> for Again {
    fn copy(body: &B) -> Option<B> {
        Some(body.clone())
    }
}

/// Sends each body once, so that a 401 stands.
#[derive(Clone, Copy, Debug)]
pub struct Once;

impl<B> Copies<B> for Once {
    fn copy(_: &B) -> Option<B> {
        None
    }
}

impl Client {
    /// A layer for an HTTP client that is a tower service, as those of hyper-util are. Its
    /// tokens go to one origin alone, `https://HOST` or `https://HOST:PORT`. (`http` is
    /// taken too, for servers on this machine.)
    ///
    /// ```no_run
    /// # fn f(client: jotsmith::Client) -> Result<(), jotsmith::SettingError> {
    /// use tower_layer::Layer;
    /// # let https = tower_service_of_yours();
    /// # fn tower_service_of_yours() {}
    /// let apple = client
    ///     .http_layer("asc", "https://api.appstoreconnect.apple.com")?
    ///     .layer(https);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// An origin that is none.
    pub fn http_layer(
        &self,
        request: impl Into<Request>,
        origin: &str,
    ) -> Result<HttpLayer, SettingError> {
        let uri: Uri = origin
            .parse()
            .map_err(|e| SettingError::by(format!("origin {origin:?}"), e))?;
        let origin = Origin::of(&uri).ok_or_else(|| {
            SettingError::new(format!(
                "origin {origin:?} is not https://HOST or https://HOST:PORT"
            ))
        })?;
        Ok(HttpLayer {
            client: self.clone(),
            request: request.into(),
            origin,
            copies: PhantomData,
        })
    }
}

impl HttpLayer {
    /// The same for bodies that cannot be cloned. No request is repeated then.
    #[must_use]
    pub fn once(self) -> HttpLayer<Once> {
        HttpLayer {
            client: self.client,
            request: self.request,
            origin: self.origin,
            copies: PhantomData,
        }
    }
}

impl<C> Clone for HttpLayer<C> {
    fn clone(&self) -> Self {
        Self {
            client: self.client.clone(),
            request: self.request.clone(),
            origin: self.origin.clone(),
            copies: PhantomData,
        }
    }
}

impl<C> fmt::Debug for HttpLayer<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpLayer")
            .field("request", &self.request)
            .field("origin", &self.origin)
            .finish_non_exhaustive()
    }
}

impl<S, C> Layer<S> for HttpLayer<C> {
    type Service = HttpService<S, C>;

    fn layer(&self, inner: S) -> Self::Service {
        HttpService {
            layer: self.clone(),
            inner,
        }
    }
}

/// An HTTP client under an [`HttpLayer`]. Its error is the client's, or an [`Error`] where
/// there is no token, and then nothing was sent.
pub struct HttpService<S, C = Again> {
    layer: HttpLayer<C>,
    inner: S,
}

impl<S: Clone, C> Clone for HttpService<S, C> {
    fn clone(&self) -> Self {
        Self {
            layer: self.layer.clone(),
            inner: self.inner.clone(),
        }
    }
}

impl<S, C> fmt::Debug for HttpService<S, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpService")
            .field("layer", &self.layer)
            .finish_non_exhaustive()
    }
}

type BoxError = Box<dyn StdError + Send + Sync>;

impl<S, C, B, A> Service<http::Request<B>> for HttpService<S, C>
where
    S: Service<http::Request<B>, Response = http::Response<A>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<BoxError>,
    C: Copies<B> + 'static,
    B: Send + 'static,
    A: Send + 'static,
{
    type Response = http::Response<A>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        // The one that is ready does the call, its clone the next.
        let clone = self.inner.clone();
        let inner = mem::replace(&mut self.inner, clone);
        let layer = self.layer.clone();
        Box::pin(layer.send(inner, request))
    }
}

impl<C> HttpLayer<C> {
    async fn send<S, B, A>(
        self,
        mut inner: S,
        mut request: http::Request<B>,
    ) -> Result<http::Response<A>, BoxError>
    where
        S: Service<http::Request<B>, Response = http::Response<A>>,
        S::Error: Into<BoxError>,
        C: Copies<B>,
    {
        if Origin::of(request.uri()).as_ref() != Some(&self.origin) {
            return inner.call(request).await.map_err(Into::into);
        }
        let token = self.client.token(&self.request).await?;
        let repeated = copy::<B, C>(&request);
        authorize(&mut request, &token)?;
        let answer = inner.call(request).await.map_err(Into::into)?;
        let Some(mut repeated) = repeated.filter(|_| answer.status() == StatusCode::UNAUTHORIZED)
        else {
            return Ok(answer);
        };
        let Some(other) = self.client.keeper().renew(&self.request, &token).await else {
            return Ok(answer);
        };
        authorize(&mut repeated, &other)?;
        drop(answer);
        poll_fn(|cx| inner.poll_ready(cx))
            .await
            .map_err(Into::into)?;
        inner.call(repeated).await.map_err(Into::into)
    }
}

fn copy<B, C: Copies<B>>(request: &http::Request<B>) -> Option<http::Request<B>> {
    let mut again = http::Request::new(C::copy(request.body())?);
    again.method_mut().clone_from(request.method());
    again.uri_mut().clone_from(request.uri());
    *again.version_mut() = request.version();
    again.headers_mut().clone_from(request.headers());
    again.extensions_mut().clone_from(request.extensions());
    Some(again)
}

fn authorize<B>(request: &mut http::Request<B>, token: &Token) -> Result<(), Error> {
    let value = authorization(token.reveal())
        .ok_or_else(|| Error::nonsense("the server's token is not one"))?;
    request.headers_mut().insert(AUTHORIZATION, value);
    Ok(())
}

/// A scheme, a host and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Origin {
    scheme: Scheme,
    host: String,
    port: u16,
}

impl Origin {
    /// None where a URL does not say them all, and has no port that all know.
    fn of(uri: &Uri) -> Option<Self> {
        let scheme = uri.scheme()?.clone();
        let known = match scheme.as_str() {
            "https" => 443,
            "http" => 80,
            _ => return None,
        };
        Some(Self {
            host: uri
                .host()
                .filter(|host| !host.is_empty())?
                .to_ascii_lowercase(),
            port: uri.port_u16().unwrap_or(known),
            scheme,
        })
    }
}
