package dev.jeton.conformance;

import com.google.gson.Gson;
import com.google.gson.GsonBuilder;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import com.google.protobuf.Message;
import com.google.protobuf.util.JsonFormat;
import dev.jeton.Client;
import dev.jeton.ClientBuilder;
import dev.jeton.Secret;
import dev.jeton.Token;
import dev.jeton.TokenSource;
import dev.jeton.TokenSourceBuilder;
import dev.jeton.v1.AdminServiceGrpc;
import dev.jeton.v1.DiscoveryServiceGrpc;
import dev.jeton.v1.TokenServiceGrpc;
import io.grpc.MethodDescriptor;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.logging.ConsoleHandler;
import java.util.logging.Level;
import java.util.logging.Logger;
import java.util.stream.Stream;

/** The runner of Java: does what it is told by JSON lines. clients/conformance/README.md says what. */
public final class Runner {
    private static final Gson GSON = new GsonBuilder().serializeNulls().disableHtmlEscaping().create();
    /** They take effect in the order of their lines. */
    private static final Set<String> IN_ORDER = Set.of("hello", "client.new", "source.new", "guard.new");
    /** Kept: a logger that nobody holds loses its level. */
    private static final Logger LOG = Logger.getLogger("dev.jeton");

    private final Map<String, Client> clients = new ConcurrentHashMap<>();
    private final Map<String, TokenSource> sources = new ConcurrentHashMap<>();
    private final Map<String, List<Map<String, Object>>> events = new ConcurrentHashMap<>();
    private final List<GuardedServers> servers = new ArrayList<>();
    private final PrintStream out = new PrintStream(System.out, true, StandardCharsets.UTF_8);

    private Runner() {}

    /**
     * Runs it.
     *
     * @param arguments none
     * @throws Exception if standard input breaks
     */
    public static void main(String[] arguments) throws Exception {
        WarmUp.call();
        ConsoleHandler handler = new ConsoleHandler();
        handler.setLevel(Level.ALL);
        LOG.setLevel(Level.ALL);
        LOG.addHandler(handler);
        ExecutorService threads = Executors.newCachedThreadPool(act -> {
            Thread thread = new Thread(act, "runner");
            thread.setDaemon(true);
            return thread;
        });
        Runner runner = new Runner();
        InputStream in = System.in;
        BufferedReader lines = new BufferedReader(new InputStreamReader(in, StandardCharsets.UTF_8));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            JsonObject given = JsonParser.parseString(line).getAsJsonObject();
            if (IN_ORDER.contains(given.get("do").getAsString())) {
                runner.answer(given);
            } else {
                threads.execute(() -> runner.answer(given));
            }
        }
    }

    private void answer(JsonObject given) {
        JsonObject told = new JsonObject();
        told.add("id", given.get("id"));
        try {
            Object found = run(given.get("do").getAsString(), given);
            if (found == null) {
                told.addProperty("unsupported", true);
            } else {
                told.add("ok", GSON.toJsonTree(found));
            }
        } catch (Throwable error) {
            told.add("error", GSON.toJsonTree(Told.failure(error)));
        }
        synchronized (out) {
            out.println(GSON.toJson(told));
        }
    }

    /** Null: not known. */
    private Object run(String command, JsonObject given) throws Exception {
        return switch (command) {
            case "hello" -> Map.of("language", "Java", "version", "0.1.0");
            case "client.new" -> newClient(given);
            case "client.call" -> call(given);
            case "source.new" -> newSource(given);
            case "source.get" -> get(given);
            case "source.call" -> PeerCall.make(
                    source(given), text(given, "target"), text(given, "method"), given.get("messages"),
                    seconds(given, "deadline_s", 60));
            case "source.events" -> Map.of("events", List.copyOf(events.get(text(given, "source"))));
            case "source.close" -> {
                source(given).close();
                yield Map.of();
            }
            case "guard.new" -> newGuard(given);
            case "show" -> Map.of("texts", Told.shown(source(given), clients.get(text(given, "client"))));
            case "left" -> Map.of("left", Told.threads());
            case "close" -> close();
            default -> null;
        };
    }

    private TokenSource source(JsonObject given) {
        return sources.get(text(given, "source"));
    }

    private Object newClient(JsonObject given) {
        ClientBuilder builder = Client.builder(texts(given, "endpoints"));
        if (given.has("admin_endpoints")) {
            builder.adminEndpoints(texts(given, "admin_endpoints").toArray(new String[0]));
        }
        if (given.has("api_key")) {
            builder.apiKey(text(given, "api_key"));
        }
        if (given.has("api_key_file")) {
            builder.apiKeyFile(Path.of(text(given, "api_key_file")));
        }
        if (given.has("ca_file")) {
            builder.caFile(Path.of(text(given, "ca_file")));
        }
        if (given.has("cert_file")) {
            builder.clientCertificate(Path.of(text(given, "cert_file")), Path.of(text(given, "key_file")));
        }
        if (given.has("allow_plaintext") && given.get("allow_plaintext").getAsBoolean()) {
            builder.allowPlaintext();
        }
        clients.put(text(given, "client"), builder.build());
        return Map.of();
    }

    private Object call(JsonObject given) throws IOException {
        MethodDescriptor<?, ?> method = Stream.of(
                        TokenServiceGrpc.getServiceDescriptor(),
                        AdminServiceGrpc.getServiceDescriptor(),
                        DiscoveryServiceGrpc.getServiceDescriptor())
                .flatMap(service -> service.getMethods().stream())
                .filter(each -> text(given, "method").equals(each.getBareMethodName()))
                .findFirst()
                .orElseThrow();
        return Map.of("response", call(method, given));
    }

    @SuppressWarnings("unchecked")
    private <Q, R> JsonElement call(MethodDescriptor<Q, R> method, JsonObject given) throws IOException {
        var prototype = (Message) ((MethodDescriptor.PrototypeMarshaller<Q>) method.getRequestMarshaller())
                .getMessagePrototype();
        Message.Builder request = prototype.newBuilderForType();
        JsonFormat.parser().merge(GSON.toJson(given.get("request")), request);
        Client client = clients.get(text(given, "client"));
        R answer = given.has("deadline_s")
                ? client.call(method, (Q) request.build(), seconds(given, "deadline_s", 0))
                : client.call(method, (Q) request.build());
        return JsonParser.parseString(JsonFormat.printer().print((Message) answer));
    }

    private Object newSource(JsonObject given) {
        TokenSourceBuilder builder = TokenSource.builder(clients.get(text(given, "client")));
        if (given.has("subject")) {
            builder.subject(text(given, "subject"));
        }
        if (given.has("audiences")) {
            builder.audiences(texts(given, "audiences"));
        }
        if (given.has("scopes")) {
            builder.scopes(texts(given, "scopes").toArray(new String[0]));
        }
        if (given.has("ttl_s")) {
            builder.ttl(seconds(given, "ttl_s", 0));
        }
        if (given.has("refreshable") && given.get("refreshable").getAsBoolean()) {
            builder.refreshable();
        }
        if (given.has("refresh_token")) {
            builder.refreshToken(Secret.of(text(given, "refresh_token")));
        }
        if (given.has("refresh_token_file")) {
            builder.refreshTokenFile(Path.of(text(given, "refresh_token_file")));
        }
        List<Map<String, Object>> told = new CopyOnWriteArrayList<>();
        events.put(text(given, "source"), told);
        builder.onEvent(event -> told.add(Told.event(event)));
        sources.put(text(given, "source"), builder.build());
        return Map.of();
    }

    private Object get(JsonObject given) {
        Token token = given.has("deadline_s")
                ? source(given).get(seconds(given, "deadline_s", 0))
                : source(given).get();
        return Map.of("token", token.reveal(), "jti", token.jti());
    }

    private Object newGuard(JsonObject given) throws Exception {
        GuardedServers made = new GuardedServers(clients.get(text(given, "client")), given);
        synchronized (servers) {
            servers.add(made);
        }
        return Map.of("grpc", made.grpcAddress(), "http", made.httpAddress());
    }

    private Object close() throws Exception {
        sources.values().forEach(TokenSource::close);
        synchronized (servers) {
            for (GuardedServers each : servers) {
                each.close();
            }
            servers.clear();
        }
        clients.values().forEach(Client::close);
        return Map.of();
    }

    static String text(JsonObject given, String name) {
        return given.get(name).getAsString();
    }

    static List<String> texts(JsonObject given, String name) {
        List<String> all = new ArrayList<>();
        given.getAsJsonArray(name).forEach(each -> all.add(each.getAsString()));
        return all;
    }

    static Duration seconds(JsonObject given, String name, double otherwise) {
        double value = given.has(name) ? given.get(name).getAsDouble() : otherwise;
        return Duration.ofNanos((long) (value * 1e9));
    }
}
