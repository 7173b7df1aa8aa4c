//! Keeps tokens.

use std::{
    collections::HashMap,
    num::NonZeroUsize,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use lru::LruCache;
use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};
use tonic::Code;

use crate::{
    Error, Request, Token,
    closing::Closing,
    lifetime::Reading,
    proto::{MintTokenRequest, MintTokenResponse},
    request::Place,
};

/// How long whoever could have the old token waits for the new one.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long the server is left alone, at least, after it could not renew a token that
/// still serves.
const PAUSE: Duration = Duration::from_secs(1);
/// The age from which a token is made anew because its consumer refused it. A younger one
/// was not refused for its age.
const YOUNGEST: Duration = Duration::from_secs(15);

type Answer = Pin<Box<dyn Future<Output = Result<MintTokenResponse, Error>> + Send>>;
/// Asks the server until a deadline.
pub(crate) type Ask = dyn Fn(MintTokenRequest, Instant) -> Answer + Send + Sync;

/// Keeps tokens. Its clones are the same keeper.
#[derive(Clone)]
pub(crate) struct Keeper(Arc<Shared>);

struct Shared {
    ask: Box<Ask>,
    timeout: Duration,
    closing: Closing,
    state: Mutex<State>,
}

struct State {
    places: LruCache<Place, Entry>,
    next: u64,
}

/// What is known of one place.
struct Entry {
    /// What tells it from another that was at the same place.
    id: u64,
    token: Option<Token>,
    /// Its tokens are for one use, as far as is known.
    one_time: bool,
    flights: HashMap<Duration, Flight>,
    /// When the server could not renew the token, and how long it is left alone.
    failed: Option<(Reading, Duration)>,
}

type Outcome = watch::Sender<Option<Result<Token, Error>>>;

/// One call that several wait for.
#[derive(Clone)]
struct Flight {
    outcome: watch::Receiver<Option<Result<Token, Error>>>,
    /// A token that is for one use has its user.
    taken: Arc<AtomicBool>,
}

/// What is to be done for a caller.
enum Step {
    Done(Token),
    Alone(u64),
    Await(Flight, Option<Token>, u64),
    Start(Landing, Outcome, Flight, Option<Token>, u64),
}

/// What came of waiting.
enum Landed {
    Token(Token),
    /// A token for one use that has another user.
    Taken,
    /// The runtime that the flight was on has ended.
    Lost,
}

impl Keeper {
    pub(crate) fn new(
        ask: Box<Ask>,
        timeout: Duration,
        most: NonZeroUsize,
        closing: Closing,
    ) -> Self {
        let state = Mutex::new(State {
            places: LruCache::new(most),
            next: 0,
        });
        Self(Arc::new(Shared {
            ask,
            timeout,
            closing,
            state,
        }))
    }

    /// A kept token or a new one, before the deadline or the timeout.
    pub(crate) async fn token(
        &self,
        request: &Request,
        deadline: Option<Instant>,
    ) -> Result<Token, Error> {
        let message = request.message()?;
        let latest = Instant::now() + self.0.timeout;
        let last = deadline.map_or(latest, |own| own.min(latest));
        let place = request.place(&message);
        loop {
            let (flight, spare, id) = match self.step(request, &place)? {
                Step::Done(token) => return Ok(token),
                Step::Alone(id) => return self.alone(message, last, &place, id).await,
                Step::Await(flight, spare, id) => (flight, spare, id),
                Step::Start(landing, outcome, flight, spare, id) => {
                    self.start(message.clone(), landing, outcome);
                    (flight, spare, id)
                }
            };
            match wait(flight, spare, request.min_remaining, deadline).await? {
                Landed::Token(token) => return Ok(token),
                // Of a token that is for one use, all but one of those who waited ask
                // alone.
                Landed::Taken => return self.alone(message, last, &place, id).await,
                Landed::Lost => {}
            }
        }
    }

    fn step(&self, request: &Request, place: &Place) -> Result<Step, Error> {
        if self.0.closing.closed() {
            return Err(Error::closed());
        }
        let now = Reading::now();
        let mut state = self.0.lock();
        let State { places, next } = &mut *state;
        let entry = places.get_or_insert_mut(place.clone(), || {
            *next += 1;
            Entry {
                id: *next,
                token: None,
                one_time: false,
                flights: HashMap::new(),
                failed: None,
            }
        });
        let at_least = request.min_remaining;
        let spare = entry
            .token
            .clone()
            .filter(|old| old.life.usable(now, at_least));
        if let Some(old) = &spare {
            let left_alone = entry.failed.is_some_and(|(at, pause)| at.age(now) < pause);
            if old.life.fresh(now, at_least) || left_alone {
                return Ok(Step::Done(old.clone()));
            }
        }
        if entry.one_time {
            return Ok(Step::Alone(entry.id));
        }
        let id = entry.id;
        if let Some(flight) = entry.flights.get(&at_least) {
            return Ok(Step::Await(flight.clone(), spare, id));
        }
        let (sender, outcome) = watch::channel(None);
        let flight = Flight {
            outcome,
            taken: Arc::new(AtomicBool::new(false)),
        };
        entry.flights.insert(at_least, flight.clone());
        let landing = Landing {
            shared: self.0.clone(),
            place: place.clone(),
            id,
            at_least,
            taken: flight.taken.clone(),
        };
        Ok(Step::Start(landing, sender, flight, spare, id))
    }

    /// Starts a flight. It goes on without whoever came first, and ends with the timeout
    /// or the client. No lock is held: a runtime that ends drops what it is given.
    fn start(&self, message: MintTokenRequest, landing: Landing, sender: Outcome) {
        let deadline = Instant::now() + self.0.timeout;
        tokio::spawn(async move {
            let found = landing.shared.ask(message, deadline).await;
            landing.land(&found);
            sender.send_replace(Some(found));
        });
    }

    /// Asks for a token that nobody else gets.
    async fn alone(
        &self,
        message: MintTokenRequest,
        deadline: Instant,
        place: &Place,
        id: u64,
    ) -> Result<Token, Error> {
        let found = self.0.ask(message, deadline).await;
        if found.is_ok() {
            self.0.lock().keep(place, id, &found);
        }
        found
    }

    /// Forgets the tokens of a profile, those of calls under way too.
    pub(crate) fn invalidate(&self, profile: &str) {
        let mut state = self.0.lock();
        let gone: Vec<Place> = state
            .places
            .iter()
            .map(|(place, _)| place)
            .filter(|place| place.profile == profile)
            .cloned()
            .collect();
        for place in gone {
            state.places.pop(&place);
        }
    }

    /// Forgets everything.
    pub(crate) fn clear(&self) {
        self.0.lock().places.clear();
    }

    /// How many requests have something kept or under way.
    #[cfg(test)]
    pub(crate) fn places(&self) -> usize {
        self.0.lock().places.len()
    }

    /// Another token than one that its consumer has refused, or None where there is none.
    /// The server makes a new one instead of the same only where its profile lets callers
    /// ask for a longer life.
    pub(crate) async fn renew(&self, request: &Request, refused: &Token) -> Option<Token> {
        if refused.one_time() {
            return None;
        }
        let place = request.place(&request.message().ok()?);
        {
            let mut state = self.0.lock();
            let kept = state
                .places
                .peek(&place)
                .and_then(|entry| entry.token.as_ref());
            // Another's renewal has come between, or is under way and is joined.
            if kept.is_some_and(|kept| kept.reveal() == refused.reveal()) {
                state.places.pop(&place);
            }
        }
        let now = Reading::now();
        let longer = match refused.life.remaining(now) {
            Some(left) if refused.life.asked.age(now) >= YOUNGEST => {
                let wish = Duration::from_secs(left.as_secs() + 5);
                request
                    .clone()
                    .min_remaining(wish.max(request.min_remaining))
            }
            _ => request.clone(),
        };
        let mut found = self.token(&longer, None).await;
        let wished = longer.min_remaining != request.min_remaining;
        if wished
            && found
                .as_ref()
                .is_err_and(|e| e.code() == Code::InvalidArgument)
        {
            found = self.token(request, None).await;
        }
        found
            .ok()
            .filter(|token| token.reveal() != refused.reveal())
    }
}

/// Waits for a flight. The spare token, where there is one, is what the caller gets while
/// the server is away.
async fn wait(
    mut flight: Flight,
    spare: Option<Token>,
    at_least: Duration,
    deadline: Option<Instant>,
) -> Result<Landed, Error> {
    let now = Instant::now();
    let landing = flight.outcome.wait_for(Option::is_some);
    let until = match (&spare, deadline) {
        (Some(_), Some(own)) => Some(now + PATIENCE.min(own.saturating_duration_since(now) / 2)),
        (Some(_), None) => Some(now + PATIENCE),
        (None, own) => own,
    };
    let landed = match until {
        // A flight has a deadline of its own.
        None => landing.await,
        Some(until) => match timeout_at(until, landing).await {
            Ok(landed) => landed,
            Err(_) => return spare.map(Landed::Token).ok_or_else(Error::late),
        },
    };
    let Some(found) = landed.ok().and_then(|outcome| outcome.clone()) else {
        return Ok(Landed::Lost);
    };
    match found {
        Err(e) if e.retryable() => match spare {
            Some(old) if old.life.usable(Reading::now(), at_least) => Ok(Landed::Token(old)),
            _ => Err(e),
        },
        Err(e) => Err(e),
        Ok(token) if token.one_time() && flight.taken.swap(true, Ordering::AcqRel) => {
            Ok(Landed::Taken)
        }
        Ok(token) => Ok(Landed::Token(token)),
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn ask(&self, message: MintTokenRequest, deadline: Instant) -> Result<Token, Error> {
        let asked = Reading::now();
        let call = async {
            let answered = timeout_at(deadline, (self.ask)(message, deadline)).await;
            answered.unwrap_or_else(|_| Err(Error::late()))
        };
        let answer = self.closing.unless(call).await?;
        Ok(Token::received(answer, asked))
    }
}

impl State {
    /// Takes up what the server answered. A refusal is as good as an answer: the token
    /// before it is not handed out any more.
    fn keep(&mut self, place: &Place, id: u64, found: &Result<Token, Error>) {
        let Some(entry) = self.places.peek_mut(place).filter(|entry| entry.id == id) else {
            return;
        };
        match found {
            Ok(token) => {
                entry.one_time = token.one_time();
                entry.token = (!entry.one_time).then(|| token.clone());
                entry.failed = None;
                return;
            }
            Err(e) if e.retryable() => {
                entry.failed = Some((Reading::now(), PAUSE.max(e.retry_after())));
            }
            // The request was wrong, or nobody asked any more.
            Err(e) if matches!(e.code(), Code::InvalidArgument | Code::Cancelled) => {}
            Err(_) => entry.token = None,
        }
        if entry.token.is_none() && entry.flights.is_empty() {
            self.places.pop(place);
        }
    }
}

/// The end of a flight, also of one whose runtime ends under it.
struct Landing {
    shared: Arc<Shared>,
    place: Place,
    id: u64,
    at_least: Duration,
    taken: Arc<AtomicBool>,
}

impl Landing {
    fn land(&self, found: &Result<Token, Error>) {
        let mut state = self.shared.lock();
        self.leave(&mut state);
        state.keep(&self.place, self.id, found);
    }

    fn leave(&self, state: &mut State) {
        let Some(entry) = state.places.peek_mut(&self.place) else {
            return;
        };
        let flying = entry.flights.get(&self.at_least);
        if flying.is_some_and(|flight| Arc::ptr_eq(&flight.taken, &self.taken)) {
            entry.flights.remove(&self.at_least);
        }
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        self.leave(&mut self.shared.lock());
    }
}
