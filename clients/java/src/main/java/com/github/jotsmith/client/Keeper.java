package com.github.jotsmith.client;

import com.github.jotsmith.v1.MintTokenRequest;
import com.github.jotsmith.v1.MintTokenResponse;
import io.grpc.Deadline;
import io.grpc.Status;
import java.time.Duration;
import java.util.HashMap;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Executor;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.locks.ReentrantLock;
import java.util.function.Supplier;

/** Keeps tokens. It is safe for concurrent use. */
final class Keeper {
    /** How long whoever could have the old token waits for the new one. */
    private static final Duration PATIENCE = Duration.ofSeconds(1);

    /** How long the server is left alone, at least, after it could not renew a token that still serves. */
    private static final Duration PAUSE = Duration.ofSeconds(1);

    /**
     * The age from which a token is made anew because its consumer refused it. A younger one was not
     * refused for its age.
     */
    private static final Duration YOUNGEST = Duration.ofSeconds(15);

    /** How much longer than the refused one the new one is to last, so that it is a new one. */
    private static final Duration LONGER = Duration.ofSeconds(5);

    /** Asks the server; throws a JotsmithException. */
    interface Asking {
        MintTokenResponse ask(MintTokenRequest request, Deadline deadline);
    }

    private final Asking asking;
    private final Duration timeout;
    private final int most;
    private final Supplier<Reading> clock;
    private final Executor threads;

    private final ReentrantLock lock = new ReentrantLock();
    // By when they were asked for, the longest ago first. Guarded by lock.
    private final LinkedHashMap<Place, Kept> places = new LinkedHashMap<>(16, 0.75f, true);
    private boolean closed; // guarded by lock

    /**
     * Keeps the tokens of at most so many places. Each flight takes one of the threads, which the
     * caller ends after close.
     */
    Keeper(Asking asking, Duration timeout, int most, Supplier<Reading> clock, Executor threads) {
        this.asking = asking;
        this.timeout = timeout;
        this.most = most;
        this.clock = clock;
        this.threads = threads;
    }

    /** What is known of one place; guarded by the keeper's lock. */
    private static final class Kept {
        final Place at;
        final Map<Duration, Flight> flights = new HashMap<>(); // by min_remaining
        Token token;
        boolean oneTime; // its tokens are, as far as is known
        Reading failed; // when the server could not renew the token
        Duration pause = Duration.ZERO;

        Kept(Place at) {
            this.at = at;
        }

        boolean paused(Reading now) {
            return failed != null && failed.age(now).compareTo(pause) < 0;
        }
    }

    /** One call that several wait for. */
    private static final class Flight {
        final CompletableFuture<Token> done = new CompletableFuture<>();
        boolean taken; // a token that is for one use has its user; guarded by the keeper's lock
    }

    /**
     * Returns a kept token or a new one.
     *
     * @param own how long the caller waits; null is as long as the call takes
     */
    Token token(TokenRequest request, Deadline own) {
        Kept entry;
        Token old;
        Flight shared;
        lock.lock();
        try {
            if (closed) {
                throw JotsmithException.closed();
            }
            Reading now = clock.get();
            Duration atLeast = request.minRemaining();
            entry = entry(request.place());
            old = entry.token;
            boolean spare = old != null && old.life().usable(now, atLeast);
            if ((old != null && old.life().fresh(now, atLeast)) || (spare && entry.paused(now))) {
                return old;
            }
            shared = entry.oneTime ? null : entry.flights.get(atLeast);
            if (shared == null && !entry.oneTime) {
                shared = start(request, entry);
            }
            old = spare ? old : null;
        } finally {
            lock.unlock();
        }
        return shared == null ? alone(request, entry, own) : await(request, entry, shared, old, own);
    }

    /**
     * Waits for a flight. The old token, where there is one, is what the caller gets while the server
     * is away. Of a token that is for one use, all but one of those who waited ask alone.
     */
    private Token await(TokenRequest request, Kept entry, Flight shared, Token old, Deadline own) {
        Token token;
        try {
            long nanos = own == null ? Long.MAX_VALUE : own.timeRemaining(TimeUnit.NANOSECONDS);
            if (old != null) {
                nanos = Math.min(PATIENCE.toNanos(), nanos / 2);
            }
            token = shared.done.get(nanos, TimeUnit.NANOSECONDS);
        } catch (TimeoutException e) {
            if (old != null) {
                return old;
            }
            throw JotsmithException.late();
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw JotsmithException.cancelled();
        } catch (ExecutionException e) {
            JotsmithException failed = JotsmithException.from(e.getCause());
            if (failed.retryable() && old != null && old.life().usable(clock.get(), request.minRemaining())) {
                return old;
            }
            throw failed.again();
        }
        if (!token.oneTime()) {
            return token;
        }
        lock.lock();
        try {
            if (!shared.taken) {
                shared.taken = true;
                return token;
            }
        } finally {
            lock.unlock();
        }
        return alone(request, entry, own);
    }

    /**
     * Starts a flight. It goes on without whoever came first, and ends with the timeout or the client.
     * The lock is held.
     */
    private Flight start(TokenRequest request, Kept entry) {
        Flight shared = new Flight();
        // Without a thread there is no flight to wait for. It cannot land before the lock is free.
        threads.execute(() -> fly(request, entry, shared));
        entry.flights.put(request.minRemaining(), shared);
        return shared;
    }

    private void fly(TokenRequest request, Kept entry, Flight shared) {
        Token token = null;
        JotsmithException failed = null;
        try {
            token = ask(request, Calls.after(timeout));
        } catch (RuntimeException | Error e) { // whatever it is, somebody waits for it
            failed = JotsmithException.from(e);
        }
        lock.lock();
        try {
            entry.flights.remove(request.minRemaining(), shared);
            keep(entry, token, failed);
        } finally {
            lock.unlock();
        }
        if (failed == null) {
            shared.done.complete(token);
        } else {
            shared.done.completeExceptionally(failed);
        }
    }

    private Token ask(TokenRequest request, Deadline deadline) {
        Reading asked = clock.get();
        return Token.received(asking.ask(request.message(), deadline), asked);
    }

    /** Asks for a token that nobody else gets. */
    private Token alone(TokenRequest request, Kept entry, Deadline own) {
        Deadline ours = Calls.after(timeout);
        Token token = ask(request, own == null ? ours : own.minimum(ours));
        lock.lock();
        try {
            keep(entry, token, null);
        } finally {
            lock.unlock();
        }
        return token;
    }

    /**
     * Takes up what the server answered. A refusal is as good as an answer: the token before it is not
     * handed out any more. The lock is held.
     */
    private void keep(Kept entry, Token token, JotsmithException failed) {
        if (failed == null) {
            entry.oneTime = token.oneTime();
            entry.token = entry.oneTime ? null : token;
            entry.pause = Duration.ZERO;
            return;
        }
        if (failed.retryable()) {
            entry.failed = clock.get();
            entry.pause = failed.retryAfter().compareTo(PAUSE) > 0 ? failed.retryAfter() : PAUSE;
        } else if (failed.code() != Status.Code.INVALID_ARGUMENT && failed.code() != Status.Code.CANCELLED) {
            entry.token = null; // neither was the request wrong, nor did nobody ask any more
        }
        if (entry.token == null && entry.flights.isEmpty()) {
            places.remove(entry.at, entry);
        }
    }

    /**
     * Returns the place's entry, a new one where there is none, and lets go of the one that was not
     * asked for the longest where there are too many. The lock is held.
     */
    private Kept entry(Place at) {
        Kept entry = places.get(at);
        if (entry != null) {
            return entry;
        }
        if (places.size() >= most) {
            Iterator<Kept> oldest = places.values().iterator();
            oldest.next();
            oldest.remove();
        }
        entry = new Kept(at);
        places.put(at, entry);
        return entry;
    }

    /**
     * Forgets the places of a profile. Their flights find their way to those who wait, and nobody
     * else.
     */
    void invalidate(String profile) {
        lock.lock();
        try {
            places.keySet().removeIf(at -> at.profile().equals(profile));
        } finally {
            lock.unlock();
        }
    }

    /**
     * Returns another token than one that its consumer has refused, or nothing where there is none. The
     * server makes a new one instead of the same only where its profile lets callers ask for a longer
     * life.
     */
    Optional<Token> renew(TokenRequest request, Token refused, Deadline own) {
        if (refused.oneTime()) {
            return Optional.empty();
        }
        lock.lock();
        try {
            // Otherwise another's renewal has come between, or is under way and is joined.
            places.computeIfPresent(request.place(), (at, entry) -> refused.same(entry.token) ? null : entry);
        } finally {
            lock.unlock();
        }
        TokenRequest longer = longer(request, refused);
        try {
            Token token;
            try {
                token = token(longer, own);
            } catch (JotsmithException e) {
                if (e.code() != Status.Code.INVALID_ARGUMENT || longer == request) {
                    throw e;
                }
                token = token(request, own); // the profile allows no such wish
            }
            return refused.same(token) ? Optional.empty() : Optional.of(token);
        } catch (JotsmithException e) {
            return Optional.empty();
        }
    }

    private TokenRequest longer(TokenRequest request, Token refused) {
        Reading now = clock.get();
        if (!refused.life().ends() || refused.life().asked().age(now).compareTo(YOUNGEST) < 0) {
            return request;
        }
        Duration wish = Duration.ofSeconds(refused.life().remaining(now).toSeconds()).plus(LONGER);
        Duration own = request.minRemaining();
        return own != null && own.compareTo(wish) >= 0 ? request : request.minRemaining(wish);
    }

    /** How many places there are. */
    int size() {
        lock.lock();
        try {
            return places.size();
        } finally {
            lock.unlock();
        }
    }

    /** Answers no more. What is under way ends as the server and the threads end. */
    void close() {
        lock.lock();
        try {
            closed = true;
        } finally {
            lock.unlock();
        }
    }
}
