package dev.jeton;

import dev.jeton.v1.StreamValidateRequest;
import dev.jeton.v1.StreamValidateResponse;
import dev.jeton.v1.TokenServiceGrpc;
import dev.jeton.v1.ValidateRequest;
import dev.jeton.v1.Verdict;
import io.grpc.CallOptions;
import io.grpc.Channel;
import io.grpc.ClientCall;
import io.grpc.Metadata;
import io.grpc.Status;
import java.util.Queue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;

/** One call of StreamValidate. Answers belong to requests by their order alone. */
final class VerdictStream extends ClientCall.Listener<StreamValidateResponse> {
    /** A call that waits. Its place is kept until the answer comes, though its deadline has passed. */
    static final class Place {
        final ValidateRequest request;
        final long deadlineAt;
        final CompletableFuture<Verdict> future = new CompletableFuture<>();

        Place(ValidateRequest request, long deadlineAt) {
            this.request = request;
            this.deadlineAt = deadlineAt;
        }
    }

    private final Pipeline pipeline;
    private final GuardThreads threads;
    private final long deadlineNanos;
    /** What is to be sent, and how much: whoever finds none sends, for all who come meanwhile. */
    private final Queue<Place> outgoing = new ConcurrentLinkedQueue<>();
    private final AtomicInteger pending = new AtomicInteger();
    /** What was sent, in that order. Answers are taken out while others send: neither waits for the other. */
    private final Queue<Place> places = new ConcurrentLinkedQueue<>();
    private final AtomicBoolean sweeps = new AtomicBoolean();
    private ClientCall<StreamValidateRequest, StreamValidateResponse> call;
    private volatile boolean ended;
    private volatile boolean hadAnswers;

    VerdictStream(Pipeline pipeline, GuardThreads threads, long deadlineNanos) {
        this.deadlineNanos = deadlineNanos;
        this.pipeline = pipeline;
        this.threads = threads;
    }

    void begin(Channel channel) {
        call = channel.newCall(TokenServiceGrpc.getStreamValidateMethod(), CallOptions.DEFAULT);
        call.start(this, new Metadata());
        // What comes is bounded by what waits.
        call.request(Integer.MAX_VALUE);
    }

    boolean hasEnded() {
        return ended;
    }

    /** Sends a request, or has it asked elsewhere if the stream has ended. */
    void ask(Place place) {
        outgoing.add(place);
        if (pending.getAndIncrement() == 0) {
            do {
                send(outgoing.remove());
            } while (pending.decrementAndGet() != 0);
        }
    }

    private void send(Place place) {
        places.add(place);
        try {
            call.sendMessage(StreamValidateRequest.newBuilder().setRequest(place.request).build());
        } catch (RuntimeException ending) {
            // It was cancelled, or cannot go on. Whoever waits is asked elsewhere at its end.
            call.cancel("a message cannot be sent", ending);
        }
        if (ended) {
            // Its end may have come before this place.
            leave();
            return;
        }
        if (!sweeps.get() && sweeps.compareAndSet(false, true)) {
            threads.laterByRealTime(this::sweep, place.deadlineAt - System.nanoTime());
        }
    }

    /**
     * Tells those whose deadline has passed, and ends the stream if the oldest has waited for twice as long. All have the
     * same deadline, so the first to come is the first to go.
     */
    private void sweep() {
        Place oldest = places.peek();
        if (oldest == null) {
            sweeps.set(false);
            // One may have come before that.
            oldest = places.peek();
            if (oldest == null || !sweeps.compareAndSet(false, true)) {
                return;
            }
        }
        long now = System.nanoTime();
        long next = oldest.deadlineAt + deadlineNanos - now;
        if (next <= 0) {
            call.cancel("no answer came", null);
            next = deadlineNanos;
        }
        for (Place place : places) {
            if (place.deadlineAt - now > 0) {
                next = Math.min(next, place.deadlineAt - now);
                break;
            }
            if (!place.future.isDone()) {
                place.future.completeExceptionally(new RefusedException(Refusal.noVerdict()));
            }
        }
        if (!ended) {
            threads.laterByRealTime(this::sweep, next);
        }
    }

    @Override
    public void onMessage(StreamValidateResponse answer) {
        if (!hadAnswers) {
            hadAnswers = true;
        }
        Place place = places.poll();
        if (place == null) {
            call.cancel("an answer to no request", null);
            return;
        }
        pipeline.answered();
        place.future.complete(answer.getVerdict());
    }

    @Override
    public void onClose(Status status, Metadata trailers) {
        ended = true;
        pipeline.broke(this, hadAnswers);
        leave();
    }

    /** All that wait are asked elsewhere. */
    private void leave() {
        for (Place place = places.poll(); place != null; place = places.poll()) {
            pipeline.elsewhere(place);
        }
    }

    void close() {
        call.cancel("the guard is closed", null);
    }
}
