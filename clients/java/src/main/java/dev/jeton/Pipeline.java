package dev.jeton;

import dev.jeton.errors.JetonException;
import dev.jeton.v1.ValidateRequest;
import dev.jeton.v1.Verdict;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;

/** The stream of verdicts that all calls of a guard share: one at a time, with a bound on what waits. */
final class Pipeline {
    private static final long FIRST_PAUSE = TimeUnit.MILLISECONDS.toNanos(100);
    private static final long LONGEST_PAUSE = TimeUnit.SECONDS.toNanos(5);

    private final Client client;
    private final GuardThreads threads;
    private final int maxWaiting;
    private final long deadlineNanos;

    private final AtomicInteger waiting = new AtomicInteger();
    private volatile VerdictStream stream;
    private volatile boolean closed;

    // Guarded by this.
    private int failures;
    private long notBefore = System.nanoTime();

    Pipeline(Client client, GuardThreads threads, int maxWaiting, long deadlineNanos) {
        this.deadlineNanos = deadlineNanos;
        this.client = client;
        this.threads = threads;
        this.maxWaiting = maxWaiting;
    }

    /** Asks for a verdict, by the stream if there is one, else by Validate. */
    CompletableFuture<Verdict> ask(ValidateRequest request) {
        if (closed) {
            return refused();
        }
        if (waiting.incrementAndGet() > maxWaiting) {
            answered();
            return refused();
        }
        VerdictStream.Place place = new VerdictStream.Place(request, System.nanoTime() + deadlineNanos);
        VerdictStream open = stream;
        if (open == null) {
            open = open();
        }
        if (open == null) {
            elsewhere(place);
        } else {
            open.ask(place);
        }
        return place.future;
    }

    private static CompletableFuture<Verdict> refused() {
        return CompletableFuture.failedFuture(new RefusedException(Refusal.noVerdict()));
    }

    private synchronized VerdictStream open() {
        if (stream == null && !closed && System.nanoTime() - notBefore >= 0) {
            VerdictStream made = new VerdictStream(this, threads, deadlineNanos);
            try {
                made.begin(new ClientChannel(client, failures));
                // It may have ended already.
                stream = made.hasEnded() ? null : made;
            } catch (JetonException noLane) {
                plan(false);
            }
        }
        return stream;
    }

    /** Asks by Validate, because there is no stream, or it ended before the answer. */
    void elsewhere(VerdictStream.Place place) {
        long left = place.deadlineAt - System.nanoTime();
        if (left <= 0 || place.future.isDone()) {
            answered();
            place.future.completeExceptionally(new RefusedException(Refusal.noVerdict()));
            return;
        }
        Guard.validate(client, place.request, left).whenComplete((verdict, error) -> {
            answered();
            if (verdict != null) {
                place.future.complete(verdict);
            } else {
                place.future.completeExceptionally(error);
            }
        });
    }

    /** A place is free. */
    void answered() {
        waiting.decrementAndGet();
    }

    /** A stream ended: the next one comes after a pause. */
    synchronized void broke(VerdictStream ended, boolean hadAnswers) {
        if (stream == ended) {
            stream = null;
        }
        plan(hadAnswers);
    }

    private void plan(boolean hadAnswers) {
        failures = hadAnswers ? 1 : failures + 1;
        long longest = Math.min(LONGEST_PAUSE, FIRST_PAUSE << Math.min(failures - 1, 20));
        notBefore = System.nanoTime() + ThreadLocalRandom.current().nextLong(longest + 1);
    }

    void close() {
        VerdictStream last;
        synchronized (this) {
            closed = true;
            last = stream;
        }
        if (last != null) {
            last.close();
        }
    }
}
