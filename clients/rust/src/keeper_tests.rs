//! Tests of the keeper, in a time of their own.

use std::{collections::HashSet, num::NonZeroUsize, time::Duration};

use tokio::{
    task::{JoinSet, yield_now},
    time::{Instant, advance},
};
use tonic::Code;

use crate::{
    Error, Request, Token,
    closing::Closing,
    keeper::Keeper,
    scripted::{Scripted, failure},
};

const NONE: Duration = Duration::ZERO;
const MILLI: Duration = Duration::from_millis(1);

fn seconds(s: u64) -> Duration {
    Duration::from_secs(s)
}

fn keeper(server: &Scripted) -> Keeper {
    let most = NonZeroUsize::new(8).unwrap();
    Keeper::new(server.ask(), seconds(10), most, Closing::new())
}

async fn get(keeper: &Keeper, request: impl Into<Request>) -> Result<Token, Error> {
    keeper.token(&request.into(), None).await
}

async fn must(keeper: &Keeper, want: &str, request: impl Into<Request>) -> Token {
    let token = get(keeper, request).await.unwrap();
    assert_eq!(token.reveal(), want);
    token
}

async fn must_fail(keeper: &Keeper, reason: &str, request: impl Into<Request>) -> Error {
    let e = get(keeper, request).await.unwrap_err();
    assert_eq!(e.reason(), reason, "{e}");
    e
}

#[tokio::test(start_paused = true)]
async fn a_token_is_kept_until_its_refresh_time_whatever_the_clocks_say() {
    for skew in [0, 34, -34, 86400, -86400] {
        let server = Scripted::default();
        server.set(|script| script.skew = skew);
        let keeper = keeper(&server);
        must(&keeper, "token-1", "p").await;
        advance(Duration::from_millis(399_999)).await;
        let token = must(&keeper, "token-1", "p").await;
        assert_eq!(token.remaining(), Some(seconds(200) + MILLI));
        assert!(token.fresh());
        advance(MILLI).await;
        must(&keeper, "token-2", "p").await;
        assert!(!token.fresh());
        advance(seconds(3600)).await;
        assert_eq!(token.remaining(), Some(NONE));
    }
}

#[tokio::test(start_paused = true)]
async fn an_old_token_serves_while_the_server_is_away_and_never_past_its_margin() {
    let server = Scripted::default();
    let keeper = keeper(&server);
    must(&keeper, "token-1", "p").await;
    server.fail(Some(failure(Code::Unavailable, "DRAINING", seconds(5))));
    advance(seconds(400)).await;
    must(&keeper, "token-1", "p").await;
    let before = server.calls();
    must(&keeper, "token-1", "p").await; // the server said when to come again
    assert_eq!(server.calls(), before);
    advance(seconds(5)).await;
    must(&keeper, "token-1", "p").await;
    assert_eq!(server.calls(), before + 1);
    advance(Duration::from_millis(94_999)).await;
    must(&keeper, "token-1", "p").await;
    advance(MILLI).await;
    let e = must_fail(&keeper, "DRAINING", "p").await;
    assert!(e.retryable() && e.retry_after() == seconds(5));
    server.fail(None);
    let next = format!("token-{}", server.calls() + 1);
    must(&keeper, &next, "p").await;
}

#[tokio::test(start_paused = true)]
async fn a_refused_renewal_is_not_ignored() {
    use Code::{FailedPrecondition, Internal, PermissionDenied, Unauthenticated};
    for code in [
        PermissionDenied,
        FailedPrecondition,
        Unauthenticated,
        Internal,
    ] {
        let server = Scripted::default();
        let keeper = keeper(&server);
        must(&keeper, "token-1", "p").await;
        server.fail(Some(failure(code, "SAID_NO", NONE)));
        advance(seconds(400)).await;
        must_fail(&keeper, "SAID_NO", "p").await;
        server.fail(Some(failure(Code::Unavailable, "AWAY", NONE)));
        must_fail(&keeper, "AWAY", "p").await; // the old one is gone
    }
}

#[tokio::test(start_paused = true)]
async fn a_wrong_wish_forgets_nothing() {
    let server = Scripted::default();
    let keeper = keeper(&server);
    must(&keeper, "token-1", "p").await;
    server.fail(Some(failure(
        Code::InvalidArgument,
        "INVALID_REQUEST",
        NONE,
    )));
    let long = Request::new("p").min_remaining(seconds(3600));
    must_fail(&keeper, "INVALID_REQUEST", long).await;
    must(&keeper, "token-1", "p").await;
}

#[tokio::test(start_paused = true)]
async fn a_silent_server_delays_an_old_token_by_a_second_at_most() {
    let server = Scripted::default();
    let keeper = keeper(&server);
    must(&keeper, "token-1", "p").await;
    advance(seconds(400)).await;
    server.set(|script| script.takes = seconds(3600));
    let start = Instant::now();
    must(&keeper, "token-1", "p").await;
    assert_eq!(start.elapsed(), seconds(1));
    let deadline = Instant::now() + 100 * MILLI;
    let token = keeper.token(&"p".into(), Some(deadline)).await.unwrap();
    assert_eq!(token.reveal(), "token-1");
    assert!(start.elapsed() <= seconds(1) + 51 * MILLI);
}

#[tokio::test(start_paused = true)]
async fn a_hundred_callers_are_one_request() {
    let server = Scripted::default();
    server.set(|script| script.takes = seconds(1));
    let keeper = keeper(&server);
    let mut callers = JoinSet::new();
    for _ in 0..100 {
        let keeper = keeper.clone();
        let request = Request::new("p").claims(serde_json::json!({"b": 1, "a": "é"}));
        callers.spawn(async move { must(&keeper, "token-1", request).await });
    }
    callers.join_all().await;
    let same = Request::new("p").claims_json("{ \"a\":\"\\u00e9\", \"b\":1 }");
    must(&keeper, "token-1", same).await;
    assert_eq!(server.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn no_two_callers_get_a_token_that_is_for_one_use() {
    let server = Scripted::default();
    server.set(|script| (script.one_time, script.takes) = (true, seconds(1)));
    let keeper = keeper(&server);
    let mut callers = JoinSet::new();
    for _ in 0..20 {
        let keeper = keeper.clone();
        callers.spawn(async move { get(&keeper, "p").await.unwrap() });
    }
    let mut tokens = callers.join_all().await;
    tokens.push(get(&keeper, "p").await.unwrap());
    let different: HashSet<_> = tokens.iter().map(Token::reveal).collect();
    assert_eq!((different.len(), server.calls()), (21, 21));
    assert!(
        tokens
            .iter()
            .all(|token| token.one_time() && !token.fresh())
    );
    server.set(|script| script.one_time = false); // another configuration
    must(&keeper, "token-22", "p").await;
    must(&keeper, "token-22", "p").await;
}

#[tokio::test(start_paused = true)]
async fn a_token_without_end_has_no_margin() {
    let server = Scripted::default();
    server.set(|script| script.endless = true);
    let keeper = keeper(&server);
    must(&keeper, "token-1", "p").await;
    server.fail(Some(failure(Code::Unavailable, "AWAY", NONE)));
    advance(Duration::from_millis(399_999)).await;
    let token = must(&keeper, "token-1", "p").await;
    assert_eq!(token.remaining(), None);
    must_fail(&keeper, "AWAY", Request::new("p").min_remaining(seconds(1))).await;
    advance(MILLI).await;
    must_fail(&keeper, "AWAY", "p").await;
}

#[tokio::test(start_paused = true)]
async fn min_remaining_is_kept() {
    let server = Scripted::default();
    let keeper = keeper(&server);
    let long = Request::new("p").min_remaining(seconds(540));
    must(&keeper, "token-1", "p").await;
    must(&keeper, "token-1", &long).await;
    advance(seconds(60) + MILLI).await;
    must(&keeper, "token-2", &long).await;
    assert_eq!(server.wished(), Some(seconds(540)));
    advance(seconds(120)).await;
    server.fail(Some(failure(Code::Unavailable, "AWAY", NONE)));
    must(&keeper, "token-2", "p").await;
    must_fail(&keeper, "AWAY", &long).await; // the old one has less
}

#[tokio::test(start_paused = true)]
async fn a_caller_who_gives_up_stops_nobody_else() {
    let server = Scripted::default();
    server.set(|script| script.takes = seconds(1));
    let keeper = keeper(&server);
    let first = keeper.clone();
    let first = tokio::spawn(async move { get(&first, "p").await });
    yield_now().await;
    let second = keeper.clone();
    let second = tokio::spawn(async move { must(&second, "token-1", "p").await });
    yield_now().await;
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    second.await.unwrap();
    assert_eq!(server.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_call_has_a_deadline() {
    let server = Scripted::default();
    server.set(|script| script.takes = seconds(3600));
    let keeper = keeper(&server);
    let start = Instant::now();
    let e = must_fail(&keeper, "DEADLINE_EXCEEDED", "p").await;
    assert_eq!(
        (e.code(), start.elapsed()),
        (Code::DeadlineExceeded, seconds(10))
    );
    let deadline = Instant::now() + seconds(1);
    let e = keeper.token(&"p".into(), Some(deadline)).await.unwrap_err();
    assert_eq!(
        (e.code(), start.elapsed()),
        (Code::DeadlineExceeded, seconds(11))
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_kept_is_bounded() {
    let numbered = |n: u32| Request::new("p").claims_json(format!("{{\"n\":{n}}}"));
    let server = Scripted::default();
    let keeper = keeper(&server);
    for n in 1..=100 {
        must(&keeper, &format!("token-{n}"), numbered(n)).await;
    }
    assert_eq!(keeper.places(), 8);
    must(&keeper, "token-93", numbered(93)).await;
    must(&keeper, "token-101", "q").await;
    must(&keeper, "token-93", numbered(93)).await; // asked for since
    must(&keeper, "token-102", numbered(94)).await; // gone in its stead
    server.fail(Some(failure(Code::PermissionDenied, "NOT_GRANTED", NONE)));
    for n in 0..100 {
        must_fail(&keeper, "NOT_GRANTED", format!("x{n}")).await;
    }
    assert_eq!(keeper.places(), 7, "what was refused has no place");
}

#[tokio::test(start_paused = true)]
async fn invalidate_forgets_what_is_under_way_too() {
    let server = Scripted::default();
    server.set(|script| script.takes = seconds(1));
    let keeper = keeper(&server);
    let first = keeper.clone();
    let first = tokio::spawn(async move { must(&first, "token-1", "p").await });
    yield_now().await;
    keeper.invalidate("p");
    must(&keeper, "token-2", "p").await;
    first.await.unwrap();
    must(&keeper, "token-2", "p").await;
    keeper.invalidate("other");
    must(&keeper, "token-2", "p").await;
}

#[tokio::test(start_paused = true)]
async fn a_refused_token_is_made_anew_once_it_is_old_enough() {
    let request = Request::new("p");
    let server = Scripted::default();
    let keeper = keeper(&server);
    let first = must(&keeper, "token-1", "p").await;
    let other = keeper.renew(&request, &first).await.unwrap();
    assert_eq!((other.reveal(), server.wished()), ("token-2", None));
    // A second caller who was refused the first token gets what is kept now.
    let again = keeper.renew(&request, &first).await.unwrap();
    assert_eq!(again.reveal(), "token-2");
    advance(seconds(60)).await;
    let third = keeper.renew(&request, &other).await.unwrap();
    assert_eq!(third.reveal(), "token-3");
    assert_eq!(server.wished(), Some(seconds(545)));
    // A profile that allows no such wish is asked plainly.
    server.set(|script| script.shared = true);
    advance(seconds(60)).await;
    let fourth = keeper.renew(&request, &third).await.unwrap();
    assert_eq!((fourth.reveal(), server.wished()), ("token-5", None));
    server.set(|script| script.same = true);
    let same = get(&keeper, "q").await.unwrap();
    assert!(keeper.renew(&"q".into(), &same).await.is_none());
    server.set(|script| script.one_time = true);
    let once = get(&keeper, "r").await.unwrap();
    assert!(keeper.renew(&"r".into(), &once).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_close_ends_what_is_under_way() {
    let server = Scripted::default();
    server.set(|script| script.takes = seconds(3600));
    let client = crate::Client::scripted(server.ask());
    let caller = client.clone();
    let caller = tokio::spawn(async move { caller.token("p").await });
    yield_now().await;
    let start = Instant::now();
    client.close();
    let e = caller.await.unwrap().unwrap_err();
    assert_eq!((e.reason(), start.elapsed()), ("CANCELLED", NONE));
    let e = client.token("p").await.unwrap_err();
    assert_eq!(e.code(), Code::Cancelled);
    assert_eq!(client.keys("").await.unwrap_err().code(), Code::Cancelled);
}

#[test]
fn a_runtime_that_ends_takes_no_keeper_with_it() {
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
    };
    let server = Scripted::default();
    server.set(|script| script.takes = seconds(3600));
    let keeper = keeper(&server);
    let ending = runtime();
    let first = keeper.clone();
    ending.block_on(async move {
        tokio::spawn(async move { get(&first, "p").await });
        yield_now().await;
        yield_now().await;
    });
    server.set(|script| script.takes = NONE);
    runtime().block_on(async move {
        let waits = tokio::spawn(async move { must(&keeper, "token-2", "p").await });
        yield_now().await;
        assert_eq!(
            server.calls(),
            1,
            "it waits for the call of the other runtime"
        );
        std::thread::spawn(move || drop(ending)).join().unwrap();
        waits.await.unwrap();
    });
}
