package dev.jeton;

import io.grpc.ForwardingServerCall.SimpleForwardingServerCall;
import io.grpc.Metadata;
import io.grpc.ServerCall;
import io.grpc.Status;
import java.time.Duration;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;
import java.util.function.Supplier;

/**
 * A call that streams, which is judged again as long as it lasts. Handler and guard may both end it, so it takes one at a
 * time; after its end by the guard it takes nothing more from the handler.
 */
final class LongCall<Q, R> extends SimpleForwardingServerCall<Q, R> {
    private static final long SECOND = TimeUnit.SECONDS.toNanos(1);

    private final GuardThreads threads;
    private final Supplier<CompletableFuture<Verdict>> judge;
    private final Consumer<Throwable> onEnd;
    private boolean closed;
    private volatile boolean ended;

    // When it is judged again. Guarded by this.
    private long at;
    private boolean isAsking;
    private boolean missing;
    private long missedSince;
    private Future<?> planned;

    LongCall(
            ServerCall<Q, R> call,
            GuardThreads threads,
            Supplier<CompletableFuture<Verdict>> judge,
            Consumer<Throwable> onEnd) {
        super(call);
        this.threads = threads;
        this.judge = judge;
        this.onEnd = onEnd;
    }

    void begin(Verdict verdict) {
        plan(verdict);
        threads.watch(this);
    }

    private synchronized void plan(Verdict verdict) {
        missing = false;
        long in = threads.recheckNanos > 0 ? threads.recheckNanos : Long.MAX_VALUE;
        if (verdict.expireTime().isPresent() && verdict.serverTime().isPresent()) {
            Duration left = Duration.between(verdict.serverTime().get(), verdict.expireTime().get());
            // jeton may find it good for a moment longer.
            in = Math.min(in, Math.max(Deadlines.nanos(left), SECOND / 20));
        }
        if (in != Long.MAX_VALUE) {
            plan(in);
        }
    }

    private void plan(long in) {
        at = threads.clock.nanoTime() + in;
        isAsking = false;
        if (!closed) {
            planned = threads.later(this::look, in);
        }
    }

    /** Judges again, if it is time. */
    void look() {
        synchronized (this) {
            if (closed || isAsking || threads.clock.nanoTime() - at < 0) {
                return;
            }
            isAsking = true;
        }
        judge.get().whenComplete((verdict, error) -> {
            if (verdict != null) {
                plan(verdict);
                return;
            }
            Refusal refusal = GuardedCall.refusal(error);
            if (!refusal.isUndecided() || isLate()) {
                threads.execute(() -> end(refusal));
            }
        });
    }

    /** No verdict came: whether that has lasted too long. Else it is asked again soon. */
    private synchronized boolean isLate() {
        long now = threads.clock.nanoTime();
        if (!missing) {
            missing = true;
            missedSince = now;
        }
        if (now - missedSince >= threads.recheckNanos) {
            return true;
        }
        plan(Math.min(SECOND, threads.recheckNanos));
        return false;
    }

    /** Ends the call, if the handler has not. */
    void end(Refusal refusal) {
        synchronized (this) {
            if (closed) {
                return;
            }
            ended = true;
            closed = true;
            super.close(refusal.status(), refusal.trailers());
        }
        forget();
        onEnd.accept(new RefusedException(refusal));
    }

    /** The call is over. */
    void forget() {
        threads.unwatch(this);
        synchronized (this) {
            closed = true;
            if (planned != null) {
                planned.cancel(false);
            }
        }
    }

    @Override
    public synchronized void close(Status status, Metadata trailers) {
        if (!ended) {
            closed = true;
            super.close(status, trailers);
        }
    }

    @Override
    public synchronized void sendHeaders(Metadata headers) {
        if (!ended) {
            super.sendHeaders(headers);
        }
    }

    @Override
    public synchronized void sendMessage(R message) {
        if (!ended) {
            super.sendMessage(message);
        }
    }

    @Override
    public synchronized void request(int count) {
        if (!ended) {
            super.request(count);
        }
    }

    @Override
    public boolean isCancelled() {
        return ended || super.isCancelled();
    }

    @Override
    public boolean isReady() {
        return !ended && super.isReady();
    }
}
