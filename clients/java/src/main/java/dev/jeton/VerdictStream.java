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
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;
import java.util.concurrent.CompletableFuture;

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
    private final Deque<Place> places = new ArrayDeque<>();
    private ClientCall<StreamValidateRequest, StreamValidateResponse> call;
    private boolean ended;
    private boolean hadAnswers;
    private boolean sweeps;

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

    synchronized boolean hasEnded() {
        return ended;
    }

    /** Sends a request; returns false if the stream has ended. */
    boolean ask(Place place, StreamValidateRequest request) {
        boolean begins;
        synchronized (this) {
            if (ended) {
                return false;
            }
            places.add(place);
            call.sendMessage(request);
            begins = !sweeps;
            sweeps = true;
        }
        if (begins) {
            threads.laterByRealTime(this::sweep, place.deadlineAt - System.nanoTime());
        }
        return true;
    }

    /**
     * Tells those whose deadline has passed, and ends the stream if the oldest has waited for twice as long. All have the
     * same deadline, so the first to come is the first to go.
     */
    private void sweep() {
        List<Place> late = new ArrayList<>();
        boolean stalls;
        long next;
        synchronized (this) {
            long now = System.nanoTime();
            Place oldest = places.peek();
            if (oldest == null || ended) {
                sweeps = false;
                return;
            }
            next = oldest.deadlineAt + deadlineNanos - now;
            stalls = next <= 0;
            for (Place place : places) {
                if (place.deadlineAt - now > 0) {
                    next = Math.min(next, place.deadlineAt - now);
                    break;
                }
                if (!place.future.isDone()) {
                    late.add(place);
                }
            }
        }
        late.forEach(place -> place.future.completeExceptionally(new RefusedException(Refusal.noVerdict())));
        if (stalls) {
            call.cancel("no answer came", null);
        } else {
            threads.laterByRealTime(this::sweep, next);
        }
    }

    @Override
    public void onMessage(StreamValidateResponse answer) {
        Place place;
        synchronized (this) {
            hadAnswers = true;
            place = places.poll();
        }
        if (place == null) {
            call.cancel("an answer to no request", null);
            return;
        }
        pipeline.answered();
        place.future.complete(answer.getVerdict());
    }

    @Override
    public void onClose(Status status, Metadata trailers) {
        List<Place> left;
        boolean had;
        synchronized (this) {
            ended = true;
            had = hadAnswers;
            left = new ArrayList<>(places);
            places.clear();
        }
        pipeline.broke(this, had);
        left.forEach(pipeline::elsewhere);
    }

    void close() {
        call.cancel("the guard is closed", null);
    }
}
