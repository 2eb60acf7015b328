package dev.jeton;

import dev.jeton.errors.ErrorDetails;
import dev.jeton.errors.JetonException;
import dev.jeton.errors.UnexpectedErrorException;
import io.grpc.MethodDescriptor;
import io.grpc.Status;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.ScheduledThreadPoolExecutor;
import java.util.concurrent.TimeUnit;

/** What all calls of a client share: channels, and the thread that ends pauses. */
final class Calls {
    final Lanes lanes;
    final MonotonicClock clock;
    private final ScheduledThreadPoolExecutor timer;
    private final Set<UnaryCall<?, ?>> pausing = ConcurrentHashMap.newKeySet();

    Calls(Lanes lanes, MonotonicClock clock) {
        this.lanes = lanes;
        this.clock = clock;
        // Its thread is made at the first pause.
        timer = new ScheduledThreadPoolExecutor(1, new NamedThreads("jeton-client-timer"));
        timer.setRemoveOnCancelPolicy(true);
    }

    /** Begins a call; {@code rounds} is at most so many rounds, whatever the policy says. */
    <Q, R> UnaryCall<Q, R> begin(Group group, MethodDescriptor<Q, R> method, Q request, long timeoutNanos, int rounds) {
        UnaryCall<Q, R> call = new UnaryCall<>(this, group, method, request, timeoutNanos, rounds);
        call.begin();
        return call;
    }

    /** Makes a call, and waits for it. */
    <Q, R> R make(Group group, MethodDescriptor<Q, R> method, Q request, long timeoutNanos) {
        UnaryCall<Q, R> call = begin(group, method, request, timeoutNanos, Integer.MAX_VALUE);
        try {
            return call.future().get();
        } catch (ExecutionException error) {
            if (error.getCause() instanceof JetonException known) {
                throw known.again();
            }
            throw new IllegalStateException(error.getCause());
        } catch (InterruptedException interrupted) {
            call.cancel();
            Thread.currentThread().interrupt();
            throw new UnexpectedErrorException(
                    ErrorDetails.of(Status.Code.CANCELLED, "The thread was interrupted while it waited for the answer."));
        }
    }

    /** Null if the client is closed: then its channels end what would have been ended later. */
    Future<?> later(Runnable act, long nanos) {
        try {
            return timer.schedule(act, nanos, TimeUnit.NANOSECONDS);
        } catch (RejectedExecutionException closed) {
            return null;
        }
    }

    /** Ends a pause of {@code call}, unless the client is closed before. */
    void pause(UnaryCall<?, ?> call, long nanos) {
        pausing.add(call);
        Future<?> end = later(
                () -> {
                    if (pausing.remove(call)) {
                        call.beginRound();
                    }
                },
                nanos);
        // Closing ends those pauses alone that it still finds.
        if ((end == null || lanes.isClosed()) && pausing.remove(call)) {
            call.fail(Lanes.closed());
        }
    }

    void close() {
        lanes.close();
        timer.shutdownNow();
        for (UnaryCall<?, ?> call : pausing) {
            if (pausing.remove(call)) {
                call.fail(Lanes.closed());
            }
        }
        NamedThreads.await(timer);
    }
}
