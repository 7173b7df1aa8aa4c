package com.github.jotsmith.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.grpc.Deadline;
import io.grpc.Status;
import io.grpc.protobuf.StatusProto;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(30)
class CallsTest {
    private static final Duration TEN_THOUSAND_YEARS = Duration.ofDays(3_652_500);

    private final Calls calls = new Calls(null, null, Duration.ofSeconds(10));
    private final AtomicInteger tries = new AtomicInteger();

    private static RuntimeException says(Status.Code code, Duration retryAfter) {
        return StatusProto.toStatusRuntimeException(FakeServer.status(code, "SAID", retryAfter));
    }

    private static Deadline in(long millis) {
        return Deadline.after(millis, TimeUnit.MILLISECONDS);
    }

    @Test
    void waitsGrowAndAreNeverShorterThanTheServerSays() {
        Waits waits = new Waits();
        JotsmithException away = FakeServer.failure(Status.Code.UNAVAILABLE, "AWAY");
        assertTrue(waits.none());
        for (long want : new long[] {100, 200, 400, 800, 1600, 2000, 2000}) {
            long got = waits.next(away).toMillis();
            assertTrue(got >= want && got <= want * 6 / 5, want + ": " + got);
        }
        JotsmithException later = JotsmithException.from(
                FakeServer.status(Status.Code.UNAVAILABLE, "AWAY", Duration.ofSeconds(30)));
        long got = waits.next(later).toMillis();
        assertTrue(got >= 30_000 && got <= 36_000, "30 s: " + got);
        waits.clear();
        waits.begin();
        assertTrue(!waits.none() && waits.next(away).toMillis() <= 120);
    }

    @Test
    void unavailableIsTriedAgainWhenTheServerSays() {
        long start = System.nanoTime();
        String answer = calls.retry(in(10_000), () -> {
            if (tries.incrementAndGet() < 3) {
                throw says(Status.Code.UNAVAILABLE, Duration.ofMillis(300));
            }
            return "answer";
        });
        long took = TimeUnit.NANOSECONDS.toMillis(System.nanoTime() - start);
        assertEquals("answer", answer);
        assertEquals(3, tries.get());
        assertTrue(took >= 600 && took < 5_000, took + " ms");
    }

    @Test
    void nobodyWaitsForNothing() {
        long start = System.nanoTime();
        JotsmithException e = assertThrows(JotsmithException.class, () -> calls.retry(in(9_000), () -> {
            throw says(Status.Code.UNAVAILABLE, TEN_THOUSAND_YEARS);
        }));
        assertEquals("SAID", e.reason());
        assertEquals(TEN_THOUSAND_YEARS, e.retryAfter());
        assertTrue(System.nanoTime() - start < TimeUnit.SECONDS.toNanos(5));
    }

    @Test
    void whyTheServerWasAwaySaysMoreThanThatTheTimeRanOut() {
        JotsmithException e = assertThrows(JotsmithException.class, () -> calls.retry(in(5_000), () -> {
            if (tries.incrementAndGet() == 1) {
                throw says(Status.Code.UNAVAILABLE, Duration.ZERO);
            }
            throw Status.DEADLINE_EXCEEDED.asRuntimeException();
        }));
        assertEquals("SAID", e.reason());
        assertEquals(2, tries.get());
    }

    @Test
    void nothingElseIsTriedAgain() {
        for (Status.Code code : List.of(
                Status.Code.RESOURCE_EXHAUSTED,
                Status.Code.INTERNAL,
                Status.Code.PERMISSION_DENIED,
                Status.Code.DEADLINE_EXCEEDED,
                Status.Code.CANCELLED)) {
            tries.set(0);
            JotsmithException e = assertThrows(JotsmithException.class, () -> calls.retry(in(5_000), () -> {
                tries.incrementAndGet();
                throw says(code, Duration.ZERO);
            }));
            assertEquals(code, e.code());
            assertEquals(1, tries.get());
            boolean passes = code == Status.Code.RESOURCE_EXHAUSTED || code == Status.Code.DEADLINE_EXCEEDED;
            assertEquals(passes, e.retryable());
        }
    }

    @Test
    void whoIsInterruptedWhileHeWaitsGivesUp() {
        Thread.currentThread().interrupt();
        JotsmithException e = assertThrows(JotsmithException.class, () -> calls.retry(in(5_000), () -> {
            throw says(Status.Code.UNAVAILABLE, Duration.ofSeconds(1));
        }));
        assertTrue(Thread.interrupted());
        assertEquals("CANCELLED", e.reason());
    }

    @Test
    void aCloseEndsTheWaits() throws Exception {
        var waiting = FakeServer.THREADS.submit(() -> assertThrows(
                JotsmithException.class,
                () -> calls.retry(in(20_000), () -> {
                    tries.incrementAndGet();
                    throw says(Status.Code.UNAVAILABLE, Duration.ofSeconds(15));
                })));
        while (tries.get() == 0) {
            Thread.sleep(1);
        }
        calls.close();
        assertEquals("the client is closed", waiting.get(5, TimeUnit.SECONDS).text());
    }

    @Test
    void theShorterDeadlineCounts() {
        assertTrue(calls.deadline(null).timeRemaining(TimeUnit.SECONDS) >= 9);
        Deadline own = in(1_000);
        assertSame(own, calls.deadline(own));
        assertTrue(calls.deadline(Calls.after(Duration.ofDays(365_000_000))).timeRemaining(TimeUnit.SECONDS) <= 10);
    }
}
