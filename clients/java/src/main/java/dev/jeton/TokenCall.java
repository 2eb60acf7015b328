package dev.jeton;

import io.grpc.Attributes;
import io.grpc.CallOptions;
import io.grpc.Channel;
import io.grpc.ClientCall;
import io.grpc.Context;
import io.grpc.Deadline;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import io.grpc.Status;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Executor;
import java.util.concurrent.ForkJoinPool;
import java.util.concurrent.TimeUnit;

/**
 * A call with a token. Waits for the token without blocking a thread. A unary call that is refused for its token is made
 * once more, with another one: its request is kept until then.
 */
final class TokenCall<Q, R> extends ClientCall<Q, R> {
    private final TokenSource source;
    private final MethodDescriptor<Q, R> method;
    private final CallOptions options;
    private final Channel next;
    private final boolean isUnary;
    private final Context context = Context.current();
    /** Where gRPC runs the listener; a blocking stub waits for work on its own. */
    private final Executor executor;

    // What the caller has done so far: done again on each call that is made. Guarded by this.
    private final List<Q> messages = new ArrayList<>();
    private int requested;
    private boolean halfClosed;
    private boolean isOver;
    private boolean compresses = true;
    private ClientCall<Q, R> made;

    private Listener<R> listener;
    private Metadata headers;

    TokenCall(TokenSource source, MethodDescriptor<Q, R> method, CallOptions options, Channel next) {
        this.source = source;
        this.method = method;
        this.options = options;
        this.next = next;
        executor = options.getExecutor() != null ? options.getExecutor() : ForkJoinPool.commonPool();
        isUnary = method.getType() == MethodDescriptor.MethodType.UNARY;
    }

    @Override
    public void start(Listener<R> responses, Metadata metadata) {
        listener = responses;
        headers = metadata;
        Token token = source.liveToken();
        if (token != null) {
            make(token, false);
            return;
        }
        source.getAsync(timeLeft())
                .whenCompleteAsync(
                        (found, error) -> {
                            if (found != null) {
                                context.run(() -> make(found, false));
                            } else {
                                end(Peers.withoutToken(error), new Metadata());
                            }
                        },
                        executor);
    }

    /** Until the deadline of the call; a call without one waits as long as a caller of the source. */
    private Duration timeLeft() {
        Deadline deadline = options.getDeadline();
        Deadline outer = context.getDeadline();
        if (outer != null && (deadline == null || outer.isBefore(deadline))) {
            deadline = outer;
        }
        return deadline == null
                ? TokenSource.DEFAULT_DEADLINE
                : Duration.ofNanos(Math.max(deadline.timeRemaining(TimeUnit.NANOSECONDS), 0));
    }

    private void make(Token token, boolean isLast) {
        ClientCall<Q, R> call;
        synchronized (this) {
            if (isOver) {
                return;
            }
            call = next.newCall(method, options);
            Metadata sent = new Metadata();
            sent.merge(headers);
            sent.discardAll(Lanes.AUTHORIZATION);
            sent.put(Lanes.AUTHORIZATION, token.authorization());
            call.start(new Responses(token, isLast), sent);
            call.setMessageCompression(compresses);
            if (requested > 0) {
                call.request(requested);
            }
            for (Q message : messages) {
                call.sendMessage(message);
            }
            if (halfClosed) {
                call.halfClose();
            }
            if (!isUnary) {
                messages.clear();
            }
            made = call;
        }
    }

    private void end(Status status, Metadata trailers) {
        synchronized (this) {
            if (isOver) {
                return;
            }
            isOver = true;
        }
        listener.onClose(status, trailers);
    }

    @Override
    public synchronized void request(int count) {
        requested += count;
        if (made != null) {
            made.request(count);
        }
    }

    @Override
    public synchronized void sendMessage(Q message) {
        if (made == null || isUnary) {
            messages.add(message);
        }
        if (made != null) {
            made.sendMessage(message);
        }
    }

    @Override
    public synchronized void halfClose() {
        halfClosed = true;
        if (made != null) {
            made.halfClose();
        }
    }

    @Override
    public void cancel(String message, Throwable cause) {
        ClientCall<Q, R> running;
        synchronized (this) {
            running = made;
        }
        if (running != null) {
            running.cancel(message, cause);
        } else {
            Status status = Status.CANCELLED.withDescription(message).withCause(cause);
            executor.execute(() -> end(status, new Metadata()));
        }
    }

    @Override
    public synchronized boolean isReady() {
        return made != null && made.isReady();
    }

    @Override
    public synchronized void setMessageCompression(boolean enabled) {
        compresses = enabled;
        if (made != null) {
            made.setMessageCompression(enabled);
        }
    }

    @Override
    public synchronized Attributes getAttributes() {
        return made == null ? Attributes.EMPTY : made.getAttributes();
    }

    /** Passes on what comes. Until a message has come, a refusal may still be repeated, so headers wait for it. */
    private final class Responses extends Listener<R> {
        private final Token token;
        private final boolean isLast;
        private Metadata held;
        private boolean passed;

        Responses(Token token, boolean isLast) {
            this.token = token;
            this.isLast = isLast;
        }

        @Override
        public void onHeaders(Metadata came) {
            if (isUnary && !isLast) {
                held = came;
            } else {
                listener.onHeaders(came);
            }
        }

        private void passHeaders() {
            passed = true;
            if (held != null) {
                listener.onHeaders(held);
                held = null;
            }
        }

        @Override
        public void onMessage(R message) {
            passHeaders();
            listener.onMessage(message);
        }

        @Override
        public void onReady() {
            listener.onReady();
        }

        @Override
        public void onClose(Status status, Metadata trailers) {
            if (isLast || passed || !Peers.anotherTokenMayHelp(status, trailers)) {
                pass(status, trailers);
                return;
            }
            if (!isUnary) {
                // A stream is not repeated; the next one gets another token.
                source.insteadOf(token, Duration.ZERO);
                pass(status, trailers);
                return;
            }
            synchronized (TokenCall.this) {
                made = null;
            }
            Duration left = timeLeft();
            source.insteadOf(token, left)
                    .whenCompleteAsync(
                            (other, error) -> {
                                if (other == null || other.isEmpty() || timeLeft().isZero()) {
                                    pass(status, trailers);
                                } else {
                                    context.run(() -> make(other.get(), true));
                                }
                            },
                            executor);
        }

        private void pass(Status status, Metadata trailers) {
            passHeaders();
            end(status, trailers);
        }
    }
}
