package dev.jeton;

import com.google.protobuf.Empty;
import dev.jeton.v1.TokenServiceGrpc;
import dev.jeton.v1.ValidateRequest;
import io.grpc.CallOptions;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import io.grpc.protobuf.ProtoUtils;
import io.grpc.stub.ClientCalls;
import io.grpc.stub.MetadataUtils;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.Consumer;

/** Measures the look-up of a token, and a guard beside an empty call of gRPC to the same server. See ./bench. */
public final class Bench {
    private static final int ROUNDS = 5;
    private static final long ROUND = TimeUnit.SECONDS.toNanos(2);
    private static final int AT_ONCE = 256;

    /** The cheapest call that the server answers: Check of grpc.health.v1, whose messages nobody looks into. */
    private static final MethodDescriptor<Empty, Empty> EMPTY = MethodDescriptor.<Empty, Empty>newBuilder()
            .setType(MethodDescriptor.MethodType.UNARY)
            .setFullMethodName("grpc.health.v1.Health/Check")
            .setRequestMarshaller(ProtoUtils.marshaller(Empty.getDefaultInstance()))
            .setResponseMarshaller(ProtoUtils.marshaller(Empty.getDefaultInstance()))
            .build();

    private Bench() {}

    /**
     * Runs it.
     *
     * @param arguments the endpoint, and the file of the API key
     * @throws InterruptedException if it is interrupted
     */
    public static void main(String[] arguments) throws InterruptedException {
        Client client = Client.builder(arguments[0]).apiKeyFile(Path.of(arguments[1])).build();
        TokenSource source = TokenSource.builder(client)
                .subject("svc:bench")
                .audiences("bench")
                .ttl(Duration.ofHours(1))
                .build();
        String token = source.get().reveal();
        lookUp(source);
        Guard unary = Guard.builder(client).audiences("bench").build();
        Guard stream = Guard.builder(client).audiences("bench").mode(Guard.Mode.STREAM).build();
        ManagedChannel channel = Grpc.newChannelBuilder(
                        arguments[0].substring("http://".length()), InsecureChannelCredentials.create())
                .directExecutor()
                .build();
        Metadata key = client.calls().lanes.take(Endpoint.parse(arguments[0])).headers();
        var stub = TokenServiceGrpc.newBlockingStub(channel)
                .withInterceptors(MetadataUtils.newAttachHeadersInterceptor(key));
        ValidateRequest request =
                ValidateRequest.newBuilder().setToken(token).addAudiences("bench").build();
        List<String> authorization = List.of("Bearer " + token);
        double[] one = new double[3];
        double[] many = new double[3];
        // The first round warms up. The machine's other work meets all in a round alike.
        for (int round = 0; round < ROUNDS; round++) {
            one[0] = Math.max(one[0], round == 0 ? 0 : rate(() ->
                    ClientCalls.blockingUnaryCall(channel, EMPTY, CallOptions.DEFAULT, Empty.getDefaultInstance())));
            one[2] = Math.max(one[2], round == 0 ? 0 : rate(() -> stub.validate(request)));
            one[1] = Math.max(one[1], round == 0 ? 0 : rate(() -> unary.judge(authorization, null)));
            double calls = load(done -> ClientCalls.futureUnaryCall(
                            channel.newCall(EMPTY, CallOptions.DEFAULT), Empty.getDefaultInstance())
                    .addListener(done, Runnable::run));
            double unaries = load(done -> unary.judge(token, "").whenComplete((v, e) -> check(e, done)));
            double streamed = load(done -> stream.judge(token, "").whenComplete((v, e) -> check(e, done)));
            if (round > 0) {
                many[0] = Math.max(many[0], calls);
                many[1] = Math.max(many[1], unaries);
                many[2] = Math.max(many[2], streamed);
            }
        }
        print("one by one: empty call %.0f/s, bare Validate %.0f/s, guard %.0f/s: %.2f of the empty call, %.2f of Validate",
                one[0], one[2], one[1], one[1] / one[0], one[1] / one[2]);
        print("%d at once: empty call %.0f/s, guard by Validate %.0f/s, by StreamValidate %.0f/s: %.2f", AT_ONCE,
                many[0], many[1], many[2], many[2] / many[0]);
        channel.shutdownNow();
        unary.close();
        stream.close();
        source.close();
        client.close();
    }

    private static void check(Throwable error, Runnable done) {
        if (error != null) {
            throw new IllegalStateException(error);
        }
        done.run();
    }

    private static void lookUp(TokenSource source) {
        long count = 20_000_000;
        double best = Double.MAX_VALUE;
        long seen = 0;
        for (int round = 0; round < ROUNDS; round++) {
            long begun = System.nanoTime();
            for (long i = 0; i < count; i++) {
                seen += source.get().jti().length();
            }
            best = Math.min(best, (System.nanoTime() - begun) / (double) count);
        }
        print("look-up of a token: %.1f ns (%d)", best, seen % 10);
    }

    private static double rate(Runnable call) {
        long begun = System.nanoTime();
        long count = 0;
        while (System.nanoTime() - begun < ROUND) {
            call.run();
            count++;
        }
        return count * 1e9 / (System.nanoTime() - begun);
    }

    private static double load(Consumer<Runnable> call) throws InterruptedException {
        Semaphore places = new Semaphore(AT_ONCE);
        AtomicLong count = new AtomicLong();
        Runnable done = () -> {
            count.incrementAndGet();
            places.release();
        };
        long begun = System.nanoTime();
        while (System.nanoTime() - begun < ROUND) {
            if (!places.tryAcquire(10, TimeUnit.SECONDS)) {
                throw new IllegalStateException("calls were lost");
            }
            call.accept(done);
        }
        double rate = count.get() * 1e9 / (System.nanoTime() - begun);
        if (!places.tryAcquire(AT_ONCE, 10, TimeUnit.SECONDS)) {
            throw new IllegalStateException("calls were lost");
        }
        return rate;
    }

    private static void print(String text, Object... values) {
        System.out.println(String.format(Locale.ROOT, text, values));
    }
}
