package com.github.jotsmith.client;

import java.time.Duration;
import java.util.concurrent.ThreadLocalRandom;

/** How long to wait before the next try, longer from time to time. Not for several threads. */
final class Waits {
    static final Duration FIRST = Duration.ofMillis(100);
    static final Duration LAST = Duration.ofSeconds(2);

    private Duration last = Duration.ZERO;

    /**
     * How long to wait after an error: at least as long as the server asked for, and up to a fifth
     * longer, never the same as everybody else.
     */
    Duration next(JotsmithException error) {
        last = last.multipliedBy(2);
        last = last.compareTo(FIRST) < 0 ? FIRST : last.compareTo(LAST) > 0 ? LAST : last;
        Duration wait = last.compareTo(error.retryAfter()) >= 0 ? last : error.retryAfter();
        return wait.plusMillis(ThreadLocalRandom.current().nextLong(wait.toMillis() / 5 + 1));
    }

    /** Whether no wait has been taken since the beginning, or the last clear. */
    boolean none() {
        return last.isZero();
    }

    /** Makes the next wait the first one, though one try has been made without any. */
    void begin() {
        last = FIRST.dividedBy(2);
    }

    void clear() {
        last = Duration.ZERO;
    }
}
