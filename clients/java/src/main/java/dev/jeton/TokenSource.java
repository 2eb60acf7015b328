package dev.jeton;

import dev.jeton.errors.ErrorDetails;
import dev.jeton.errors.JetonException;
import dev.jeton.errors.UnexpectedErrorException;
import dev.jeton.v1.TokenServiceGrpc;
import io.grpc.CallCredentials;
import io.grpc.ClientInterceptor;
import io.grpc.Status;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.locks.Condition;
import java.util.concurrent.locks.ReentrantLock;

/**
 * Holds one token for a subject and its audiences, and keeps it fresh in the background. Made without any call. Safe to
 * share between threads.
 *
 * <pre>{@code
 * TokenSource source = TokenSource.builder(client).subject("svc:orders").audiences("billing").build();
 * var billing = BillingGrpc.newBlockingStub(channel).withInterceptors(source.interceptor());
 * }</pre>
 */
public final class TokenSource implements AutoCloseable {
    /** How long {@link #get()} waits at most. */
    public static final Duration DEFAULT_DEADLINE = Duration.ofSeconds(10);

    private static final long LAST_WAIT = TimeUnit.SECONDS.toNanos(2);

    private final Client client;
    private final SourceOptions options;
    private final MonotonicClock clock;
    private final Renewal state;
    private final EventTeller events;
    private final ReentrantLock lock = new ReentrantLock();
    private final Condition changed = lock.newCondition();
    private final List<Waiter<?>> waiters = new ArrayList<>();
    private Thread thread;
    private Renewal.Attempt attempt;
    private UnaryCall<?, ?> call;
    private Object outcome;

    TokenSource(Client client, SourceOptions options, EventTeller events) {
        this.client = client;
        this.options = options;
        this.events = events;
        clock = client.clock();
        state = new Renewal(options, clock);
        clock.onChange(this::wake);
    }

    /**
     * Begins a token source.
     *
     * @param client makes its calls
     * @return the builder
     */
    public static TokenSourceBuilder builder(Client client) {
        return new TokenSourceBuilder(client);
    }

    /**
     * A token that is not dead. Returns the one in hand at once; waits only if there is none, or a dead one.
     *
     * @return the token
     * @throws JetonException if none came within 10 seconds, or none will
     */
    public Token get() {
        Token token = state.live();
        return token != null ? token : await(DEFAULT_DEADLINE);
    }

    /**
     * A token that is not dead.
     *
     * @param deadline how long to wait at most
     * @return the token
     * @throws JetonException if none came in time, or none will
     */
    public Token get(Duration deadline) {
        Token token = state.live();
        return token != null ? token : await(deadline);
    }

    /**
     * A token that is not dead, without blocking.
     *
     * @param deadline how long to wait at most
     * @return the token, or a {@link JetonException}. It completes on a thread of the source, which must not be blocked
     */
    public CompletableFuture<Token> getAsync(Duration deadline) {
        Token token = state.live();
        if (token != null) {
            return CompletableFuture.completedFuture(token);
        }
        return wait(new Waiter<>(Deadlines.nanos(deadline)) {
            @Override
            Token look() {
                return state.look(seen);
            }

            @Override
            Token late() {
                throw state.timedOut();
            }
        });
    }

    /** The token in hand, unless it is dead. */
    Token liveToken() {
        return state.live();
    }

    private Token await(Duration deadline) {
        CompletableFuture<Token> found = getAsync(deadline);
        try {
            return found.get(Deadlines.nanos(deadline), TimeUnit.NANOSECONDS);
        } catch (ExecutionException error) {
            throw error.getCause() instanceof JetonException known ? known.again() : unexpected(error.getCause());
        } catch (TimeoutException late) {
            lock.lock();
            try {
                throw state.timedOut();
            } finally {
                lock.unlock();
            }
        } catch (InterruptedException interrupted) {
            Thread.currentThread().interrupt();
            throw new UnexpectedErrorException(
                    ErrorDetails.of(Status.Code.CANCELLED, "The thread was interrupted while it waited for a token."));
        } finally {
            found.cancel(false);
        }
    }

    /**
     * Another token than one that a peer refused as expired or revoked. May renew, but so often only that a peer which
     * refuses everything makes no storm. The interceptor and the other helpers call it by themselves.
     *
     * @param refused the token that was refused
     * @param deadline how long to wait at most
     * @return another token; nothing if there is none to be had
     */
    public CompletableFuture<Optional<Token>> insteadOf(Token refused, Duration deadline) {
        lock.lock();
        try {
            if (state.isOver()) {
                return CompletableFuture.completedFuture(Optional.empty());
            }
            Token now = state.live();
            if (now != null && !now.isSame(refused)) {
                return CompletableFuture.completedFuture(Optional.of(now));
            }
            if (!state.isInFlight() && !state.refused()) {
                return CompletableFuture.completedFuture(Optional.empty());
            }
            changed.signalAll();
            return wait(new Waiter<>(Deadlines.nanos(deadline)) {
                @Override
                Optional<Token> look() {
                    return state.completed() > seen || state.isOver() ? late() : null;
                }

                @Override
                Optional<Token> late() {
                    Token other = state.isOver() ? null : state.live();
                    return Optional.ofNullable(other).filter(it -> !it.isSame(refused));
                }
            });
        } finally {
            lock.unlock();
        }
    }

    /**
     * For channels and stubs: sends the token with each call, and repeats a unary call once, with another token, if a
     * peer refused the token as expired or revoked.
     *
     * @return the interceptor
     */
    public ClientInterceptor interceptor() {
        return new TokenInterceptor(this);
    }

    /**
     * For stubs: sends the token with each call. Credentials cannot repeat a call; {@link #interceptor()} does.
     *
     * @return the credentials
     */
    public CallCredentials callCredentials() {
        return new TokenCredentials(this);
    }

    /**
     * Ends everything that the source began. Callers that wait get {@link dev.jeton.errors.ClosedException}. If the
     * refresh token is kept, and its successor is on the way, that is waited for, for up to 2 s: it would be lost.
     */
    @Override
    public void close() {
        Thread ending;
        lock.lock();
        try {
            state.close();
            ending = thread;
            changed.signalAll();
        } finally {
            lock.unlock();
        }
        settle();
        try {
            if (ending != null && ending != Thread.currentThread()) {
                ending.join();
            }
        } catch (InterruptedException interrupted) {
            Thread.currentThread().interrupt();
        }
        events.close();
    }

    /** The last act of the source's thread. */
    private void finish() {
        UnaryCall<?, ?> running;
        Object last;
        lock.lock();
        try {
            boolean keeps = options.keepsRefreshToken() && call != null;
            long left = keeps ? LAST_WAIT : 0;
            while (outcome == null && left > 0) {
                left = changed.awaitNanos(left);
            }
            last = outcome;
            running = call;
        } catch (InterruptedException interrupted) {
            return;
        } finally {
            lock.unlock();
        }
        if (last instanceof IssuedToken token) {
            state.keep(token);
        } else if (running != null) {
            running.cancel();
        }
    }

    @Override
    public String toString() {
        return "TokenSource[subject=" + options.subject() + ", audiences=" + options.audiences() + "]";
    }

    /** Somebody who waits. Looked at, under the lock, after each change. */
    private abstract class Waiter<T> {
        final CompletableFuture<T> future = new CompletableFuture<>();
        final long deadlineAt;
        long seen;

        Waiter(long nanos) {
            deadlineAt = System.nanoTime() + nanos;
        }

        /** What it waits for; null to wait on. */
        abstract T look();

        /** What it gets when its deadline has passed. */
        abstract T late();

        /** Returns what completes the future, outside of the lock; null to wait on. */
        Runnable settled() {
            if (future.isDone()) {
                return () -> {};
            }
            try {
                T found = look();
                if (found == null && System.nanoTime() - deadlineAt >= 0) {
                    found = late();
                }
                T result = found;
                return result == null ? null : () -> future.complete(result);
            } catch (JetonException error) {
                return () -> future.completeExceptionally(error);
            }
        }
    }

    private <T> CompletableFuture<T> wait(Waiter<T> waiter) {
        Runnable settled;
        lock.lock();
        try {
            waiter.seen = state.completed();
            settled = waiter.settled();
            if (settled == null) {
                waiters.add(waiter);
                if (thread == null) {
                    thread = new NamedThreads("jeton-renewal").newThread(this::run);
                    thread.start();
                }
                changed.signalAll();
            }
        } finally {
            lock.unlock();
        }
        if (settled != null) {
            settled.run();
        }
        return waiter.future;
    }

    private void wake() {
        lock.lock();
        try {
            changed.signalAll();
        } finally {
            lock.unlock();
        }
    }

    /** Tells those who wait what there is to tell. */
    private void settle() {
        List<Runnable> settled = new ArrayList<>();
        lock.lock();
        try {
            for (Iterator<Waiter<?>> all = waiters.iterator(); all.hasNext(); ) {
                Runnable told = all.next().settled();
                if (told != null) {
                    all.remove();
                    settled.add(told);
                }
            }
        } finally {
            lock.unlock();
        }
        settled.forEach(Runnable::run);
    }

    /** The thread of the source. It alone begins renewals, so there is one at a time. */
    private void run() {
        while (true) {
            Renewal.Attempt due;
            Object came;
            settle();
            lock.lock();
            try {
                if (state.isClosed()) {
                    break;
                }
                state.tick().ifPresent(events::tell);
                came = outcome;
                outcome = null;
                due = came == null ? state.begin() : null;
                if (came == null && due == null) {
                    pause();
                    continue;
                }
            } finally {
                lock.unlock();
            }
            if (came != null) {
                take(came);
            } else {
                start(due);
            }
        }
        finish();
    }

    private void pause() {
        long nanos = clock.toRealNanos(state.wakeIn());
        long now = System.nanoTime();
        for (Waiter<?> waiter : waiters) {
            nanos = Math.min(nanos, waiter.deadlineAt - now);
        }
        try {
            if (nanos == Long.MAX_VALUE) {
                changed.await();
            } else {
                changed.awaitNanos(nanos);
            }
        } catch (InterruptedException nobodys) {
            // Only close ends this thread.
            return;
        }
    }

    private void start(Renewal.Attempt due) {
        UnaryCall<?, ?> begun;
        CompletableFuture<IssuedToken> answer;
        // One round: the pauses are those of the source.
        if (due.session() == null) {
            var method = TokenServiceGrpc.getIssueMethod();
            var made = client.calls().begin(client.groupOf(method), method, options.issue(), due.timeoutNanos(), 1);
            begun = made;
            answer = made.future().thenApply(it -> IssuedToken.of(it.getToken()));
        } else {
            var method = TokenServiceGrpc.getRefreshMethod();
            var request = options.refresh(due.session());
            var made = client.calls().begin(client.groupOf(method), method, request, due.timeoutNanos(), 1);
            begun = made;
            answer = made.future().thenApply(it -> IssuedToken.of(it.getToken()));
        }
        lock.lock();
        try {
            attempt = due;
            call = begun;
        } finally {
            lock.unlock();
        }
        answer.whenComplete((token, error) -> {
            lock.lock();
            try {
                outcome = token != null ? token : error;
                changed.signalAll();
            } finally {
                lock.unlock();
            }
        });
    }

    private void take(Object came) {
        if (came instanceof IssuedToken token) {
            state.keep(token);
        }
        lock.lock();
        try {
            long sent = call.sentAt();
            call = null;
            if (came instanceof IssuedToken token) {
                events.tell(state.succeeded(token, sent));
            } else {
                Throwable cause = came instanceof CompletionException wrapped ? wrapped.getCause() : (Throwable) came;
                JetonException error = cause instanceof JetonException known ? known : unexpected(cause);
                state.failed(attempt, error).ifPresent(events::tell);
            }
        } finally {
            lock.unlock();
        }
    }

    private static JetonException unexpected(Throwable cause) {
        String told = "The renewal failed by " + cause.getClass().getSimpleName() + ".";
        return new UnexpectedErrorException(ErrorDetails.of(Status.Code.UNKNOWN, told));
    }
}
