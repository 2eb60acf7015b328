package dev.jeton;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.jeton.conformance.v1.EchoRequest;
import dev.jeton.conformance.v1.EchoResponse;
import dev.jeton.conformance.v1.EchoServiceGrpc;
import dev.jeton.errors.TtlExceedsMaximumException;
import dev.jeton.errors.UnreachableException;
import dev.jeton.http.TokenHttpClient;
import dev.jeton.testing.FakeJeton;
import dev.jeton.v1.ErrorReason;
import io.grpc.Channel;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.InsecureServerCredentials;
import io.grpc.ManagedChannel;
import io.grpc.Server;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.netty.shaded.io.grpc.netty.NettyServerBuilder;
import io.grpc.stub.StreamObserver;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.http.HttpClient;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;

/** The code of README.md runs here, as it stands there; ./check runs its first example on a server. */
class ReadmeTest {
    private static final Pattern CODE = Pattern.compile("```java\n(.*?)```", Pattern.DOTALL);

    /** A service of the reader. */
    private static final class BillingGrpc {
        static EchoServiceGrpc.EchoServiceBlockingStub newBlockingStub(Channel channel) {
            return EchoServiceGrpc.newBlockingStub(channel);
        }
    }

    /** Another one. */
    private static final class Orders extends EchoServiceGrpc.EchoServiceImplBase {
        @Override
        public void echo(EchoRequest request, StreamObserver<EchoResponse> out) {
            out.onNext(EchoResponse.newBuilder().setSubject(Verdict.current().subject()).build());
            out.onCompleted();
        }
    }

    /** Listens on this machine alone, and on any port that is free. */
    private static final class ServerBuilder {
        static io.grpc.ServerBuilder<?> forPort(int shown) {
            var address = new InetSocketAddress(InetAddress.getLoopbackAddress(), 0);
            return NettyServerBuilder.forAddress(address, InsecureServerCredentials.create());
        }
    }

    @Test
    void showsCodeThatRuns() throws IOException {
        String readme = Files.readString(Path.of("README.md"));
        String example = Files.readString(Path.of("examples/FirstToken.java"));
        String here = plain(Files.readString(Path.of("src/test/java/dev/jeton/ReadmeTest.java")));
        int seen = 0;
        for (var code = CODE.matcher(readme); code.find(); seen++) {
            String shown = code.group(1);
            assertTrue(shown.equals(example) || here.contains(plain(shown)), "nothing runs this of README.md: " + shown);
        }
        assertEquals(4, seen);
        var version = Pattern.compile("^  (<version>.*</version>)$", Pattern.MULTILINE)
                .matcher(Files.readString(Path.of("pom.xml")));
        assertTrue(version.find() && readme.contains(version.group(1)), "README.md names another version");
    }

    private static String plain(String code) {
        return code.replaceAll("\\s+", " ").strip();
    }

    @Test
    void guardsAndCallsAService() throws Exception {
        try (FakeJeton jeton = FakeJeton.start()) {
            Client client = jeton.client();
            Guard guard = Guard.builder(client).audiences("orders").build();
            Server server = ServerBuilder.forPort(8080).addService(new Orders()).intercept(guard).build().start();
            ManagedChannel channel = Grpc.newChannelBuilderForAddress(
                            "127.0.0.1", server.getPort(), InsecureChannelCredentials.create())
                    .build();
            try (TokenSource source = TokenSource.builder(client).subject("svc:a").audiences("orders").build()) {
                var billing = BillingGrpc.newBlockingStub(channel).withInterceptors(source.interceptor());
                var http = new TokenHttpClient(HttpClient.newHttpClient(), source); // of dev.jeton.http
                // Its deadline of 2 s may pass where a machine stalls.
                Waiting.until(() -> {
                    try {
                        return "svc:a".equals(billing.echo(EchoRequest.getDefaultInstance()).getSubject());
                    } catch (StatusRuntimeException late) {
                        assertEquals(Status.Code.UNAVAILABLE, late.getStatus().getCode());
                        return false;
                    }
                });
                assertTrue(http.toString().contains("TokenHttpClient"));
            } finally {
                channel.shutdownNow().awaitTermination(10, TimeUnit.SECONDS);
                server.shutdownNow().awaitTermination(10, TimeUnit.SECONDS);
                guard.close();
            }
        }
    }

    @Test
    void catchesErrorsByTheirClass() {
        try (FakeJeton jeton = FakeJeton.start();
                TokenSource source =
                        TokenSource.builder(jeton.client()).subject("svc:a").audiences("b").build()) {
            jeton.refuseNext(
                    Status.Code.INVALID_ARGUMENT,
                    ErrorReason.ERROR_REASON_TTL_EXCEEDS_MAXIMUM,
                    Map.of("maxTtlSeconds", "60"));
            try {
                source.get();
            } catch (TtlExceedsMaximumException error) {
                error.maxTtl(); // Optional<Duration>
            } catch (UnreachableException error) {
                error.endpoint();
            }
        }
    }
}
