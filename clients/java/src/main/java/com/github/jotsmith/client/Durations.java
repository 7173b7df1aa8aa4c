package com.github.jotsmith.client;

import java.time.DateTimeException;
import java.time.Duration;
import java.time.Instant;

/** Times of protobuf's as times of Java's, and back. */
final class Durations {
    /** The longest that protobuf has, ten thousand years. */
    private static final long MOST_SECONDS = 315_576_000_000L;

    private Durations() {}

    static Duration of(com.google.protobuf.Duration d) {
        long seconds = Math.max(-MOST_SECONDS, Math.min(d.getSeconds(), MOST_SECONDS));
        return Duration.ofSeconds(seconds, d.getNanos());
    }

    static com.google.protobuf.Duration of(Duration d) {
        // Both signs are the same in protobuf's; Java's nanoseconds are never negative.
        long seconds = d.getSeconds();
        int nanos = d.getNano();
        if (seconds < 0 && nanos > 0) {
            seconds++;
            nanos -= 1_000_000_000;
        }
        return com.google.protobuf.Duration.newBuilder().setSeconds(seconds).setNanos(nanos).build();
    }

    static Instant of(com.google.protobuf.Timestamp t) {
        try {
            return Instant.ofEpochSecond(t.getSeconds(), t.getNanos());
        } catch (DateTimeException | ArithmeticException outOfRange) {
            throw JotsmithException.internal("the server's answer holds a time that cannot be");
        }
    }
}
