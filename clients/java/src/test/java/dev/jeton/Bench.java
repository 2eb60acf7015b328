package dev.jeton;

import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import com.google.protobuf.Empty;
import io.grpc.CallOptions;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.MethodDescriptor;
import io.grpc.protobuf.ProtoUtils;
import io.grpc.stub.ClientCalls;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.Consumer;

/** Measures the look-up of a token, and a guard beside an empty call of gRPC to the same server. See bench/run. */
public final class Bench {
    /** Rounds in which Java compiles what runs often. */
    private static final int WARM_UP = 60;

    private static final int ROUNDS = 31;
    private static final long ROUND = TimeUnit.MILLISECONDS.toNanos(
            Long.parseLong(Optional.ofNullable(System.getenv("BENCH_ROUND_MS")).orElse("150")));
    private static final int AT_ONCE = 256;
    // What is to be reached.
    private static final double ONE_BY_ONE_BAR = 0.9;
    private static final double STREAM_BAR = 5;
    private static final double LOOK_UP_BAR = 100;

    /** The cheapest call that the server answers: Check of grpc.health.v1, whose messages nobody looks into. */
    private static final MethodDescriptor<Empty, Empty> EMPTY = MethodDescriptor.<Empty, Empty>newBuilder()
            .setType(MethodDescriptor.MethodType.UNARY)
            .setFullMethodName("grpc.health.v1.Health/Check")
            .setRequestMarshaller(ProtoUtils.marshaller(Empty.getDefaultInstance()))
            .setResponseMarshaller(ProtoUtils.marshaller(Empty.getDefaultInstance()))
            .build();

    private interface Measure {
        double rate() throws InterruptedException;
    }

    private Bench() {}

    /**
     * Runs it.
     *
     * @param arguments the file that {@code jeton dev} wrote
     * @throws InterruptedException if it is interrupted
     * @throws IOException if the file cannot be read
     */
    public static void main(String[] arguments) throws InterruptedException, IOException {
        JsonObject dev = JsonParser.parseString(Files.readString(Path.of(arguments[0]))).getAsJsonObject();
        String address = dev.get("public").getAsString();
        String key = dev.getAsJsonObject("clients").get("dev-service").getAsString();
        ManagedChannel channel = Grpc.newChannelBuilder(address, InsecureChannelCredentials.create())
                .directExecutor()
                .build();
        try (Client client = Client.builder("http://" + address).apiKey(key).build();
                TokenSource source =
                        TokenSource.builder(client).subject("svc:bench").audiences("orders").build();
                Guard unary = Guard.builder(client).audiences("orders").build();
                Guard stream =
                        Guard.builder(client).audiences("orders").mode(Guard.Mode.STREAM).build()) {
            String token = source.get().reveal();
            List<String> authorization = List.of("Bearer " + token);
            Measure empty = () -> oneByOne(() ->
                    ClientCalls.blockingUnaryCall(channel, EMPTY, CallOptions.DEFAULT, Empty.getDefaultInstance()));
            Measure guarded = () -> oneByOne(() -> unary.judge(authorization, null));
            Measure streamed = () ->
                    load(done -> stream.judge(token, "").whenComplete((verdict, error) -> check(error, done)));
            Measure emptyLoad = () -> load(done -> ClientCalls.futureUnaryCall(
                            channel.newCall(EMPTY, CallOptions.DEFAULT), Empty.getDefaultInstance())
                    .addListener(done, Runnable::run));
            compare(List.of(empty, guarded, streamed, emptyLoad));
            double lookUp = lookUp(source);
            print("TokenSource, look-up                   %9.1f ns    bar ≤ %.0f ns", lookUp, LOOK_UP_BAR);
        } finally {
            channel.shutdownNow();
        }
    }

    /** Each round measures all, forth and back in turns: what else the machine does meets them alike. */
    private static void compare(List<Measure> all) throws InterruptedException {
        double[][] found = new double[all.size()][ROUNDS];
        for (int round = -WARM_UP; round < ROUNDS; round++) {
            List<Integer> order = new ArrayList<>();
            for (int which = 0; which < all.size(); which++) {
                order.add(which);
            }
            if (round % 2 != 0) {
                Collections.reverse(order);
            }
            for (int which : order) {
                double rate = all.get(which).rate();
                if (round >= 0) {
                    found[which][round] = rate;
                }
            }
        }
        print("empty call of grpc-java, one by one    %9.0f /s", median(found[0]));
        show("Guard, one by one", found[1], found[0], ONE_BY_ONE_BAR);
        show("Guard, stream mode, " + AT_ONCE + " at a time", found[2], found[0], STREAM_BAR);
        print("empty calls, %d at a time             %9.0f /s    Guard, stream mode: %.2f × as many", AT_ONCE,
                median(found[3]), median(ratios(found[2], found[3])));
    }

    private static void show(String name, double[] rates, double[] empty, double bar) {
        print("%-38s %9.0f /s    %.2f × the empty call; bar ≥ %s", name, median(rates),
                median(ratios(rates, empty)), bar);
    }

    private static double[] ratios(double[] rates, double[] empty) {
        double[] found = new double[rates.length];
        Arrays.setAll(found, round -> rates[round] / empty[round]);
        return found;
    }

    private static double median(double[] values) {
        double[] sorted = values.clone();
        Arrays.sort(sorted);
        return sorted[sorted.length / 2];
    }

    private static void check(Throwable error, Runnable done) {
        if (error != null) {
            throw new IllegalStateException(error);
        }
        done.run();
    }

    private static double lookUp(TokenSource source) {
        long count = 5_000_000;
        double[] found = new double[ROUNDS];
        long seen = 0;
        for (int round = 0; round < ROUNDS; round++) {
            long begun = System.nanoTime();
            for (long i = 0; i < count; i++) {
                seen += source.get().jti().length();
            }
            found[round] = (System.nanoTime() - begun) / (double) count;
        }
        if (seen == 0) {
            throw new IllegalStateException("the tokens have no jti");
        }
        return median(found);
    }

    private static double oneByOne(Runnable call) {
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
            take(places, 1);
            call.accept(done);
        }
        double rate = count.get() * 1e9 / (System.nanoTime() - begun);
        take(places, AT_ONCE);
        return rate;
    }

    private static void take(Semaphore places, int count) throws InterruptedException {
        if (!places.tryAcquire(count, 1, TimeUnit.MINUTES)) {
            throw new IllegalStateException("calls were lost");
        }
    }

    private static void print(String text, Object... values) {
        System.out.println(String.format(Locale.ROOT, text, values));
    }
}
