package dev.jeton;

import io.grpc.Context;
import io.grpc.Contexts;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import io.grpc.ServerCall;
import io.grpc.ServerCallHandler;
import io.grpc.Status;
import java.util.Queue;
import java.util.concurrent.CompletionException;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.atomic.AtomicInteger;

/**
 * A call that waits for its verdict without blocking a thread. Its handler begins when the verdict has come; what comes
 * from the peer before that waits. Events reach the handler one after the other, whichever thread brings them.
 */
final class GuardedCall<Q, R> extends ServerCall.Listener<Q> {
    private static final System.Logger LOG = System.getLogger("dev.jeton");

    private final Guard guard;
    private final GuardThreads threads;
    private final String token;
    private final String thumbprint;
    private final ServerCall<Q, R> call;
    private final Metadata headers;
    private final ServerCallHandler<Q, R> next;
    private final Context context = Context.current();

    private final Queue<Runnable> events = new ConcurrentLinkedQueue<>();
    /** How many events are to be run, the beginning included: whoever finds none runs them. */
    private final AtomicInteger pending = new AtomicInteger(1);
    // Only within events.
    private ServerCall.Listener<Q> handler = new ServerCall.Listener<>() {};
    private LongCall<Q, R> watched;
    private boolean isOver;

    GuardedCall(
            Guard guard,
            GuardThreads threads,
            String token,
            String thumbprint,
            ServerCall<Q, R> call,
            Metadata headers,
            ServerCallHandler<Q, R> next) {
        this.guard = guard;
        this.threads = threads;
        this.token = token;
        this.thumbprint = thumbprint;
        this.call = call;
        this.headers = headers;
        this.next = next;
    }

    void begin() {
        // The stream of verdicts and its attempts must not end with this call.
        Context previous = Context.ROOT.attach();
        try {
            guard.judge(token, thumbprint)
                    .whenComplete((verdict, error) -> threads.execute(() -> {
                        judged(verdict, error);
                        drain();
                    }));
        } finally {
            Context.ROOT.detach(previous);
        }
    }

    private void judged(Verdict verdict, Throwable error) {
        if (verdict == null) {
            refuse(refusal(error));
        } else if (!call.isCancelled()) {
            guarded(() -> start(verdict));
        }
    }

    static Refusal refusal(Throwable error) {
        Throwable cause = error instanceof CompletionException ? error.getCause() : error;
        return cause instanceof RefusedException refused ? refused.refusal() : Refusal.noVerdict();
    }

    private void refuse(Refusal refusal) {
        isOver = true;
        call.close(refusal.status(), refusal.trailers());
    }

    private void start(Verdict verdict) {
        Context within = context.withValue(Verdict.CONTEXT_KEY, verdict);
        if (call.getMethodDescriptor().getType() == MethodDescriptor.MethodType.UNARY) {
            handler = Contexts.interceptCall(within, call, headers, next);
            return;
        }
        Context.CancellableContext cancellable = within.withCancellation();
        watched = new LongCall<>(call, threads, () -> guard.judge(token, thumbprint), cause -> {
            cancellable.cancel(cause);
            run(() -> {
                isOver = true;
                handler.onCancel();
            });
        });
        handler = Contexts.interceptCall(cancellable, watched, headers, next);
        watched.begin(verdict);
    }

    /** Runs a part of the handler. What it throws ends the call. */
    private void guarded(Runnable part) {
        try {
            part.run();
        } catch (RefusedException refused) {
            close(refused.refusal().status(), refused.refusal().trailers());
        } catch (RuntimeException failed) {
            LOG.log(System.Logger.Level.ERROR, "the handler of a call failed.", failed);
            close(Status.UNKNOWN.withDescription("Application error processing RPC").withCause(failed), new Metadata());
        }
    }

    private void close(Status status, Metadata trailers) {
        isOver = true;
        try {
            (watched == null ? call : watched).close(status, trailers);
        } catch (IllegalStateException closed) {
            // The handler had closed it before it failed.
            return;
        }
    }

    private void run(Runnable event) {
        events.add(event);
        if (pending.getAndIncrement() == 0) {
            do {
                guarded(events.remove());
            } while (pending.decrementAndGet() != 0);
        }
    }

    private void drain() {
        while (pending.decrementAndGet() != 0) {
            guarded(events.remove());
        }
    }

    @Override
    public void onMessage(Q message) {
        run(() -> {
            if (!isOver) {
                handler.onMessage(message);
            }
        });
    }

    @Override
    public void onHalfClose() {
        run(() -> {
            if (!isOver) {
                handler.onHalfClose();
            }
        });
    }

    @Override
    public void onReady() {
        run(() -> {
            if (!isOver) {
                handler.onReady();
            }
        });
    }

    @Override
    public void onCancel() {
        run(() -> end(handler::onCancel));
    }

    @Override
    public void onComplete() {
        run(() -> end(handler::onComplete));
    }

    private void end(Runnable told) {
        if (watched != null) {
            watched.forget();
        }
        if (!isOver) {
            isOver = true;
            told.run();
        }
    }
}
