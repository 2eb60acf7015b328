package dev.jeton;

/**
 * The clock by which tokens are renewed. It only goes forward, and has nothing to do with the time of day.
 * {@link dev.jeton.testing.FakeJeton} has one that a test sets.
 */
public interface MonotonicClock {
    /** The clock of the machine. */
    MonotonicClock SYSTEM = new MonotonicClock() {
        @Override
        public long nanoTime() {
            return System.nanoTime();
        }

        @Override
        public long toRealNanos(long nanos) {
            return nanos;
        }

        @Override
        public void onChange(Runnable wake) {
            // It changes by itself.
        }
    };

    /**
     * The time, as of {@link System#nanoTime()}.
     *
     * @return nanoseconds since some instant
     */
    long nanoTime();

    /**
     * How long a thread waits for so much of this clock's time to pass.
     *
     * @param nanos a duration of this clock
     * @return nanoseconds; {@link Long#MAX_VALUE} for a clock that tells its changes
     */
    long toRealNanos(long nanos);

    /**
     * Asks to be told when the clock was set.
     *
     * @param wake is run after each change
     */
    void onChange(Runnable wake);
}
