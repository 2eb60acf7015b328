package dev.jeton;

import java.time.Duration;

/** Durations as nanoseconds, bounded so that sums do not overflow. */
final class Deadlines {
    /** Some years: whoever waits longer waits for ever. */
    private static final Duration LONGEST = Duration.ofDays(3650);

    private Deadlines() {}

    static long nanos(Duration duration) {
        if (duration.isNegative()) {
            return 0;
        }
        return duration.compareTo(LONGEST) > 0 ? LONGEST.toNanos() : duration.toNanos();
    }
}
