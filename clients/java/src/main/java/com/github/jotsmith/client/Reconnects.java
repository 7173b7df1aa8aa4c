package com.github.jotsmith.client;

import io.grpc.ConnectivityState;
import io.grpc.ManagedChannel;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Executor;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.ReentrantLock;

/**
 * Lets a channel connect again sooner than gRPC would, whose waits begin at a second, end at two
 * minutes, and cannot be set: here they are from 100 ms to 5 s.
 */
final class Reconnects {
    private static final long FIRST_MILLIS = 100;
    private static final long LAST_MILLIS = 5_000;

    private final ManagedChannel channel;
    private final ReentrantLock lock = new ReentrantLock();
    private long wait = FIRST_MILLIS; // guarded by lock
    private boolean waiting; // guarded by lock

    Reconnects(ManagedChannel channel) {
        this.channel = channel;
    }

    /** Looks after the channel until it is shut down. */
    void begin() {
        changed();
    }

    private void changed() {
        ConnectivityState state = channel.getState(false);
        if (state == ConnectivityState.SHUTDOWN) {
            return;
        }
        lock.lock();
        try {
            if (state == ConnectivityState.READY) {
                wait = FIRST_MILLIS;
            } else if (state == ConnectivityState.TRANSIENT_FAILURE && !waiting) {
                later();
            }
        } finally {
            lock.unlock();
        }
        channel.notifyWhenStateChanged(state, this::changed);
    }

    /** lock is held. */
    private void later() {
        waiting = true;
        long jitter = ThreadLocalRandom.current().nextLong(wait / 5 + 1);
        // Run on the thread that keeps the time: all that it does is to hand over.
        Executor delayed = CompletableFuture.delayedExecutor(wait + jitter, TimeUnit.MILLISECONDS, Runnable::run);
        wait = Math.min(wait * 8 / 5, LAST_MILLIS);
        delayed.execute(this::again);
    }

    private void again() {
        lock.lock();
        try {
            waiting = false;
            // The state stays the same while a connection is tried, until one succeeds.
            if (channel.getState(false) == ConnectivityState.TRANSIENT_FAILURE) {
                channel.resetConnectBackoff();
                later();
            }
        } finally {
            lock.unlock();
        }
    }
}
