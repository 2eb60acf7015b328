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
import java.time.Duration;
import java.util.Map;

/** Loads the classes that the runner needs, so that an archive of them can be written: runners start in half the time. */
public final class WarmUp {
    private WarmUp() {}

    /**
     * Makes one call over the network, as a server has done before it matters: the first one loads a thousand classes,
     * which takes longer than a deadline where many runners start at once. Leaves nothing.
     *
     * @throws Exception if it fails
     */
    static void call() throws Exception {
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
            PeerCall.make(source, target, "Echo", null, Duration.ofMinutes(1));
            try (Client client = Client.builder(target).build()) {
                client.call(
                        TokenServiceGrpc.getValidateMethod(), ValidateRequest.getDefaultInstance(), Duration.ofMinutes(1));
            } catch (JetonException unimplemented) {
                Told.failure(unimplemented);
            }
            server.shutdownNow().awaitTermination();
        }
        // gRPC keeps what channels share for a second, and Netty a thread for one more.
        for (int empty = 0; empty < 15; empty = Told.threads().isEmpty() ? empty + 1 : 0) {
            Thread.sleep(20);
        }
    }

    /**
     * Runs it.
     *
     * @param arguments none
     * @throws Exception if anything fails
     */
    public static void main(String[] arguments) throws Exception {
        JsonObject given = JsonParser.parseString("{\"audiences\": [\"a\"]}").getAsJsonObject();
        try (FakeJeton jeton = FakeJeton.start();
                TokenSource source = TokenSource.builder(jeton.client()).subject("s").audiences("a").build()) {
            GuardedServers servers = new GuardedServers(jeton.client(), given);
            String target = "http://" + servers.grpcAddress();
            Map<String, Object> told = PeerCall.make(source, target, "Echo", null, Duration.ofMinutes(1));
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
        call();
    }
}
