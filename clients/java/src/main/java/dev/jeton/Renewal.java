package dev.jeton;

import dev.jeton.errors.ClosedException;
import dev.jeton.errors.DeadlineExceededException;
import dev.jeton.errors.ErrorDetails;
import dev.jeton.errors.JetonException;
import io.grpc.Status;
import java.io.IOException;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.TimeUnit;

/**
 * When a token is renewed, and what callers get meanwhile: the state of a token source, without threads or calls. Its
 * owner holds a lock around each method but {@link #live} and {@link #keep}. Times are nanoseconds since it was made.
 */
final class Renewal {
    private static final System.Logger LOG = System.getLogger("dev.jeton");
    private static final long SECOND = TimeUnit.SECONDS.toNanos(1);
    private static final long ATTEMPT = 10 * SECOND;
    private static final long FIRST_PAUSE = TimeUnit.MILLISECONDS.toNanos(100);
    private static final long LONGEST_PAUSE = 30 * SECOND;
    private static final long HEALTHY_AFTER = 60 * SECOND;
    private static final long NEVER = Long.MAX_VALUE;
    /** Renewals that refusals by peers may cause: so many at once, and one more for each so many nanoseconds. */
    private static final int REFUSALS = 5;

    private static final double REFUSAL_EVERY = 10.0 * SECOND;

    /** Of Refresh: the session is over, and its tokens are dead. */
    private static final Set<String> REVOKED = Set.of("SESSION_REVOKED", "REFRESH_TOKEN_REUSED");
    /** Of Refresh: the session is over; its last token lives on. */
    private static final Set<String> EXPIRED = Set.of("REFRESH_TOKEN_EXPIRED", "REFRESH_TOKEN_INVALID");

    /** A token, and what is done when. */
    private record Held(Token token, long deadAt, long warnAt) {}

    /** A renewal to be made. {@code session} is the refresh token; null for Issue. */
    record Attempt(Secret session, long timeoutNanos) {
        @Override
        public String toString() {
            return session == null ? "Issue" : "Refresh";
        }
    }

    private final SourceOptions options;
    private final MonotonicClock clock;
    private final long origin;
    private volatile Held held;
    private long renewAt;
    private boolean warned;
    private long completed;
    private boolean inFlight;
    private boolean wanted;
    private volatile boolean closed;
    private JetonException ended;
    private JetonException error;
    private long failedAt;
    private int failures;
    private long notBefore;
    private double refusals = REFUSALS;
    private long refusalsAt;
    /** Written by {@link #keep} while no attempt can begin. */
    private volatile Secret session;

    Renewal(SourceOptions options, MonotonicClock clock) {
        this.options = options;
        this.clock = clock;
        origin = clock.nanoTime();
        session = options.refreshToken();
    }

    long now() {
        return clock.nanoTime() - origin;
    }

    /** The token in hand, unless it is dead: one volatile read, and a look at the clock. */
    Token live() {
        Held now = held;
        return now != null && now() < now.deadAt ? now.token : null;
    }

    long completed() {
        return completed;
    }

    boolean isInFlight() {
        return inFlight;
    }

    boolean isClosed() {
        return closed;
    }

    void close() {
        closed = true;
        held = null;
        session = null;
    }

    boolean isOver() {
        return ended != null || closed;
    }

    /**
     * For a caller that began to wait after {@code seen} attempts: a token, or null to wait on.
     *
     * @throws JetonException if nothing is to be waited for
     */
    Token look(long seen) {
        if (closed) {
            throw closedError();
        }
        Token token = live();
        if (token != null) {
            return token;
        }
        if (ended != null) {
            throw ended.again();
        }
        boolean pausing = !inFlight && now() < notBefore;
        if (error != null && error.isLasting() && (pausing || completed > seen)) {
            throw error.again();
        }
        wanted = true;
        return null;
    }

    /** The error of a caller whose deadline passed. */
    JetonException timedOut() {
        if (closed) {
            return closedError();
        }
        Held last = held;
        if (error != null && (last == null || failedAt >= last.deadAt)) {
            return error.again();
        }
        String told = "No token came from jeton before the deadline. The source goes on trying.";
        return new DeadlineExceededException(ErrorDetails.of(Status.Code.DEADLINE_EXCEEDED, told));
    }

    private static ClosedException closedError() {
        return new ClosedException(ErrorDetails.of(Status.Code.CANCELLED, "The token source is closed."));
    }

    /** A peer refused the token in hand: whether that causes a renewal. */
    boolean refused() {
        long now = now();
        refusals = Math.min(refusals + (now - refusalsAt) / REFUSAL_EVERY, REFUSALS);
        refusalsAt = now;
        if (isOver() || refusals < 1) {
            return false;
        }
        refusals -= 1;
        renewAt = now;
        wanted = true;
        return true;
    }

    private long dueAt() {
        if (isOver() || inFlight) {
            return NEVER;
        }
        if (held == null) {
            return wanted ? notBefore : NEVER;
        }
        return Math.max(renewAt, notBefore);
    }

    /** Nanoseconds until something is to be done. */
    long wakeIn() {
        long at = dueAt();
        Held now = held;
        if (now != null && !warned && ended == null) {
            at = Math.min(at, now.warnAt);
        }
        return at == NEVER ? NEVER : Math.max(at - now(), 0);
    }

    /** The event whose time has come, if any. */
    Optional<TokenEvent> tick() {
        Held last = held;
        if (last == null || warned || ended != null || now() < last.warnAt) {
            return Optional.empty();
        }
        warned = true;
        return Optional.of(event(TokenEvent.Kind.WILL_EXPIRE, last.token, error));
    }

    /** The attempt that is due; null if none is. {@link #succeeded} or {@link #failed} follows. */
    Attempt begin() {
        long now = now();
        if (now < dueAt()) {
            return null;
        }
        inFlight = true;
        Held last = held;
        long timeout = ATTEMPT;
        if (last != null && now < last.deadAt) {
            timeout = Math.max(Math.min(ATTEMPT, last.deadAt - now), SECOND);
        }
        return new Attempt(session, timeout);
    }

    /** Keeps the successor, before anybody sees the token. Called without the lock: it may write a file. */
    void keep(IssuedToken token) {
        if (token.refreshToken().isEmpty()) {
            return;
        }
        Secret successor = token.refreshToken().get();
        session = successor;
        try {
            if (options.refreshTokenFile() != null) {
                options.refreshTokenFile().write(successor);
            }
            if (options.onRefreshToken() != null) {
                options.onRefreshToken().accept(successor);
            }
        } catch (IOException | RuntimeException failed) {
            // The token in memory is good, whatever the keeper throws. Its message may hold anything.
            LOG.log(
                    System.Logger.Level.WARNING,
                    "the refresh token could not be kept: {0}. A restart will not find it.",
                    failed.getClass().getSimpleName());
        }
    }

    /** Swaps in a token whose request was sent at {@code sent}, as the clock told it. */
    TokenEvent succeeded(IssuedToken token, long sent) {
        long sentAt = sent - origin;
        inFlight = false;
        completed++;
        error = null;
        wanted = false;
        long lifetime = Duration.between(token.issueTime(), token.expireTime()).toNanos();
        long renewIn = token.refreshTime()
                .map(at -> Duration.between(token.issueTime(), at).toNanos())
                .orElse(0L);
        if (renewIn <= 0 || renewIn >= lifetime) {
            renewIn = lifetime / 5 * 4;
        }
        long margin = Math.min(SECOND, lifetime / 4);
        long deadAt = sentAt + lifetime - margin;
        long warnAt = deadAt - lifetime / 10;
        // A short-lived token would be dead, or near to it, before the server's time for it.
        renewAt = Math.min(sentAt + renewIn, warnAt - margin);
        warned = false;
        if (!closed) {
            Token made = new Token(token.accessToken(), token.jti(), token.sessionId());
            held = new Held(made, deadAt, warnAt);
        }
        return new TokenEvent(TokenEvent.Kind.REFRESHED, token.jti(), token.sessionId(), Optional.empty());
    }

    /** Plans the next attempt, or ends. */
    Optional<TokenEvent> failed(Attempt attempt, JetonException failure) {
        inFlight = false;
        completed++;
        error = failure;
        if (attempt.session() != null
                && (REVOKED.contains(failure.reason()) || EXPIRED.contains(failure.reason()))) {
            return Optional.of(end(failure));
        }
        long now = now();
        if (failures > 0 && now - failedAt > HEALTHY_AFTER) {
            failures = 0;
        }
        failures++;
        failedAt = now;
        long longest = Math.min(LONGEST_PAUSE, FIRST_PAUSE << Math.min(failures - 1, 20));
        long pause = ThreadLocalRandom.current().nextLong(longest + 1);
        if (failure.retryAfter().isPresent()) {
            pause += Deadlines.nanos(failure.retryAfter().get());
        }
        notBefore = now + pause;
        return Optional.empty();
    }

    private TokenEvent end(JetonException failure) {
        ended = failure;
        Held last = held;
        if (REVOKED.contains(failure.reason())) {
            held = null;
        }
        session = null;
        if (options.refreshTokenFile() != null) {
            try {
                options.refreshTokenFile().remove();
            } catch (IOException left) {
                LOG.log(System.Logger.Level.WARNING, "the file of an ended session could not be removed.");
            }
        }
        if (last == null) {
            String id = failure.metadata().getOrDefault("sessionId", "");
            return new TokenEvent(TokenEvent.Kind.SESSION_ENDED, "", id, Optional.of(failure));
        }
        return event(TokenEvent.Kind.SESSION_ENDED, last.token, failure);
    }

    private static TokenEvent event(TokenEvent.Kind kind, Token token, JetonException error) {
        return new TokenEvent(kind, token.jti(), token.sessionId(), Optional.ofNullable(error));
    }
}
