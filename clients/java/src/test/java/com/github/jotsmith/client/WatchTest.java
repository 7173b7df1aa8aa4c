package com.github.jotsmith.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.grpc.Status;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.NoSuchElementException;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(30)
class WatchTest {
    private static final Status DRAINING = Status.UNAVAILABLE.withDescription("draining");

    private Script script;
    private JotsmithClient client;

    @BeforeEach
    void start() throws Exception {
        script = Script.onLoopback();
        client = JotsmithClient.builder()
                .address(script.address())
                .plaintextLoopback()
                .timeout(Duration.ofSeconds(4))
                .connect(name -> null);
    }

    @AfterEach
    void stop() throws Exception {
        client.close();
        script.close();
    }

    private void play(List<String> tokens, Status end) {
        script.streams.add(new Script.Stream(tokens, end));
    }

    private static List<String> take(Watch watch, int n) {
        List<String> tokens = new ArrayList<>();
        while (tokens.size() < n) {
            tokens.add(watch.next().reveal());
        }
        return tokens;
    }

    @Test
    void aWatchFollowsAServerThatStops() {
        play(List.of("a", "b"), DRAINING);
        play(List.of("b"), DRAINING);
        play(List.of(), DRAINING);
        play(List.of("b", "c"), null);
        try (Watch watch = client.watch("p")) {
            assertEquals(List.of("a", "b", "c"), take(watch, 3));
        }
        assertEquals(4, script.began.size());
        long again = script.began.get(2) - script.began.get(1);
        assertTrue(again >= TimeUnit.MILLISECONDS.toNanos(100), "asked over and over after " + again + " ns");
    }

    @Test
    void aStreamThatIsCutShortGoesOn() {
        play(List.of("a"), Status.OK);
        play(List.of("b"), Status.RESOURCE_EXHAUSTED);
        play(List.of("c"), null);
        try (Watch watch = client.watch("p")) {
            assertEquals(List.of("a", "b", "c"), take(watch, 3));
        }
    }

    @Test
    void aRefusalEndsItWithOneError() {
        play(List.of("a"), Status.PERMISSION_DENIED.withDescription("no"));
        Watch watch = client.watch("p");
        assertTrue(watch.hasNext());
        assertTrue(watch.hasNext());
        assertEquals("a", watch.next().reveal());
        assertEquals(
                Status.Code.PERMISSION_DENIED, assertThrows(JotsmithException.class, watch::hasNext).code());
        assertFalse(watch.hasNext());
        assertThrows(NoSuchElementException.class, watch::next);
    }

    @Test
    void aSilentServerEndsItAfterTheTimeout() {
        play(List.of(), null);
        long start = System.nanoTime();
        Watch watch = client.watch("p");
        assertEquals("DEADLINE_EXCEEDED", assertThrows(JotsmithException.class, watch::next).reason());
        assertTrue(System.nanoTime() - start >= TimeUnit.MILLISECONDS.toNanos(3_900));
        assertFalse(watch.hasNext());
    }

    @Test
    void aCloseFromAnotherThreadEndsItWithoutAnError() throws Exception {
        play(List.of("a"), null);
        Watch watch = client.watch("p");
        CountDownLatch first = new CountDownLatch(1);
        Future<Boolean> more = FakeServer.THREADS.submit(() -> {
            watch.next();
            first.countDown();
            return watch.hasNext();
        });
        first.await();
        watch.close();
        assertFalse(more.get(5, TimeUnit.SECONDS));
        watch.close();
        Watch unused = client.watch("p");
        unused.close();
        assertFalse(unused.hasNext());
    }

    @Test
    void anInterruptEndsItWithoutAnError() {
        play(List.of("a"), null);
        Watch watch = client.watch("p");
        watch.next();
        Thread.currentThread().interrupt();
        assertFalse(watch.hasNext());
        assertTrue(Thread.interrupted(), "the interrupt is lost");
        assertFalse(watch.hasNext());
    }

    @Test
    void theClientsEndIsAnError() throws Exception {
        play(List.of("a"), null);
        Watch watch = client.watch("p");
        watch.next();
        Future<JotsmithException> end =
                FakeServer.THREADS.submit(() -> assertThrows(JotsmithException.class, watch::hasNext));
        client.close();
        assertEquals("CANCELLED", end.get(5, TimeUnit.SECONDS).reason());
    }
}
