package dev.jeton;

import dev.jeton.errors.DeadlineExceededException;
import dev.jeton.errors.ErrorDetails;
import dev.jeton.errors.JetonException;
import dev.jeton.errors.UnexpectedErrorException;
import dev.jeton.errors.UnreachableException;
import io.grpc.CallOptions;
import io.grpc.ClientCall;
import io.grpc.ClientStreamTracer;
import io.grpc.Context;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import io.grpc.Status;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Future;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.TimeUnit;

/**
 * A call at one of several endpoints. Its steps follow each other; only {@link #cancel} comes from elsewhere.
 * clients/README.md says what is tried next, and when it stops.
 */
final class UnaryCall<Q, R> {
    private final Calls calls;
    private final Group group;
    private final MethodDescriptor<Q, R> method;
    private final Q request;
    private final MethodPolicy policy;
    private final int rounds;
    private final long deadlineAt;
    /** Deadline and cancellation of the caller go with each attempt, whichever thread makes it. */
    private final Context context = Context.current();

    private final CompletableFuture<R> future = new CompletableFuture<>();
    private volatile long sentAt;
    private int round;
    private int[] places;
    private int next;
    private JetonException error;
    private ClientCall<Q, R> attempt;
    private boolean cancelled;

    UnaryCall(
            Calls calls, Group group, MethodDescriptor<Q, R> method, Q request, long timeoutNanos, int roundsMax) {
        this.calls = calls;
        this.group = group;
        this.method = method;
        this.request = request;
        policy = MethodPolicy.of(method);
        rounds = Math.min(policy.rounds(), roundsMax);
        deadlineAt = System.nanoTime() + timeoutNanos;
    }

    /** When the attempt that succeeded was sent, by the clock of the client. */
    long sentAt() {
        return sentAt;
    }

    CompletableFuture<R> future() {
        return future;
    }

    void begin() {
        beginRound();
    }

    /** Ends the call; its outcome is nobody's any more. */
    void cancel() {
        ClientCall<Q, R> running;
        synchronized (this) {
            cancelled = true;
            running = attempt;
        }
        if (running != null) {
            running.cancel("nobody waits for the answer any more", null);
        }
        fail(new UnexpectedErrorException(ErrorDetails.of(Status.Code.CANCELLED, "The call was cancelled.")));
    }

    void beginRound() {
        places = group.round();
        next = 0;
        attempt();
    }

    private void attempt() {
        long left = deadlineAt - System.nanoTime();
        if (left <= 0) {
            fail(outOfTime());
            return;
        }
        int place = places[next];
        Endpoint endpoint = group.endpoints.get(place);
        int remaining = places.length - next;
        Lanes.Lane lane;
        try {
            lane = calls.lanes.take(endpoint);
        } catch (JetonException closed) {
            fail(closed);
            return;
        }
        Context previous = context.attach();
        try {
            new Attempt(place, endpoint, lane).start(left, left / remaining);
        } finally {
            context.detach(previous);
        }
    }

    /** One attempt at one endpoint. */
    private final class Attempt extends ClientCall.Listener<R> {
        private final int place;
        private final Endpoint endpoint;
        private final Lanes.Lane lane;
        private volatile boolean sent;
        private volatile boolean leaving;
        private Future<?> watchdog;
        private R answer;

        Attempt(int place, Endpoint endpoint, Lanes.Lane lane) {
            this.place = place;
            this.endpoint = endpoint;
            this.lane = lane;
        }

        void start(long left, long share) {
            // What may be repeated moves on after its share. What may not only does while nothing has been sent. Both do
            // when it takes too long to connect.
            CallOptions options = CallOptions.DEFAULT
                    .withDeadlineAfter(policy.repeats() ? share : left, TimeUnit.NANOSECONDS)
                    .withStreamTracerFactory(new ClientStreamTracer.Factory() {
                        @Override
                        public ClientStreamTracer newClientStreamTracer(
                                ClientStreamTracer.StreamInfo info, Metadata headers) {
                            return new ClientStreamTracer() {
                                @Override
                                public void outboundHeaders() {
                                    sentAt = calls.clock.nanoTime();
                                    sent = true;
                                }
                            };
                        }
                    });
            ClientCall<Q, R> call = lane.channel.newCall(method, options);
            boolean gone;
            synchronized (UnaryCall.this) {
                attempt = call;
                gone = cancelled;
            }
            long whole = policy.repeats() ? share : left;
            long patience = Math.min(share, Lanes.CONNECT_MAX);
            if (patience < whole && !lane.isReady()) {
                watchdog = calls.later(() -> leave(call), patience);
            }
            call.start(this, lane.headers());
            if (gone) {
                call.cancel("nobody waits for the answer any more", null);
                return;
            }
            try {
                call.request(2);
                call.sendMessage(request);
                call.halfClose();
            } catch (RuntimeException failed) {
                call.cancel("the request cannot be sent", failed);
            }
        }

        private void leave(ClientCall<Q, R> call) {
            if (!sent) {
                leaving = true;
                call.cancel("no connection", null);
            }
        }

        @Override
        public void onMessage(R message) {
            answer = message;
        }

        @Override
        public void onClose(Status status, Metadata trailers) {
            if (watchdog != null) {
                watchdog.cancel(false);
            }
            calls.lanes.done(lane);
            if (status.isOk() && answer != null) {
                group.answered(place);
                future.complete(answer);
            } else {
                failed(place, typed(status, trailers), sent);
            }
        }

        private JetonException typed(Status status, Metadata trailers) {
            if (calls.lanes.isClosed()) {
                return Lanes.closed();
            }
            String place = endpoint.toString();
            if (!sent && !context.isCancelled()) {
                String told = "No connection to " + place + " could be made in time. Check the address, and whether it"
                        + " speaks TLS.";
                if (leaving) {
                    return new UnreachableException(ErrorDetails.of(Status.Code.UNAVAILABLE, told).at(place));
                }
                if (status.getCode() == Status.Code.DEADLINE_EXCEEDED) {
                    return new DeadlineExceededException(ErrorDetails.of(status.getCode(), told).at(place));
                }
            }
            Status whole = status.isOk() ? Status.INTERNAL.withDescription("The answer is empty.") : status;
            return JetonException.from(whole, trailers, place);
        }
    }

    private void failed(int place, JetonException failure, boolean sent) {
        error = failure;
        Status.Code code = failure.code();
        if (code != Status.Code.UNAVAILABLE && code != Status.Code.DEADLINE_EXCEEDED) {
            group.answered(place);
            fail(failure);
            return;
        }
        if (!policy.repeats() && sent) {
            fail(failure);
            return;
        }
        next++;
        if (next < places.length) {
            attempt();
            return;
        }
        int done = round++;
        if (round >= rounds) {
            fail(failure);
            return;
        }
        long pause = ThreadLocalRandom.current().nextLong(policy.pauseNanos(done) + 1);
        if (failure.retryAfter().isPresent()) {
            pause = Math.max(pause, Deadlines.nanos(failure.retryAfter().get()));
        }
        if (deadlineAt - System.nanoTime() <= pause) {
            fail(outOfTime());
            return;
        }
        calls.pause(this, pause);
    }

    void fail(JetonException failure) {
        future.completeExceptionally(failure);
    }

    /** The deadline passed between two attempts: the latest error says most. */
    private JetonException outOfTime() {
        if (error != null) {
            return error;
        }
        String told = "The deadline passed before anything was sent.";
        return new DeadlineExceededException(ErrorDetails.of(Status.Code.DEADLINE_EXCEEDED, told));
    }
}
