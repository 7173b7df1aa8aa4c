package com.github.jotsmith.client;

import java.time.Duration;

/**
 * How long a token lasts, in durations of the server's since it was asked for, which was before the
 * server answered.
 *
 * @param asked when it was asked for
 * @param refresh after which it is to be replaced; null where it is not to be kept
 * @param expire after which it has ended; null where that is not known, or never
 */
record Lifetime(Reading asked, Duration refresh, Duration expire) {
    boolean refreshes() {
        return refresh != null;
    }

    boolean ends() {
        return expire != null;
    }

    /** Whether the token is the one to have, with atLeast of its life left. */
    boolean fresh(Reading now, Duration atLeast) {
        return refreshes() && asked.age(now).compareTo(refresh) < 0 && lasts(now, atLeast);
    }

    /**
     * How long a token may be used that the server should have replaced but cannot: to the middle
     * of the time between its refresh and its end, so that as a rule a sixth of its life is left.
     * Of a token without end nobody knows how long its consumer takes it, so it has none.
     */
    Duration margin() {
        if (!refreshes()) {
            return Duration.ZERO;
        }
        if (!ends() || expire.compareTo(refresh) <= 0) {
            return refresh;
        }
        return refresh.plus(expire.minus(refresh).dividedBy(2));
    }

    /** Whether the token may stand in while the server is away. */
    boolean usable(Reading now, Duration atLeast) {
        return refreshes() && asked.age(now).compareTo(margin()) < 0 && lasts(now, atLeast);
    }

    /** What is left until the end; zero for an expired token and for one without an end. */
    Duration remaining(Reading now) {
        if (!ends()) {
            return Duration.ZERO;
        }
        Duration left = expire.minus(asked.age(now));
        return left.isNegative() ? Duration.ZERO : left;
    }

    /** Whether atLeast of its life is left; null and zero ask for nothing. */
    private boolean lasts(Reading now, Duration atLeast) {
        return atLeast == null
                || atLeast.isZero()
                || atLeast.isNegative()
                || (ends() && expire.minus(asked.age(now)).compareTo(atLeast) >= 0);
    }
}
