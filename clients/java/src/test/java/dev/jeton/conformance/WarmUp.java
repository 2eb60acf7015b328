package dev.jeton.conformance;

import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import dev.jeton.Client;
import dev.jeton.Guard;
import dev.jeton.TokenSource;
import dev.jeton.errors.JetonException;
import dev.jeton.testing.FakeJeton;
import dev.jeton.v1.TokenServiceGrpc;
import dev.jeton.v1.ValidateRequest;
import io.grpc.InsecureServerCredentials;
import io.grpc.Server;
import io.grpc.netty.shaded.io.grpc.netty.NettyServerBuilder;
import java.net.HttpURLConnection;
import java.net.InetSocketAddress;
import java.net.URI;
import java.nio.channels.ServerSocketChannel;
import java.time.Duration;
import java.util.List;
import java.util.Map;

/** Loads the classes that the runner needs, so that an archive of them can be written: runners start in half the time. */
public final class WarmUp {
    private static final Duration PATIENCE = Duration.ofMinutes(1);

    private WarmUp() {}

    /**
     * Makes one call over the network, as a server has done before it matters: the first one loads a thousand classes,
     * which takes longer than a deadline where many runners start at once. What the library leaves at its first use is
     * not taken for the runner's own: then this fails.
     *
     * @throws Exception if it fails, or if a thread or socket is left
     */
    static void call() throws Exception {
        // Java makes a socket of its own with the first one, and keeps it.
        ServerSocketChannel.open().close();
        List<String> threads = Told.threads();
        long sockets = Told.sockets();
        make();
        // gRPC keeps what channels share for a second, and Netty a thread for one more.
        long begun = System.nanoTime();
        for (int same = 0; same < 15; same++) {
            Thread.sleep(20);
            if (threads.containsAll(Told.threads()) && Told.sockets() <= sockets) {
                continue;
            }
            same = 0;
            if (System.nanoTime() - begun > PATIENCE.toNanos()) {
                throw new IllegalStateException("the first call left " + Told.threads() + ", and " + Told.sockets()
                        + " sockets where there were " + sockets);
            }
        }
    }

    private static void make() throws Exception {
        try (FakeJeton jeton = FakeJeton.start();
                Guard guard = Guard.builder(jeton.client()).audiences("a").build();
                TokenSource source = TokenSource.builder(jeton.client()).subject("s").audiences("a").build()) {
            Server server = NettyServerBuilder.forAddress(
                            new InetSocketAddress("127.0.0.1", 0), InsecureServerCredentials.create())
                    .addService(new Echo())
                    .intercept(guard)
                    .build()
                    .start();
            String target = "http://127.0.0.1:" + server.getPort();
            PeerCall.make(source, target, "Echo", null, PATIENCE);
            try (Client client = Client.builder(target).build()) {
                client.call(
                        TokenServiceGrpc.getValidateMethod(), ValidateRequest.getDefaultInstance(), PATIENCE);
            } catch (JetonException unimplemented) {
                Told.failure(unimplemented);
            }
            server.shutdownNow().awaitTermination();
        }
    }

    /**
     * Runs it.
     *
     * @param arguments none
     * @throws Exception if anything fails
     */
    public static void main(String[] arguments) throws Exception {
        call();
        JsonObject given = JsonParser.parseString("{\"audiences\": [\"a\"]}").getAsJsonObject();
        try (FakeJeton jeton = FakeJeton.start();
                TokenSource source = TokenSource.builder(jeton.client()).subject("s").audiences("a").build()) {
            GuardedServers servers = new GuardedServers(jeton.client(), given);
            String target = "http://" + servers.grpcAddress();
            Map<String, Object> told = PeerCall.make(source, target, "Echo", null, PATIENCE);
            if (!"OK".equals(told.get("code"))) {
                throw new IllegalStateException("the warm-up failed: " + told);
            }
            HttpURLConnection http = (HttpURLConnection)
                    URI.create("http://" + servers.httpAddress() + "/echo").toURL().openConnection();
            http.setRequestProperty("authorization", source.get().authorization());
            if (http.getResponseCode() != 200) {
                throw new IllegalStateException("the warm-up failed: " + http.getResponseCode());
            }
            servers.close();
        }
    }
}
