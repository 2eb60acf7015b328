package dev.jeton.testing;

import dev.jeton.Client;
import dev.jeton.v1.ErrorReason;
import io.grpc.ManagedChannel;
import io.grpc.Server;
import io.grpc.Status;
import io.grpc.inprocess.InProcessChannelBuilder;
import io.grpc.inprocess.InProcessServerBuilder;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.time.Duration;
import java.util.Map;
import java.util.UUID;
import java.util.concurrent.TimeUnit;

/**
 * A double of jeton for tests: issues, refreshes, judges and revokes in memory, without a network. Token sources and
 * guards that are made from its {@link #client()} work as with a server. Its tokens are good nowhere else.
 *
 * <pre>{@code
 * try (FakeJeton jeton = FakeJeton.start();
 *         TokenSource source = TokenSource.builder(jeton.client()).subject("svc:a").audiences("b").build()) {
 *     Token first = source.get();
 *     jeton.advance(Duration.ofMinutes(10));
 *     assertNotEquals(first.jti(), source.get().jti());
 * }
 * }</pre>
 */
public final class FakeJeton implements AutoCloseable {
    private final FakeClock clock = new FakeClock();
    private final FakeTokens tokens = new FakeTokens(clock);
    private final Server server;
    private final ManagedChannel channel;
    private final Client client;

    private FakeJeton() {
        String name = "fake-jeton-" + UUID.randomUUID();
        try {
            server = InProcessServerBuilder.forName(name)
                    .directExecutor()
                    .addService(new FakeTokenService(tokens))
                    .build()
                    .start();
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
        channel = InProcessChannelBuilder.forName(name).directExecutor().build();
        client = Client.builder("http://localhost").channel(channel).clock(clock).build();
    }

    /**
     * Makes a double.
     *
     * @return the double, which needs no port
     */
    public static FakeJeton start() {
        return new FakeJeton();
    }

    /**
     * A client of the double.
     *
     * @return the client, which ends with the double
     */
    public Client client() {
        return client;
    }

    /**
     * Sets the clock forward, for tokens, token sources and guards.
     *
     * @param duration by how much
     */
    public void advance(Duration duration) {
        clock.advance(duration.toNanos());
    }

    /**
     * Makes jeton answer nothing but UNAVAILABLE, or answer again.
     *
     * @param away whether it is away
     */
    public void setAway(boolean away) {
        tokens.setAway(away);
    }

    /**
     * Makes jeton refuse the next call, as a server would.
     *
     * @param code the code of gRPC
     * @param reason the reason
     * @param metadata what goes with it, as {@code sessionId}
     */
    public void refuseNext(Status.Code code, ErrorReason reason, Map<String, String> metadata) {
        tokens.refuseNext(code, reason, metadata);
    }

    /**
     * Revokes a token.
     *
     * @param jti its id
     */
    public void revoke(String jti) {
        tokens.revoke(jti);
    }

    /**
     * Revokes a session, with its tokens.
     *
     * @param sessionId its id
     */
    public void revokeSession(String sessionId) {
        tokens.revokeSession(sessionId);
    }

    /**
     * How many tokens have been given out.
     *
     * @return by Issue and Refresh together
     */
    public int issued() {
        return tokens.issued();
    }

    /** Ends the double and its client. */
    @Override
    public void close() {
        client.close();
        channel.shutdownNow();
        server.shutdownNow();
        try {
            channel.awaitTermination(2, TimeUnit.SECONDS);
            server.awaitTermination(2, TimeUnit.SECONDS);
        } catch (InterruptedException interrupted) {
            Thread.currentThread().interrupt();
        }
    }
}
