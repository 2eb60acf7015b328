package dev.jeton;

import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.Executor;
import java.util.concurrent.Future;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.ScheduledThreadPoolExecutor;
import java.util.concurrent.SynchronousQueue;
import java.util.concurrent.ThreadPoolExecutor;
import java.util.concurrent.TimeUnit;

/** Where calls go on when their verdict has come, and what judges long streams again. */
final class GuardThreads {
    final MonotonicClock clock;
    final long recheckNanos;
    private final ScheduledThreadPoolExecutor timer;
    private final ThreadPoolExecutor own;
    private final Executor executor;
    private final Set<LongCall<?, ?>> watched = ConcurrentHashMap.newKeySet();
    private volatile boolean closed;

    /** {@code given} may be null. */
    GuardThreads(MonotonicClock clock, Executor given, long recheckNanos) {
        this.clock = clock;
        this.recheckNanos = recheckNanos;
        timer = new ScheduledThreadPoolExecutor(1, new NamedThreads("jeton-guard-timer"));
        timer.setRemoveOnCancelPolicy(true);
        own = given != null
                ? null
                : new ThreadPoolExecutor(
                        0, Integer.MAX_VALUE, 10, TimeUnit.SECONDS, new SynchronousQueue<>(),
                        new NamedThreads("jeton-guard"));
        executor = given != null ? given : own;
        clock.onChange(() -> watched.forEach(LongCall::look));
    }

    /** Runs {@code act} where it may block; here, if the guard is closed. */
    void execute(Runnable act) {
        try {
            executor.execute(act);
        } catch (RejectedExecutionException closing) {
            act.run();
        }
    }

    boolean isClosed() {
        return closed;
    }

    /** Null if the guard is closed, or its clock tells its changes. */
    Future<?> later(Runnable act, long nanos) {
        long real = clock.toRealNanos(nanos);
        try {
            return real == Long.MAX_VALUE ? null : timer.schedule(act, real, TimeUnit.NANOSECONDS);
        } catch (RejectedExecutionException closing) {
            return null;
        }
    }

    Future<?> laterByRealTime(Runnable act, long nanos) {
        try {
            return timer.schedule(act, nanos, TimeUnit.NANOSECONDS);
        } catch (RejectedExecutionException closing) {
            return null;
        }
    }

    void watch(LongCall<?, ?> call) {
        watched.add(call);
        if (closed) {
            call.end(Refusal.noVerdict());
        }
    }

    void unwatch(LongCall<?, ?> call) {
        watched.remove(call);
    }

    void close() {
        closed = true;
        timer.shutdownNow();
        watched.forEach(call -> call.end(Refusal.noVerdict()));
        if (own != null) {
            own.shutdown();
            if (!Thread.currentThread().getName().startsWith("jeton-guard")) {
                NamedThreads.await(own);
            }
            own.shutdownNow();
        }
        NamedThreads.await(timer);
    }
}
