package dev.jeton;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.jeton.conformance.v1.EchoRequest;
import dev.jeton.conformance.v1.EchoResponse;
import dev.jeton.conformance.v1.EchoServiceGrpc;
import dev.jeton.conformance.v1.WatchRequest;
import dev.jeton.conformance.v1.WatchResponse;
import dev.jeton.testing.FakeJeton;
import dev.jeton.v1.ErrorReason;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.Server;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.inprocess.InProcessChannelBuilder;
import io.grpc.inprocess.InProcessServerBuilder;
import io.grpc.stub.ServerCallStreamObserver;
import io.grpc.stub.MetadataUtils;
import io.grpc.stub.StreamObserver;
import java.io.IOException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

class GuardTest {
    private final FakeJeton jeton = FakeJeton.start();
    private final TokenSource source = TokenSource.builder(jeton.client())
            .subject("svc:caller")
            .audiences("orders")
            .scopes("read")
            .claims(Map.of("tenant", "north"))
            .build();
    private final CountDownLatch watchEnded = new CountDownLatch(1);
    private Guard guard;
    private Server server;
    private ManagedChannel channel;

    /** What a user's handlers look like. */
    private final class Handlers extends EchoServiceGrpc.EchoServiceImplBase {
        @Override
        public void echo(EchoRequest request, StreamObserver<EchoResponse> out) {
            Verdict verdict = Verdict.current();
            if (!request.getText().isEmpty()) {
                verdict.require(request.getText());
            }
            out.onNext(EchoResponse.newBuilder()
                    .setSubject(verdict.subject())
                    .setText(String.valueOf(verdict.claims().get("tenant")))
                    .build());
            out.onCompleted();
        }

        @Override
        public void watch(WatchRequest request, StreamObserver<WatchResponse> out) {
            ((ServerCallStreamObserver<WatchResponse>) out).setOnCancelHandler(watchEnded::countDown);
            out.onNext(WatchResponse.newBuilder().setNumber(1).build());
        }
    }

    private void start(GuardBuilder builder) {
        guard = builder.build();
        String name = "guard-test-" + UUID.randomUUID();
        try {
            server = InProcessServerBuilder.forName(name)
                    .addService(new Handlers())
                    .intercept(guard)
                    .build()
                    .start();
        } catch (IOException error) {
            throw new IllegalStateException(error);
        }
        channel = InProcessChannelBuilder.forName(name).build();
    }

    private GuardBuilder orders() {
        return Guard.builder(jeton.client()).audiences("orders").deadline(Duration.ofMinutes(1));
    }

    @AfterEach
    void close() throws InterruptedException {
        source.close();
        if (server != null) {
            channel.shutdownNow().awaitTermination(10, TimeUnit.SECONDS);
            server.shutdownNow().awaitTermination(10, TimeUnit.SECONDS);
            guard.close();
        }
        jeton.close();
    }

    private EchoServiceGrpc.EchoServiceBlockingStub stub() {
        return EchoServiceGrpc.newBlockingStub(channel).withInterceptors(source.interceptor());
    }

    private static String refused(Runnable call) {
        var error = assertThrows(StatusRuntimeException.class, call::run);
        String told = (String) dev.jeton.conformance.Told.ended(error).get("reason");
        return error.getStatus().getCode() + " " + told;
    }

    private EchoResponse with(String... values) {
        Metadata headers = new Metadata();
        for (String value : values) {
            headers.put(Lanes.AUTHORIZATION, value);
        }
        return EchoServiceGrpc.newBlockingStub(channel)
                .withInterceptors(MetadataUtils.newAttachHeadersInterceptor(headers))
                .echo(EchoRequest.getDefaultInstance());
    }

    @ParameterizedTest
    @EnumSource(Guard.Mode.class)
    void letsGoodTokensPassAlone(Guard.Mode mode) {
        start(orders().mode(mode));
        EchoResponse answer = stub().echo(EchoRequest.getDefaultInstance());
        assertEquals("svc:caller", answer.getSubject());
        assertEquals("north", answer.getText());
        String good = source.get().authorization();
        assertEquals("svc:caller", with(good.replace("Bearer", "bEARER")).getSubject());
        assertEquals("UNAUTHENTICATED NO_TOKEN", refused(this::with));
        assertEquals("UNAUTHENTICATED NO_TOKEN", refused(() -> with(good, good)));
        assertEquals("UNAUTHENTICATED NO_TOKEN", refused(() -> with("Bearer")));
        assertEquals("UNAUTHENTICATED NO_TOKEN", refused(() -> with("Bearer  ")));
        assertEquals("UNAUTHENTICATED NO_TOKEN", refused(() -> with("Basic " + good)));
        assertEquals("UNAUTHENTICATED MALFORMED", refused(() -> with(good + "x")));
        assertEquals("UNAUTHENTICATED MALFORMED", refused(() -> with("Bearer a b")));
        assertEquals("UNAUTHENTICATED MALFORMED", refused(() -> with("Bearer " + "x".repeat(8193))));
        jeton.revoke(source.get().jti());
        assertEquals("UNAUTHENTICATED REVOKED", refused(() -> with(good)));
    }

    @ParameterizedTest
    @EnumSource(Guard.Mode.class)
    void letsNothingPassWithoutAVerdict(Guard.Mode mode) {
        start(orders().mode(mode));
        String good = source.get().authorization();
        with(good);
        jeton.setAway(true);
        assertEquals("UNAVAILABLE NO_VERDICT", refused(() -> with(good)));
        jeton.setAway(false);
        assertEquals("svc:caller", with(good).getSubject());
    }

    @Test
    void asksForScopes() {
        start(orders().scopes("read"));
        assertEquals("svc:caller", stub().echo(EchoRequest.getDefaultInstance()).getSubject());
        assertEquals(
                "PERMISSION_DENIED MISSING_SCOPE",
                refused(() -> stub().echo(EchoRequest.newBuilder().setText("write").build())));
    }

    @Test
    void exceptsNamedMethodsAlone() {
        start(orders().exceptFor("/jeton.conformance.v1.EchoService/Watch"));
        var stream = EchoServiceGrpc.newBlockingStub(channel).watch(WatchRequest.getDefaultInstance());
        assertTrue(stream.hasNext());
        assertEquals("UNAUTHENTICATED NO_TOKEN", refused(this::with));
    }

    @Test
    void repeatsARefusedCallOnceWithAnotherToken() {
        start(orders());
        String first = source.get().jti();
        jeton.revoke(first);
        assertEquals("svc:caller", stub().echo(EchoRequest.getDefaultInstance()).getSubject());
        assertEquals(2, jeton.issued());
        assertFalse(source.get().jti().equals(first));
    }

    @Test
    void sendsTheTokenAsCredentials() {
        start(orders());
        var stub = EchoServiceGrpc.newBlockingStub(channel).withCallCredentials(source.callCredentials());
        assertEquals("svc:caller", stub.echo(EchoRequest.getDefaultInstance()).getSubject());
        jeton.setAway(true);
        jeton.advance(Duration.ofMinutes(10));
        var error = assertThrows(
                StatusRuntimeException.class,
                () -> stub.withDeadlineAfter(200, TimeUnit.MILLISECONDS).echo(EchoRequest.getDefaultInstance()));
        assertTrue(List.of(Status.Code.DEADLINE_EXCEEDED, Status.Code.UNAVAILABLE)
                .contains(error.getStatus().getCode()));
    }

    @Test
    void endsALongStreamWhoseTokenIsRevoked() throws InterruptedException {
        start(orders());
        var stream = stub().watch(WatchRequest.getDefaultInstance());
        assertTrue(stream.hasNext());
        stream.next();
        jeton.revoke(source.get().jti());
        jeton.advance(Duration.ofSeconds(31));
        assertEquals("UNAUTHENTICATED REVOKED", refused(stream::hasNext));
        assertTrue(watchEnded.await(60, TimeUnit.SECONDS));
    }

    @Test
    void endsALongStreamWhoseTokenExpires() {
        start(orders().recheck(Duration.ZERO));
        var stream = stub().watch(WatchRequest.getDefaultInstance());
        assertTrue(stream.hasNext());
        stream.next();
        jeton.advance(Duration.ofSeconds(301));
        assertEquals("UNAUTHENTICATED EXPIRED", refused(stream::hasNext));
    }

    @Test
    void endsLongStreamsWhenItIsClosed() {
        start(orders());
        var stream = stub().watch(WatchRequest.getDefaultInstance());
        stream.next();
        guard.close();
        assertEquals("UNAVAILABLE NO_VERDICT", refused(stream::hasNext));
    }

    @Test
    void tellsEachCallItsOwnVerdict() {
        start(orders().mode(Guard.Mode.STREAM));
        String good = source.get().reveal();
        List<CompletableFuture<Verdict>> all = new ArrayList<>();
        for (int i = 0; i < 300; i++) {
            all.add(guard.judge(i % 2 == 0 ? good : "rubbish" + i, ""));
        }
        for (int i = 0; i < 300; i++) {
            var one = all.get(i);
            if (i % 2 == 0) {
                assertEquals("svc:caller", one.join().subject());
            } else {
                assertThrows(CompletionException.class, one::join);
            }
        }
    }

    /** Many threads send, and the stream ends again and again meanwhile. */
    @Test
    void losesNoCallAndNoPlaceWhenItsStreamEnds() throws Exception {
        int threads = 4;
        int calls = 500;
        // A thread has one call at a time: no more wait than may.
        start(orders().mode(Guard.Mode.STREAM).maxWaiting(threads));
        String good = source.get().reveal();
        AtomicInteger judged = new AtomicInteger();
        List<CompletableFuture<Void>> all = new ArrayList<>();
        for (int thread = 0; thread < threads; thread++) {
            all.add(CompletableFuture.runAsync(() -> {
                for (int call = 0; call < calls; call++) {
                    assertEquals("svc:caller", guard.judge(good, "").join().subject());
                    judged.incrementAndGet();
                }
            }));
        }
        // What meets a Validate is repeated, and what meets the stream ends it. The next comes after some more verdicts.
        for (int next = 0; next < threads * calls; next += 50) {
            int seen = next;
            Waiting.until(() -> judged.get() >= seen || all.stream().anyMatch(CompletableFuture::isDone));
            jeton.refuseNext(Status.Code.UNAVAILABLE, ErrorReason.ERROR_REASON_OVERLOADED, Map.of());
        }
        for (var each : all) {
            each.get(1, TimeUnit.MINUTES);
        }
    }
}
