package dev.jeton.conformance;

import com.google.gson.Gson;
import com.google.gson.JsonObject;
import dev.jeton.Client;
import dev.jeton.Guard;
import dev.jeton.GuardBuilder;
import dev.jeton.servlet.GuardFilter;
import io.grpc.InsecureServerCredentials;
import io.grpc.Server;
import io.grpc.ServerCredentials;
import io.grpc.TlsServerCredentials;
import io.grpc.netty.shaded.io.grpc.netty.NettyServerBuilder;
import jakarta.servlet.http.HttpServlet;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletResponse;
import java.io.File;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Comparator;
import java.util.concurrent.TimeUnit;
import org.apache.catalina.connector.Connector;
import org.apache.catalina.startup.Tomcat;
import org.apache.tomcat.util.descriptor.web.FilterDef;
import org.apache.tomcat.util.descriptor.web.FilterMap;

/** EchoService behind a guard, over gRPC and over HTTP. */
final class GuardedServers {
    private final Guard guard;
    private final Server grpc;
    private final Tomcat http;
    private final Path directory;

    GuardedServers(Client client, JsonObject given) throws Exception {
        GuardBuilder builder = Guard.builder(client).audiences(Runner.texts(given, "audiences"));
        if (given.has("scopes")) {
            builder.scopes(Runner.texts(given, "scopes").toArray(new String[0]));
        }
        if (given.has("mode") && given.get("mode").getAsString().equals("stream")) {
            builder.mode(Guard.Mode.STREAM);
        }
        if (given.has("max_waiting")) {
            builder.maxWaiting(given.get("max_waiting").getAsInt());
        }
        if (given.has("deadline_s")) {
            builder.deadline(Runner.seconds(given, "deadline_s", 2));
        }
        if (given.has("recheck_s")) {
            builder.recheck(Runner.seconds(given, "recheck_s", 30));
        }
        guard = builder.build();
        ServerCredentials credentials = InsecureServerCredentials.create();
        if (given.has("tls")) {
            JsonObject tls = given.getAsJsonObject("tls");
            credentials = TlsServerCredentials.newBuilder()
                    .keyManager(new File(Runner.text(tls, "cert_file")), new File(Runner.text(tls, "key_file")))
                    .trustManager(new File(Runner.text(tls, "client_ca_file")))
                    .clientAuth(TlsServerCredentials.ClientAuth.REQUIRE)
                    .build();
        }
        grpc = NettyServerBuilder.forAddress(new InetSocketAddress("127.0.0.1", 0), credentials)
                .addService(new Echo())
                .intercept(guard)
                .build()
                .start();
        directory = Files.createTempDirectory("jeton-runner-");
        http = new Tomcat();
        http.setBaseDir(directory.toString());
        Connector connector = new Connector();
        connector.setPort(0);
        connector.setProperty("address", "127.0.0.1");
        http.setConnector(connector);
        var context = http.addContext("", directory.toString());
        FilterDef filter = new FilterDef();
        filter.setFilterName("guard");
        filter.setFilter(new GuardFilter(guard));
        context.addFilterDef(filter);
        FilterMap everywhere = new FilterMap();
        everywhere.setFilterName("guard");
        everywhere.addURLPattern("/*");
        context.addFilterMap(everywhere);
        Tomcat.addServlet(context, "echo", new EchoPage());
        context.addServletMappingDecoded("/echo", "echo");
        http.start();
    }

    /** Answers with the verdict. */
    private static final class EchoPage extends HttpServlet {
        private static final long serialVersionUID = 1;

        @Override
        protected void doGet(HttpServletRequest request, HttpServletResponse response) throws IOException {
            response.setContentType("application/json");
            response.setCharacterEncoding("UTF-8");
            response.getWriter().write(new Gson().toJson(Told.verdict(GuardFilter.verdict(request))));
        }
    }

    String grpcAddress() {
        return "127.0.0.1:" + grpc.getPort();
    }

    String httpAddress() {
        return "127.0.0.1:" + http.getConnector().getLocalPort();
    }

    void close() throws Exception {
        grpc.shutdownNow().awaitTermination(10, TimeUnit.SECONDS);
        http.stop();
        http.destroy();
        guard.close();
        try (var files = Files.walk(directory)) {
            for (Path each : files.sorted(Comparator.reverseOrder()).toList()) {
                Files.deleteIfExists(each);
            }
        }
    }
}
