package dev.jeton;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.jeton.errors.ClosedException;
import dev.jeton.errors.FieldRequiredException;
import dev.jeton.errors.JetonException;
import dev.jeton.errors.SessionRevokedException;
import dev.jeton.errors.UnreachableException;
import dev.jeton.testing.FakeJeton;
import dev.jeton.v1.ErrorReason;
import io.grpc.Status;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

class TokenSourceTest {
    private static final Duration LONG = Duration.ofMinutes(1);

    private final FakeJeton jeton = FakeJeton.start();

    @AfterEach
    void close() {
        jeton.close();
    }

    private TokenSourceBuilder builder() {
        return TokenSource.builder(jeton.client()).subject("svc:a").audiences("b").ttl(Duration.ofSeconds(100));
    }

    @Test
    void holdsOneTokenUntilItIsTimeToRenew() throws InterruptedException {
        BlockingQueue<TokenEvent> events = new LinkedBlockingQueue<>();
        try (TokenSource source = builder().onEvent(events::add).build()) {
            assertEquals(0, jeton.issued());
            Token first = source.get();
            assertEquals(first.jti(), next(events, TokenEvent.Kind.REFRESHED).jti());
            jeton.advance(Duration.ofSeconds(79));
            assertSame(first, source.get());
            assertEquals(1, jeton.issued());
            jeton.advance(Duration.ofSeconds(2));
            assertNotEquals(first.jti(), next(events, TokenEvent.Kind.REFRESHED).jti());
            assertNotEquals(first.jti(), source.get().jti());
        }
    }

    @Test
    void renewsATokenOfAFewSecondsBeforeItIsToldToExpire() throws InterruptedException {
        BlockingQueue<TokenEvent> events = new LinkedBlockingQueue<>();
        try (TokenSource source =
                builder().ttl(Duration.ofSeconds(5)).onEvent(events::add).build()) {
            Token first = source.get();
            assertEquals(first.jti(), next(events, TokenEvent.Kind.REFRESHED).jti());
            jeton.advance(Duration.ofMillis(2600));
            assertNotEquals(first.jti(), next(events, TokenEvent.Kind.REFRESHED).jti());
        }
    }

    @Test
    void showsAFailureOnlyWhenTheTokenIsDead() throws InterruptedException {
        BlockingQueue<TokenEvent> events = new LinkedBlockingQueue<>();
        try (TokenSource source = builder().onEvent(events::add).build()) {
            Token first = source.get();
            next(events, TokenEvent.Kind.REFRESHED);
            jeton.setAway(true);
            jeton.advance(Duration.ofSeconds(90));
            assertSame(first, source.get());
            TokenEvent warned = next(events, TokenEvent.Kind.WILL_EXPIRE);
            assertEquals(first.jti(), warned.jti());
            jeton.advance(Duration.ofSeconds(60));
            assertThrows(JetonException.class, () -> source.get(Duration.ofMillis(50)));
            jeton.setAway(false);
            jeton.advance(Duration.ofSeconds(31));
            assertNotEquals(first.jti(), source.get(LONG).jti());
        }
    }

    @Test
    void tellsTheErrorOfTheLatestAttempt() throws Exception {
        jeton.setAway(true);
        try (TokenSource source = builder().build()) {
            Waiting.until(() -> assertThrows(JetonException.class, () -> source.get(Duration.ofMillis(50)))
                    instanceof UnreachableException);
        }
    }

    @Test
    void failsAtOnceWhenNoRepetitionHelps() {
        try (TokenSource source = TokenSource.builder(jeton.client()).subject("svc:a").build()) {
            var error = assertThrows(FieldRequiredException.class, () -> source.get(LONG));
            assertEquals(Optional.of("audiences"), error.field());
            assertThrows(FieldRequiredException.class, () -> source.get(LONG));
        }
    }

    @Test
    void endsWithItsSession() throws InterruptedException {
        BlockingQueue<TokenEvent> events = new LinkedBlockingQueue<>();
        List<Secret> kept = new CopyOnWriteArrayList<>();
        try (TokenSource source = builder().refreshable().onRefreshToken(kept::add).onEvent(events::add).build()) {
            Token first = source.get();
            next(events, TokenEvent.Kind.REFRESHED);
            assertEquals(1, kept.size());
            jeton.revokeSession(first.sessionId());
            jeton.advance(Duration.ofSeconds(81));
            TokenEvent ended = next(events, TokenEvent.Kind.SESSION_ENDED);
            assertEquals("SessionRevoked", ended.error().orElseThrow().kind());
            assertThrows(SessionRevokedException.class, () -> source.get(LONG));
            assertEquals(Optional.empty(), source.insteadOf(first, LONG).join());
            assertEquals(1, jeton.issued());
        }
    }

    @Test
    void goesOnWithASessionOfSomebodyElse() {
        Secret theirs;
        try (TokenSource source = builder().refreshable().onRefreshToken(it -> {}).build()) {
            source.get();
        }
        List<Secret> kept = new CopyOnWriteArrayList<>();
        try (TokenSource source = builder().refreshable().onRefreshToken(kept::add).build()) {
            source.get();
            theirs = kept.get(0);
        }
        try (TokenSource source = TokenSource.builder(jeton.client()).refreshToken(theirs).build()) {
            assertFalse(source.get().sessionId().isEmpty());
        }
    }

    @Test
    void renewsForRefusalsSoOftenOnly() {
        try (TokenSource source = builder().build()) {
            Token token = source.get();
            for (int i = 0; i < 20; i++) {
                token = source.insteadOf(token, LONG).join().orElse(token);
            }
            assertEquals(6, jeton.issued());
        }
    }

    @Test
    void leavesNothingAfterClose() throws Exception {
        TokenSource source = builder().onEvent(event -> {}).build();
        source.get();
        source.close();
        assertThrows(ClosedException.class, source::get);
        assertThrows(ClosedException.class, () -> source.get(LONG));
        // A thread that has nothing more to do ends a moment later.
        Waiting.until(() -> Thread.getAllStackTraces().keySet().stream()
                .noneMatch(it -> it.getName().startsWith("jeton-renewal") || it.getName().startsWith("jeton-events")));
        source.close();
    }

    @Test
    void tellsThoseWhoWaitOfTheClose() {
        jeton.setAway(true);
        TokenSource source = builder().build();
        var waiting = source.getAsync(LONG);
        source.close();
        var error = assertThrows(java.util.concurrent.CompletionException.class, waiting::join);
        assertTrue(error.getCause() instanceof ClosedException);
    }

    @Test
    void passesOnTypedErrors() {
        jeton.refuseNext(
                Status.Code.INVALID_ARGUMENT,
                ErrorReason.ERROR_REASON_TTL_EXCEEDS_MAXIMUM,
                Map.of("maxTtlSeconds", "60", "requestedTtlSeconds", "many"));
        try (TokenSource source = builder().build()) {
            var error = assertThrows(dev.jeton.errors.TtlExceedsMaximumException.class, () -> source.get(LONG));
            assertEquals(Optional.of(Duration.ofSeconds(60)), error.maxTtl());
            assertEquals(Optional.empty(), error.requestedTtl());
            assertEquals("TtlExceedsMaximum", error.kind());
        }
    }

    @Test
    void printsNoSecret() {
        try (TokenSource source = builder().refreshable().build()) {
            Token token = source.get();
            String text = source + " " + token + " " + Optional.of(token) + " " + source.interceptor() + " "
                    + Secret.of("hidden") + " " + jeton.client();
            assertFalse(text.contains(token.reveal()));
            assertFalse(text.contains("hidden"));
        }
    }

    @Test
    void waitsNoLongerThanTheDeadline() {
        try (TokenSource source = builder().build()) {
            jeton.setAway(true);
            assertThrows(JetonException.class, () -> source.get(Duration.ZERO));
        }
    }

    private static TokenEvent next(BlockingQueue<TokenEvent> events, TokenEvent.Kind kind)
            throws InterruptedException {
        TokenEvent event = events.poll(60, TimeUnit.SECONDS);
        assertEquals(kind, event == null ? null : event.kind());
        return event;
    }
}
