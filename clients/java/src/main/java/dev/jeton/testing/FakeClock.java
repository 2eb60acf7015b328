package dev.jeton.testing;

import dev.jeton.MonotonicClock;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.atomic.AtomicLong;

/** A clock that stands still, but for {@link #advance}. */
final class FakeClock implements MonotonicClock {
    private final AtomicLong nanos = new AtomicLong();
    private final List<Runnable> wakes = new CopyOnWriteArrayList<>();

    @Override
    public long nanoTime() {
        return nanos.get();
    }

    @Override
    public long toRealNanos(long duration) {
        return duration <= 0 ? 0 : Long.MAX_VALUE;
    }

    @Override
    public void onChange(Runnable wake) {
        wakes.add(wake);
    }

    void advance(long duration) {
        nanos.addAndGet(duration);
        wakes.forEach(Runnable::run);
    }
}
