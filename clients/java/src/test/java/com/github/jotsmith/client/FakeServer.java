package com.github.jotsmith.client;

import com.github.jotsmith.v1.MintTokenRequest;
import com.github.jotsmith.v1.MintTokenResponse;
import com.google.protobuf.Any;
import com.google.protobuf.Timestamp;
import com.google.rpc.ErrorInfo;
import com.google.rpc.RetryInfo;
import io.grpc.Deadline;
import io.grpc.Status;
import java.time.Duration;
import java.time.Instant;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;

/** A server whose tokens live ten minutes, whose clock may be off, and whose time is the test's. */
final class FakeServer implements Keeper.Asking {
    final AtomicInteger calls = new AtomicInteger();
    final AtomicReference<MintTokenRequest> last = new AtomicReference<>();
    volatile Reading now = new Reading(0, Instant.ofEpochSecond(1_800_000_000));
    volatile Duration skew = Duration.ZERO;
    volatile JotsmithException fails;
    volatile boolean oneTime;
    volatile boolean endless;
    volatile boolean same; // the same token each time
    volatile CountDownLatch holds = new CountDownLatch(0); // what an answer waits for

    /** A keeper of its tokens that has eight places, and whose threads end with the tests. */
    Keeper keeper() {
        return new Keeper(this, Duration.ofSeconds(10), 8, () -> now, THREADS);
    }

    static final ExecutorService THREADS = Executors.newCachedThreadPool(task -> {
        Thread thread = new Thread(task);
        thread.setDaemon(true);
        return thread;
    });

    /** Lets time pass by both clocks. */
    void pass(Duration d) {
        now = new Reading(now.nanos() + d.toNanos(), now.wall().plus(d));
    }

    @Override
    public MintTokenResponse ask(MintTokenRequest request, Deadline deadline) {
        int n = calls.incrementAndGet();
        last.set(request);
        try {
            if (!holds.await(deadline.timeRemaining(TimeUnit.NANOSECONDS), TimeUnit.NANOSECONDS)) {
                throw JotsmithException.late();
            }
        } catch (InterruptedException e) {
            throw JotsmithException.cancelled();
        }
        if (fails != null) {
            throw fails;
        }
        Instant at = now.wall().plus(skew);
        MintTokenResponse.Builder answer = MintTokenResponse.newBuilder()
                .setToken("token-" + (same ? 1 : n))
                .setKid("kid")
                .setIssueTime(timestamp(at.minusSeconds(60)))
                .setAnswerTime(timestamp(at));
        if (!endless) {
            answer.setExpireTime(timestamp(at.plusSeconds(600)));
        }
        if (!oneTime) {
            answer.setRefreshTime(timestamp(at.plusSeconds(400)));
        }
        return answer.build();
    }

    static Timestamp timestamp(Instant at) {
        return Timestamp.newBuilder().setSeconds(at.getEpochSecond()).setNanos(at.getNano()).build();
    }

    /** What a server answers that says no. */
    static com.google.rpc.Status status(Status.Code code, String reason, Duration retryAfter) {
        var status = com.google.rpc.Status.newBuilder().setCode(code.value()).setMessage("told");
        status.addDetails(Any.pack(ErrorInfo.newBuilder().setReason(reason).setDomain("jotsmith").build()));
        if (!retryAfter.isZero()) {
            status.addDetails(
                    Any.pack(RetryInfo.newBuilder().setRetryDelay(Durations.of(retryAfter)).build()));
        }
        return status.build();
    }

    static JotsmithException failure(Status.Code code, String reason) {
        return JotsmithException.from(status(code, reason, Duration.ZERO));
    }
}
