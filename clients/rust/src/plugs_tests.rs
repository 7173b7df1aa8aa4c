//! Tests of what plugs in, against a small HTTP server.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::{HeaderMap, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::{Client as Web, connect::HttpConnector},
    rt::TokioExecutor,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
};
use tonic::{Code, transport::Endpoint};
use tower::{Layer, ServiceExt};
use tower_http::follow_redirect::FollowRedirectLayer;

use crate::{
    Client, Error,
    scripted::{Scripted, failure},
};

type Body = Full<&'static [u8]>;

/// A server that answers by the path: `/STATUS` with that status to the token-1 and with
/// 200 to any other, `/to?URL` with a redirect, and always with the token and the body.
struct Server {
    origin: String,
    requests: Arc<AtomicUsize>,
}

impl Server {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(AtomicUsize::new(0));
        let counted = requests.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(answer(stream));
            }
        });
        Self { origin, requests }
    }

    fn requests(&self) -> usize {
        self.requests.swap(0, Ordering::SeqCst)
    }
}

/// Answers the one request of a connection.
async fn answer(stream: TcpStream) {
    let mut stream = BufReader::new(stream);
    let (mut path, mut token, mut length) = (String::new(), String::new(), 0);
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.unwrap();
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        if path.is_empty() {
            path = line.split(' ').nth(1).unwrap_or_default().to_owned();
        } else if let Some((name, value)) = line.split_once(": ") {
            match name.to_ascii_lowercase().as_str() {
                "authorization" => token = value.trim_start_matches("Bearer ").to_owned(),
                "content-length" => length = value.parse().unwrap(),
                _ => {}
            }
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.unwrap();
    let (status, location) = match path.split_once("/to?") {
        Some((_, url)) => ("302".to_owned(), format!("location: {url}\r\n")),
        None if token == "token-1" => (path[1..].to_owned(), String::new()),
        None => ("200".to_owned(), String::new()),
    };
    let body = format!("{token} {}", String::from_utf8_lossy(&body));
    let length = body.len();
    let text = format!(
        "HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: {length}\r\n{location}\r\n{body}"
    );
    stream.write_all(text.as_bytes()).await.unwrap();
}

fn web() -> Web<HttpConnector, Body> {
    Web::builder(TokioExecutor::new()).build_http()
}

fn request(url: &str) -> http::Request<Body> {
    http::Request::post(url)
        .body(Full::new(&b"body"[..]))
        .unwrap()
}

async fn text<B: http_body_util::BodyExt>(answer: http::Response<B>) -> (StatusCode, String)
where
    B::Error: std::fmt::Debug,
{
    let status = answer.status();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8_lossy(&body).into_owned())
}

/// A request through the layer and what follows redirects before it.
async fn ask(client: &Client, origin: &str, url: &str) -> (StatusCode, String) {
    let plugged = client.http_layer("p", origin).unwrap().layer(web());
    let following = FollowRedirectLayer::new().layer(plugged);
    text(following.oneshot(request(url)).await.unwrap()).await
}

#[tokio::test]
async fn a_request_is_repeated_once_with_another_token() {
    let tokens = Scripted::default();
    let client = Client::scripted(tokens.ask());
    let api = Server::start().await;
    let url = format!("{}/401", api.origin);
    let (status, body) = ask(&client, &api.origin, &url).await;
    assert_eq!((status.as_u16(), body.as_str()), (200, "token-2 body"));
    assert_eq!((api.requests(), tokens.calls()), (2, 2));
    // Without another token the refusal stands, and so does that of one for one use.
    for (same, one_time) in [(true, false), (false, true)] {
        let tokens = Scripted::default();
        tokens.set(|script| (script.same, script.one_time) = (same, one_time));
        let client = Client::scripted(tokens.ask());
        let (status, body) = ask(&client, &api.origin, &url).await;
        assert_eq!((status.as_u16(), body.as_str()), (401, "token-1 body"));
        assert_eq!(api.requests(), 1);
    }
    // Other answers are answers.
    let client = Client::scripted(Scripted::default().ask());
    let (status, _) = ask(&client, &api.origin, &format!("{}/403", api.origin)).await;
    assert_eq!((status.as_u16(), api.requests()), (403, 1));
}

#[tokio::test]
async fn a_body_that_cannot_be_cloned_is_sent_once() {
    let client = Client::scripted(Scripted::default().ask());
    let api = Server::start().await;
    let web: Web<
        HttpConnector,
        http_body_util::combinators::BoxBody<&'static [u8], std::convert::Infallible>,
    > = Web::builder(TokioExecutor::new()).build_http();
    let plugged = client
        .http_layer("p", &api.origin)
        .unwrap()
        .once()
        .layer(web);
    let request = request(&format!("{}/401", api.origin)).map(BodyExt::boxed);
    let (status, _) = text(plugged.oneshot(request).await.unwrap()).await;
    assert_eq!((status.as_u16(), api.requests()), (401, 1));
}

#[tokio::test]
async fn a_redirect_elsewhere_gets_no_token() {
    let client = Client::scripted(Scripted::default().ask());
    let (api, elsewhere) = (Server::start().await, Server::start().await);
    let origin = &api.origin;
    let (_, body) = ask(&client, origin, &format!("{origin}/to?/200")).await;
    assert_eq!((body.trim(), api.requests()), ("token-1", 2));
    for away in [
        format!("{}/200", elsewhere.origin),
        format!("{}/200", origin.replace("127.0.0.1", "localhost")),
    ] {
        let (status, body) = ask(&client, origin, &format!("{origin}/to?{away}")).await;
        assert_eq!((status.as_u16(), body.trim()), (200, ""), "{away}");
    }
}

#[tokio::test]
async fn without_a_token_there_is_no_request() {
    let tokens = Scripted::default();
    tokens.fail(Some(failure(
        Code::PermissionDenied,
        "NOT_GRANTED",
        Duration::ZERO,
    )));
    let client = Client::scripted(tokens.ask());
    let api = Server::start().await;
    let plugged = client.http_layer("p", &api.origin).unwrap().layer(web());
    let e = plugged
        .oneshot(request(&format!("{}/200", api.origin)))
        .await
        .unwrap_err();
    assert_eq!(e.downcast::<Error>().unwrap().reason(), "NOT_GRANTED");
    assert_eq!(api.requests(), 0);
}

#[tokio::test]
async fn the_programs_own_authorization_is_replaced_and_the_header_hides_itself() {
    let client = Client::scripted(Scripted::default().ask());
    let seen = tower::service_fn(|request: http::Request<Body>| async move {
        let mut answer = http::Response::new(Full::new(&b""[..]));
        answer.headers_mut().clone_from(request.headers());
        Ok::<_, std::convert::Infallible>(answer)
    });
    let plugged = client
        .http_layer("p", "https://API.example")
        .unwrap()
        .layer(seen);
    let mut request = request("https://api.example:443/");
    request
        .headers_mut()
        .insert("authorization", "old".parse().unwrap());
    let answer = plugged.oneshot(request).await.unwrap();
    let headers: &HeaderMap = answer.headers();
    assert_eq!(headers["authorization"], "Bearer token-1");
    assert!(!format!("{headers:?}").contains("token-1"));
}

#[tokio::test]
async fn what_is_no_origin_is_an_error() {
    let client = Client::scripted(Scripted::default().ask());
    for origin in ["", "api.example", "/v1", "ftp://api.example", "https://a b"] {
        assert!(client.http_layer("p", origin).is_err(), "{origin}");
    }
    let plain = Endpoint::from_static("http://other.example");
    assert!(client.grpc_channel("p", &plain).is_err());
}
