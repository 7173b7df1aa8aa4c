package com.github.jotsmith.client;

import com.github.jotsmith.v1.MintTokenRequest;
import com.github.jotsmith.v1.MintTokenResponse;
import com.github.jotsmith.v1.TokenServiceGrpc;
import io.grpc.CallCredentials;
import io.grpc.CallOptions;
import io.grpc.Channel;
import io.grpc.Deadline;
import io.grpc.MethodDescriptor;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.stub.ClientCalls;
import java.time.Duration;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;
import java.util.function.Supplier;

/**
 * Makes calls, again while they are UNAVAILABLE. Safe for concurrent use.
 *
 * <p>What is RESOURCE_EXHAUSTED is not tried again: each try would add to the load, or to the quota,
 * that is the trouble.
 */
final class Calls {
    private final Channel channel;
    private final CallOptions options;
    private final Duration timeout;
    private final CountDownLatch closing = new CountDownLatch(1);

    /** Makes calls over a channel, each within a timeout, with credentials or with null. */
    Calls(Channel channel, CallCredentials credentials, Duration timeout) {
        this.channel = channel;
        this.options = CallOptions.DEFAULT.withCallCredentials(credentials);
        this.timeout = timeout;
    }

    Channel channel() {
        return channel;
    }

    CallOptions options() {
        return options;
    }

    Duration timeout() {
        return timeout;
    }

    /** The deadline of a call that begins now and whose caller waits no longer than own; null is no limit. */
    Deadline deadline(Deadline own) {
        Deadline ours = after(timeout);
        return own == null ? ours : own.minimum(ours);
    }

    static Deadline after(Duration d) {
        long nanos;
        try {
            nanos = d.toNanos();
        } catch (ArithmeticException longerThanAnybodyWaits) {
            nanos = Long.MAX_VALUE / 4;
        }
        return Deadline.after(nanos, TimeUnit.NANOSECONDS);
    }

    MintTokenResponse mint(MintTokenRequest request, Deadline deadline) {
        return unary(TokenServiceGrpc.getMintTokenMethod(), request, deadline);
    }

    /**
     * Calls until the call succeeds, fails with anything but UNAVAILABLE, or would have to wait past
     * the deadline.
     */
    <Q, A> A unary(MethodDescriptor<Q, A> method, Q request, Deadline deadline) {
        return unary(method, request, deadline, asked -> {});
    }

    /** As the other, and says before each try when it is made. */
    <Q, A> A unary(MethodDescriptor<Q, A> method, Q request, Deadline deadline, Consumer<Reading> asked) {
        return retry(deadline, () -> {
            asked.accept(Reading.now());
            return ClientCalls.blockingUnaryCall(channel, method, options.withDeadline(deadline), request);
        });
    }

    <A> A retry(Deadline deadline, Supplier<A> once) {
        Waits waits = new Waits();
        JotsmithException before = null;
        while (true) {
            if (closed()) {
                throw JotsmithException.closed();
            }
            JotsmithException failed;
            try {
                return once.get();
            } catch (StatusRuntimeException | JotsmithException e) {
                failed = JotsmithException.from(e);
            }
            if (closed()) {
                throw JotsmithException.closed();
            }
            if (before != null && failed.code() == Status.Code.DEADLINE_EXCEEDED && failed.reason().isEmpty()) {
                throw before; // that the time ran out says less than why
            }
            if (failed.code() != Status.Code.UNAVAILABLE) {
                throw failed;
            }
            before = failed;
            Duration wait = waits.next(failed);
            if (Duration.ofNanos(deadline.timeRemaining(TimeUnit.NANOSECONDS)).compareTo(wait) <= 0) {
                throw failed;
            }
            try {
                if (closing.await(wait.toNanos(), TimeUnit.NANOSECONDS)) {
                    throw JotsmithException.closed();
                }
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
                throw JotsmithException.cancelled();
            }
        }
    }

    boolean closed() {
        return closing.getCount() == 0;
    }

    /** Ends the waits between tries. The channel is the caller's to close. */
    void close() {
        closing.countDown();
    }
}
