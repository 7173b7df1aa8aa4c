package com.github.jotsmith.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.grpc.Deadline;
import io.grpc.Status;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.Callable;
import java.util.concurrent.CancellationException;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.atomic.AtomicBoolean;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(30)
class KeeperTest {
    private static final TokenRequest P = TokenRequest.of("p");
    private static final Duration REFRESH = Duration.ofSeconds(400);
    private static final Duration NANO = Duration.ofNanos(1);

    private final FakeServer server = new FakeServer();
    private final Keeper keeper = server.keeper();

    private void must(String want, TokenRequest request) {
        assertEquals(want, keeper.token(request, null).reveal());
    }

    private JotsmithException mustFail(String reason, TokenRequest request) {
        JotsmithException e = assertThrows(JotsmithException.class, () -> keeper.token(request, null));
        assertEquals(reason, e.reason());
        return e;
    }

    private static <T> List<Future<T>> together(int callers, Callable<T> call) {
        List<Future<T>> all = new ArrayList<>();
        for (int i = 0; i < callers; i++) {
            all.add(FakeServer.THREADS.submit(call));
        }
        return all;
    }

    private void untilAsked(int calls) throws InterruptedException {
        while (server.calls.get() < calls) {
            Thread.sleep(1);
        }
    }

    @Test
    void aTokenIsKeptUntilItsRefreshTimeWhateverTheClocksSay() {
        for (int skew : new int[] {0, 34, -34, 86_400, -86_400}) {
            FakeServer off = new FakeServer();
            off.skew = Duration.ofSeconds(skew);
            Keeper kept = off.keeper();
            Token first = kept.token(P, null);
            off.pass(REFRESH.minus(NANO));
            assertEquals("token-1", kept.token(P, null).reveal());
            assertEquals(Duration.ofSeconds(200).plus(NANO), first.life().remaining(off.now));
            assertTrue(first.life().fresh(off.now, null));
            off.pass(NANO);
            assertEquals("token-2", kept.token(P, null).reveal());
            assertFalse(first.life().fresh(off.now, null));
            off.pass(Duration.ofHours(1));
            assertEquals(Duration.ZERO, first.life().remaining(off.now));
        }
    }

    @Test
    void aLaptopThatSleptHasAnOldToken() {
        must("token-1", P);
        server.now = new Reading(server.now.nanos(), server.now.wall().plus(REFRESH));
        must("token-2", P);
    }

    @Test
    void anOldTokenServesWhileTheServerIsAwayAndNeverPastItsMargin() {
        must("token-1", P);
        server.fails = JotsmithException.from(
                FakeServer.status(Status.Code.UNAVAILABLE, "DRAINING", Duration.ofSeconds(5)));
        server.pass(REFRESH);
        must("token-1", P);
        int before = server.calls.get();
        server.pass(Duration.ofSeconds(5).minus(NANO));
        must("token-1", P);
        assertEquals(before, server.calls.get(), "the server was asked before it wanted to be");
        server.pass(NANO);
        must("token-1", P);
        assertEquals(before + 1, server.calls.get());
        server.pass(Duration.ofSeconds(95).minus(NANO));
        must("token-1", P);
        server.pass(NANO);
        JotsmithException e = mustFail("DRAINING", P);
        assertTrue(e.retryable());
        assertEquals(Duration.ofSeconds(5), e.retryAfter());
        server.fails = null;
        must("token-" + (server.calls.get() + 1), P);
    }

    @Test
    void aRefusedRenewalIsNotIgnored() {
        for (Status.Code code : List.of(
                Status.Code.PERMISSION_DENIED,
                Status.Code.FAILED_PRECONDITION,
                Status.Code.UNAUTHENTICATED,
                Status.Code.INTERNAL)) {
            TokenRequest request = TokenRequest.of(code.name());
            server.fails = null;
            keeper.token(request, null);
            server.fails = FakeServer.failure(code, "SAID_NO");
            server.pass(REFRESH);
            mustFail("SAID_NO", request);
            server.fails = FakeServer.failure(Status.Code.UNAVAILABLE, "AWAY");
            mustFail("AWAY", request); // the old one is gone
        }
    }

    @Test
    void aWrongRequestForgetsNothing() {
        must("token-1", P);
        server.fails = FakeServer.failure(Status.Code.INVALID_ARGUMENT, "INVALID_REQUEST");
        mustFail("INVALID_REQUEST", P.minRemaining(Duration.ofHours(1)));
        must("token-1", P);
    }

    @Test
    void aSilentServerDelaysAnOldTokenByASecondAtMost() {
        must("token-1", P);
        server.pass(REFRESH);
        server.holds = new CountDownLatch(1);
        long start = System.nanoTime();
        must("token-1", P);
        long took = TimeUnit.NANOSECONDS.toMillis(System.nanoTime() - start);
        assertTrue(took >= 990 && took < 5_000, took + " ms");
        start = System.nanoTime();
        assertEquals("token-1", keeper.token(P, Deadline.after(1, TimeUnit.SECONDS)).reveal());
        assertTrue(System.nanoTime() - start < TimeUnit.MILLISECONDS.toNanos(950));
        server.holds.countDown();
    }

    @Test
    void aHundredCallersAreOneRequest() throws Exception {
        server.holds = new CountDownLatch(1);
        TokenRequest request = P.claims(Map.of("b", 1, "a", "é"));
        List<Future<Token>> all = together(100, () -> keeper.token(request, null));
        untilAsked(1);
        server.holds.countDown();
        for (Future<Token> one : all) {
            assertEquals("token-1", one.get().reveal());
        }
        must("token-1", P.claims("{ \"a\":\"\\u00e9\", \"b\":1 }"));
        assertEquals(1, server.calls.get());
    }

    @Test
    void noTwoCallersGetATokenThatIsForOneUse() throws Exception {
        server.oneTime = true;
        server.holds = new CountDownLatch(1);
        List<Future<Token>> all = together(20, () -> keeper.token(P, null));
        untilAsked(1);
        server.holds.countDown();
        Set<String> seen = ConcurrentHashMap.newKeySet();
        for (Future<Token> one : all) {
            assertTrue(one.get().oneTime() && !one.get().fresh());
            assertTrue(seen.add(one.get().reveal()), "twice");
        }
        assertTrue(seen.add(keeper.token(P, null).reveal()));
        assertEquals(21, server.calls.get());
        server.oneTime = false; // another configuration
        must("token-22", P);
        must("token-22", P);
    }

    @Test
    void aTokenWithoutEndHasNoMargin() {
        server.endless = true;
        must("token-1", P);
        server.fails = FakeServer.failure(Status.Code.UNAVAILABLE, "AWAY");
        server.pass(REFRESH.minus(NANO));
        must("token-1", P);
        mustFail("AWAY", P.minRemaining(Duration.ofSeconds(1))); // nobody knows what it has left
        server.pass(NANO);
        mustFail("AWAY", P);
    }

    @Test
    void minRemainingIsKept() {
        TokenRequest longer = P.minRemaining(Duration.ofMinutes(9));
        must("token-1", P);
        must("token-1", longer);
        server.pass(Duration.ofMinutes(1).plus(NANO));
        must("token-2", longer);
        assertEquals(540, server.last.get().getMinRemaining().getSeconds());
        server.pass(Duration.ofMinutes(2));
        server.fails = FakeServer.failure(Status.Code.UNAVAILABLE, "AWAY");
        must("token-2", P);
        mustFail("AWAY", longer); // the old one has less
    }

    @Test
    void aCallerWhoGivesUpStopsNobodyElse() throws Exception {
        server.holds = new CountDownLatch(1);
        AtomicBoolean interrupted = new AtomicBoolean();
        Thread first = new Thread(() -> {
            JotsmithException e = assertThrows(JotsmithException.class, () -> keeper.token(P, null));
            interrupted.set(Thread.currentThread().isInterrupted() && e.getCause() instanceof CancellationException);
        });
        first.start();
        untilAsked(1);
        Future<Token> second = FakeServer.THREADS.submit(() -> keeper.token(P, null));
        first.interrupt();
        first.join();
        assertTrue(interrupted.get(), "the interrupt is lost, or the error is another");
        server.holds.countDown();
        assertEquals("token-1", second.get().reveal());
        assertEquals(1, server.calls.get());
    }

    @Test
    void aCallerWaitsNoLongerThanHisDeadline() {
        server.holds = new CountDownLatch(1);
        JotsmithException e = assertThrows(
                JotsmithException.class, () -> keeper.token(P, Deadline.after(100, TimeUnit.MILLISECONDS)));
        assertEquals("DEADLINE_EXCEEDED", e.reason());
        assertTrue(e.retryable());
        assertInstanceOf(TimeoutException.class, e.getCause());
        server.holds.countDown();
        must("token-1", P);
    }

    @Test
    void whatIsKeptIsBounded() {
        for (int i = 0; i < 100; i++) {
            must("token-" + (i + 1), P.claims(Map.of("n", i)));
        }
        assertEquals(8, keeper.size());
        must("token-93", P.claims("{\"n\":92}"));
        must("token-101", TokenRequest.of("q"));
        must("token-93", P.claims("{\"n\":92}")); // asked for since
        server.fails = FakeServer.failure(Status.Code.PERMISSION_DENIED, "NOT_GRANTED");
        for (int i = 0; i < 100; i++) {
            mustFail("NOT_GRANTED", TokenRequest.of("x" + i));
        }
        assertEquals(7, keeper.size());
    }

    @Test
    void invalidateForgetsWhatIsUnderWayToo() throws Exception {
        server.holds = new CountDownLatch(1);
        Future<Token> first = FakeServer.THREADS.submit(() -> keeper.token(P, null));
        untilAsked(1);
        keeper.invalidate("p");
        Future<Token> second = FakeServer.THREADS.submit(() -> keeper.token(P, null));
        untilAsked(2);
        server.holds.countDown();
        assertEquals("token-1", first.get().reveal());
        assertEquals("token-2", second.get().reveal());
        must("token-2", P);
        keeper.invalidate("other");
        must("token-2", P);
    }

    @Test
    void aRefusedTokenIsMadeAnewOnceItIsOldEnough() {
        Token first = keeper.token(P, null);
        Token other = keeper.renew(P, first, null).orElseThrow();
        assertEquals("token-2", other.reveal());
        assertFalse(server.last.get().hasMinRemaining());
        // A second caller who was refused the first token gets what is kept now.
        assertEquals("token-2", keeper.renew(P, first, null).orElseThrow().reveal());
        server.pass(Duration.ofMinutes(1));
        assertEquals("token-3", keeper.renew(P, other, null).orElseThrow().reveal());
        assertEquals(545, server.last.get().getMinRemaining().getSeconds());
        server.same = true;
        Token same = keeper.token(TokenRequest.of("q"), null);
        assertTrue(keeper.renew(TokenRequest.of("q"), same, null).isEmpty());
        server.oneTime = true;
        assertTrue(keeper.renew(P, keeper.token(TokenRequest.of("r"), null), null).isEmpty());
    }

    @Test
    void aProfileThatAllowsNoWishIsAskedPlainly() {
        Keeper strict = new Keeper(
                (request, deadline) -> {
                    if (request.hasMinRemaining()) {
                        throw FakeServer.failure(Status.Code.INVALID_ARGUMENT, "INVALID_REQUEST");
                    }
                    return server.ask(request, deadline);
                },
                Duration.ofSeconds(10),
                8,
                () -> server.now,
                FakeServer.THREADS);
        Token first = strict.token(P, null);
        server.pass(Duration.ofMinutes(1));
        assertEquals("token-2", strict.renew(P, first, null).orElseThrow().reveal());
    }

    @Test
    void aClosedKeeperAnswersNobody() {
        must("token-1", P);
        keeper.close();
        assertEquals(Status.Code.CANCELLED, mustFail("CANCELLED", P).code());
    }
}
