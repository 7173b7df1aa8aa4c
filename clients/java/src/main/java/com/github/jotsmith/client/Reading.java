package com.github.jotsmith.client;

import java.time.Duration;
import java.time.Instant;

/**
 * A moment by both clocks of this machine.
 *
 * @param nanos the monotonic clock's
 * @param wall the wall clock's
 */
record Reading(long nanos, Instant wall) {
    static Reading now() {
        return new Reading(System.nanoTime(), Instant.now());
    }

    /**
     * How long before now this was. The monotonic clock cannot be set, and stands still while a
     * laptop sleeps; the other runs on, and can be set. The longer of the two is never too short,
     * unless a clock is set back in its sleep.
     */
    Duration age(Reading now) {
        Duration steady = Duration.ofNanos(now.nanos - nanos);
        Duration shown = Duration.between(wall, now.wall);
        return steady.compareTo(shown) >= 0 ? steady : shown;
    }
}
