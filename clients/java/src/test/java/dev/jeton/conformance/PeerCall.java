package dev.jeton.conformance;

import com.google.gson.JsonElement;
import dev.jeton.TokenSource;
import dev.jeton.conformance.v1.EchoRequest;
import dev.jeton.conformance.v1.EchoResponse;
import dev.jeton.conformance.v1.EchoServiceGrpc;
import dev.jeton.conformance.v1.WatchRequest;
import io.grpc.Context;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.StatusRuntimeException;
import java.time.Duration;
import java.util.HashMap;
import java.util.Map;
import java.util.concurrent.TimeUnit;

/** Calls a peer, with a token source attached as a user attaches it. */
final class PeerCall {
    private PeerCall() {}

    static Map<String, Object> make(
            TokenSource source, String target, String method, JsonElement messages, Duration deadline)
            throws InterruptedException {
        ManagedChannel channel = Grpc.newChannelBuilder(
                        target.substring("http://".length()), InsecureChannelCredentials.create())
                .build();
        var stub = EchoServiceGrpc.newBlockingStub(channel).withInterceptors(source.interceptor());
        int seen = 0;
        try {
            if (method.equals("Echo")) {
                EchoResponse answer = stub.withDeadlineAfter(deadline.toNanos(), TimeUnit.NANOSECONDS)
                        .echo(EchoRequest.newBuilder().setText("hello").build());
                return Map.of("code", "OK", "reason", "", "subject", answer.getSubject(), "jti", answer.getJti());
            }
            int wanted = messages.getAsInt();
            Context.CancellableContext ending = Context.current().withCancellation();
            Context previous = ending.attach();
            try {
                var stream = stub.watch(WatchRequest.getDefaultInstance());
                while (seen < wanted && stream.hasNext()) {
                    stream.next();
                    seen++;
                }
            } finally {
                ending.detach(previous);
                ending.cancel(null);
            }
            return Map.of("code", "OK", "messages", seen);
        } catch (StatusRuntimeException error) {
            Map<String, Object> told = new HashMap<>(Told.ended(error));
            told.put("messages", seen);
            return told;
        } finally {
            channel.shutdownNow().awaitTermination(5, TimeUnit.SECONDS);
        }
    }
}
