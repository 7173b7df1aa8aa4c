package com.github.jotsmith.client;

import com.github.jotsmith.v1.MintTokenResponse;
import com.github.jotsmith.v1.TokenServiceGrpc;
import com.github.jotsmith.v1.WatchTokenRequest;
import com.github.jotsmith.v1.WatchTokenResponse;
import io.grpc.ClientCall;
import io.grpc.Deadline;
import io.grpc.Status;
import io.grpc.stub.ClientCalls;
import io.grpc.stub.StreamObserver;
import java.time.Duration;
import java.util.Iterator;
import java.util.NoSuchElementException;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;

/**
 * A token at once, and each that replaces it. {@link #hasNext()} waits for the next. Where the server
 * stops or the connection ends, it goes on with another at once, and then with longer and longer
 * waits.
 *
 * <p>It ends without an error when it is closed, from any thread, or the thread that waits is
 * interrupted. It ends with one {@link JotsmithException} when the server refuses, when no first
 * token comes within the client's timeout, when the server stays away until the last token has passed
 * its margin, and when the client is closed.
 *
 * <p>One thread at a time may iterate; whoever opened it closes it.
 */
public final class Watch implements Iterator<Token>, AutoCloseable {
    /** How long a stream has been quiet, at least, where its end says nothing about how the server is. */
    private static final Duration LIVED = Duration.ofSeconds(10);

    private final Calls calls;
    private final WatchTokenRequest request;
    private final Consumer<Watch> ended;
    private final Waits waits = new Waits();
    private final CountDownLatch stopped = new CountDownLatch(1); // by the caller
    private final CountDownLatch woken = new CountDownLatch(1); // by the caller or the client's end

    private Deadline until; // when a token must have come
    private volatile Stream stream; // the open one, or null
    private Token last;
    private Token next;
    private boolean over;

    /** Begins with the first call of hasNext or next. Ended hears of the end. */
    Watch(Calls calls, TokenRequest request, Consumer<Watch> ended) {
        this.calls = calls;
        this.request = WatchTokenRequest.newBuilder().setRequest(request.message()).build();
        this.ended = ended;
        until = Calls.after(calls.timeout());
    }

    /**
     * What one stream brings.
     *
     * @param answer the token's, or null at the end
     * @param at when it came
     * @param end why the stream ended, or null where the server ended it with OK
     */
    private record Event(MintTokenResponse answer, Reading at, Throwable end) {}

    /** One stream of the server's. */
    private static final class Stream implements StreamObserver<WatchTokenResponse> {
        final BlockingQueue<Event> events = new LinkedBlockingQueue<>();
        final ClientCall<WatchTokenRequest, WatchTokenResponse> call;
        Reading asked = Reading.now(); // for the newest message
        boolean came; // a message

        Stream(Calls calls) {
            call = calls.channel().newCall(TokenServiceGrpc.getWatchTokenMethod(), calls.options());
        }

        @Override
        public void onNext(WatchTokenResponse response) {
            events.add(new Event(response.getToken(), Reading.now(), null));
        }

        @Override
        public void onError(Throwable failure) {
            events.add(new Event(null, Reading.now(), failure));
        }

        @Override
        public void onCompleted() {
            events.add(new Event(null, Reading.now(), null));
        }
    }

    /**
     * Waits for the next token.
     *
     * @return false when the watch has ended
     * @throws JotsmithException once, where it has ended with an error
     */
    @Override
    public boolean hasNext() {
        while (next == null && !over) {
            try {
                step();
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
                end();
            } catch (JotsmithException e) {
                boolean mine = stopped.getCount() > 0;
                end();
                if (mine) {
                    throw e;
                }
            }
        }
        return next != null;
    }

    /** Returns the next token, which differs from the one before. Throws what hasNext throws. */
    @Override
    public Token next() {
        if (!hasNext()) {
            throw new NoSuchElementException("the watch has ended");
        }
        Token token = next;
        next = null;
        return token;
    }

    /** Takes one event, or opens the next stream. */
    private void step() throws InterruptedException {
        if (woken.getCount() == 0) {
            throw JotsmithException.closed();
        }
        if (stream == null) {
            open();
        }
        Stream current = stream;
        Event event = current.came
                ? current.events.take() // the server says itself when an open stream has no more to bring
                : current.events.poll(until.timeRemaining(TimeUnit.NANOSECONDS), TimeUnit.NANOSECONDS);
        if (event == null) {
            throw JotsmithException.late();
        }
        if (woken.getCount() == 0) {
            throw JotsmithException.closed();
        }
        if (event.answer == null) {
            stream = null;
            goOn(current, event);
            return;
        }
        if (current.came) { // it came when it was made, and its life counts from about then
            current.asked = event.at;
        }
        current.came = true;
        Token token = Token.received(event.answer, current.asked);
        Duration margin = token.life().margin().minus(token.life().asked().age(Reading.now()));
        until = Calls.after(margin.compareTo(calls.timeout()) > 0 ? margin : calls.timeout());
        if (!token.same(last)) { // a new stream begins with the token that the old one ended with
            next = token;
        }
        last = token;
    }

    private void open() {
        Stream opened = new Stream(calls);
        ClientCalls.asyncServerStreamingCall(opened.call, request, opened);
        stream = opened;
        if (woken.getCount() == 0) { // before there was a stream to cut
            cut();
        }
    }

    /** Waits until the next stream may begin, or throws the error that ends the watch. */
    private void goOn(Stream ended, Event event) throws InterruptedException {
        if (ended.asked.age(event.at).compareTo(LIVED) >= 0) { // since the newest message, or the call
            waits.clear();
        }
        // A server ends a watch with a reason, and one without was cut short.
        JotsmithException failed = JotsmithException.from(event.end != null
                ? event.end
                : Status.UNAVAILABLE.withDescription("the server ended the watch").asRuntimeException());
        boolean unavailable = failed.code() == Status.Code.UNAVAILABLE;
        if (!unavailable && failed.code() != Status.Code.RESOURCE_EXHAUSTED) {
            throw failed;
        }
        // The server that stops, or that closes a connection because it is old, had served until
        // then: another one, or the same, is asked at once, but not over and over.
        boolean stops = failed.reason().isEmpty() || failed.reason().equals("DRAINING");
        if (ended.came && waits.none() && unavailable && stops) {
            waits.begin();
            return;
        }
        Duration wait = waits.next(failed);
        if (Duration.ofNanos(until.timeRemaining(TimeUnit.NANOSECONDS)).compareTo(wait) <= 0) {
            throw failed;
        }
        if (woken.await(wait.toNanos(), TimeUnit.NANOSECONDS)) {
            throw JotsmithException.closed();
        }
    }

    /** Ends the watch; it is no error to do so twice, or while another thread waits in hasNext. */
    @Override
    public void close() {
        stopped.countDown();
        wake();
    }

    /** Ends it because the client has ended, which is an error to whoever iterates. */
    void clientClosed() {
        wake();
    }

    private void wake() {
        woken.countDown();
        ended.accept(this);
        cut();
    }

    private void end() {
        over = true;
        woken.countDown();
        ended.accept(this);
        cut();
    }

    /** Ends the open stream; whoever waits for its next event gets one. */
    private void cut() {
        Stream open = stream;
        if (open != null) {
            open.call.cancel("the watch has ended", null);
        }
    }
}
