package dev.jeton;

import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.jeton.http.TokenHttpClient;
import dev.jeton.servlet.GuardFilter;
import dev.jeton.spring.JetonAuthenticationFilter;
import dev.jeton.testing.FakeJeton;
import jakarta.servlet.http.HttpServlet;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletResponse;
import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Path;
import java.time.Duration;
import org.apache.catalina.LifecycleException;
import org.apache.catalina.connector.Connector;
import org.apache.catalina.startup.Tomcat;
import org.apache.tomcat.util.descriptor.web.FilterDef;
import org.apache.tomcat.util.descriptor.web.FilterMap;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.springframework.security.core.context.SecurityContextHolder;

class HttpTest {
    @TempDir
    Path directory;

    private final FakeJeton jeton = FakeJeton.start();
    private final Guard guard = Guard.builder(jeton.client())
            .audiences("orders")
            .scopes("read")
            .exceptFor("/health")
            .deadline(Duration.ofMinutes(1))
            .build();
    private final TokenSource source = TokenSource.builder(jeton.client())
            .subject("svc:caller")
            .audiences("orders")
            .scopes("read")
            .build();
    private final Tomcat tomcat = new Tomcat();

    /** Answers with the user. */
    private static final class User extends HttpServlet {
        private static final long serialVersionUID = 1;

        @Override
        protected void doGet(HttpServletRequest request, HttpServletResponse response) throws IOException {
            var authentication = SecurityContextHolder.getContext().getAuthentication();
            response.getWriter().write(request.getRemoteUser() + " " + request.isUserInRole("read") + " "
                    + (authentication == null ? "" : authentication.getName() + authentication.getAuthorities()));
        }
    }

    private HttpRequest.Builder start(GuardFilter filter, String path) throws LifecycleException {
        tomcat.setBaseDir(directory.toString());
        Connector connector = new Connector();
        connector.setPort(0);
        connector.setProperty("address", "127.0.0.1");
        tomcat.setConnector(connector);
        var context = tomcat.addContext("", directory.toString());
        FilterDef definition = new FilterDef();
        definition.setFilterName("guard");
        definition.setFilter(filter);
        context.addFilterDef(definition);
        FilterMap everywhere = new FilterMap();
        everywhere.setFilterName("guard");
        everywhere.addURLPattern("/*");
        context.addFilterMap(everywhere);
        Tomcat.addServlet(context, "user", new User());
        context.addServletMappingDecoded("/*", "user");
        tomcat.start();
        return HttpRequest.newBuilder(URI.create("http://127.0.0.1:" + connector.getLocalPort() + path));
    }

    @AfterEach
    void close() throws LifecycleException {
        source.close();
        tomcat.stop();
        tomcat.destroy();
        guard.close();
        jeton.close();
    }

    @Test
    void aFilterTellsTheUserAndRefusesTheRest() throws Exception {
        HttpRequest request = start(new GuardFilter(guard), "/orders").build();
        var plain = HttpClient.newHttpClient();
        var http = new TokenHttpClient(plain, source);
        assertEquals("svc:caller true ", http.send(request, HttpResponse.BodyHandlers.ofString()).body());

        var none = plain.send(request, HttpResponse.BodyHandlers.ofString());
        assertEquals(401, none.statusCode());
        assertEquals("Bearer", none.headers().firstValue("www-authenticate").orElse(""));
        assertEquals("{\"error\": \"invalid_request\", \"reason\": \"NO_TOKEN\"}", none.body());

        jeton.revoke(source.get().jti());
        assertEquals(200, http.send(request, HttpResponse.BodyHandlers.ofString()).statusCode());
        assertEquals(2, jeton.issued());
        jeton.revoke(source.get().jti());
        assertEquals(200, http.sendAsync(request, HttpResponse.BodyHandlers.ofString()).join().statusCode());
        assertEquals(3, jeton.issued());

        jeton.setAway(true);
        var away = http.send(request, HttpResponse.BodyHandlers.ofString());
        assertEquals(503, away.statusCode());
        assertEquals("1", away.headers().firstValue("retry-after").orElse(""));
    }

    @Test
    void aMissingScopeIsForbidden() throws Exception {
        HttpRequest request = start(new GuardFilter(guard), "/orders").build();
        try (TokenSource other =
                TokenSource.builder(jeton.client()).subject("svc:b").audiences("orders").build()) {
            var answer = new TokenHttpClient(HttpClient.newHttpClient(), other)
                    .send(request, HttpResponse.BodyHandlers.ofString());
            assertEquals(403, answer.statusCode());
            assertEquals(
                    "Bearer error=\"insufficient_scope\", scope=\"read\"",
                    answer.headers().firstValue("www-authenticate").orElse(""));
        }
    }

    @Test
    void anExceptedPathPassesExactlyAsItIsNamed() throws Exception {
        HttpRequest.Builder request = start(new GuardFilter(guard), "/health");
        URI health = request.build().uri();
        var plain = HttpClient.newHttpClient();
        assertEquals(200, plain.send(request.build(), HttpResponse.BodyHandlers.discarding()).statusCode());
        for (String other : new String[] {"/health/../orders", "/health;x", "/orders/health", "/healthy"}) {
            HttpRequest crafted = HttpRequest.newBuilder(URI.create(health.toString().replace("/health", other)))
                    .build();
            assertEquals(401, plain.send(crafted, HttpResponse.BodyHandlers.discarding()).statusCode(), other);
        }
    }

    @Test
    void springKnowsWhoCalls() throws Exception {
        HttpRequest request = start(new JetonAuthenticationFilter(guard), "/orders").build();
        var http = new TokenHttpClient(HttpClient.newHttpClient(), source);
        assertEquals(
                "svc:caller true svc:caller[SCOPE_read]",
                http.send(request, HttpResponse.BodyHandlers.ofString()).body());
    }
}
