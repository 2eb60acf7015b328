package dev.jeton.http;

import dev.jeton.Token;
import dev.jeton.TokenSource;
import java.io.IOException;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.regex.Pattern;

/**
 * Sends requests of {@link HttpClient} with the token of a source. A request that is refused because its token is expired
 * or revoked is sent once more, with another one.
 *
 * <pre>{@code
 * var http = new TokenHttpClient(HttpClient.newHttpClient(), source);
 * var response = http.send(HttpRequest.newBuilder(uri).build(), BodyHandlers.ofString());
 * }</pre>
 */
public final class TokenHttpClient {
    private static final Pattern ERROR = Pattern.compile("(?i)\\berror\\s*=\\s*\"?([a-z_]+)");

    private final HttpClient client;
    private final TokenSource source;

    /**
     * Makes the helper. Neither is closed by it.
     *
     * @param client sends the requests
     * @param source has the token
     */
    public TokenHttpClient(HttpClient client, TokenSource source) {
        this.client = client;
        this.source = source;
    }

    /**
     * Sends a request, and waits for its response.
     *
     * @param <T> the type of the body
     * @param request without {@code authorization}; its timeout bounds the wait for a token, too
     * @param handler reads the body
     * @return the response
     * @throws IOException as {@link HttpClient#send}
     * @throws InterruptedException as {@link HttpClient#send}
     * @throws dev.jeton.errors.JetonException if there is no token
     */
    public <T> HttpResponse<T> send(HttpRequest request, HttpResponse.BodyHandler<T> handler)
            throws IOException, InterruptedException {
        long begun = System.nanoTime();
        Token token = source.get(left(request, begun));
        HttpResponse<T> response = client.send(with(request, token, begun), handler);
        if (!anotherTokenMayHelp(response) || left(request, begun).isZero()) {
            return response;
        }
        Optional<Token> other;
        try {
            other = source.insteadOf(token, left(request, begun)).get();
        } catch (ExecutionException none) {
            return response;
        }
        return other.isEmpty() ? response : client.send(with(request, other.get(), begun), handler);
    }

    /**
     * Sends a request.
     *
     * @param <T> the type of the body
     * @param request as for {@link #send}
     * @param handler reads the body
     * @return the response, later
     */
    public <T> CompletableFuture<HttpResponse<T>> sendAsync(HttpRequest request, HttpResponse.BodyHandler<T> handler) {
        long begun = System.nanoTime();
        return source.getAsync(left(request, begun)).thenCompose(token -> client.sendAsync(
                        with(request, token, begun), handler)
                .thenCompose(response -> {
                    if (!anotherTokenMayHelp(response) || left(request, begun).isZero()) {
                        return CompletableFuture.completedFuture(response);
                    }
                    return source.insteadOf(token, left(request, begun)).thenCompose(other -> other.isEmpty()
                            ? CompletableFuture.completedFuture(response)
                            : client.sendAsync(with(request, other.get(), begun), handler));
                }));
    }

    private static Duration left(HttpRequest request, long begun) {
        Duration whole = request.timeout().orElse(TokenSource.DEFAULT_DEADLINE);
        Duration left = whole.minusNanos(System.nanoTime() - begun);
        return left.isNegative() ? Duration.ZERO : left;
    }

    private static HttpRequest with(HttpRequest request, Token token, long begun) {
        HttpRequest.Builder made = HttpRequest.newBuilder(request, (name, value) ->
                        !name.equalsIgnoreCase("authorization"))
                .setHeader("Authorization", token.authorization());
        if (request.timeout().isPresent()) {
            Duration left = left(request, begun);
            made.timeout(left.isZero() ? Duration.ofNanos(1) : left);
        }
        return made.build();
    }

    /** Whether the response says that the token is not good any more, or does not say why it is refused. */
    static boolean anotherTokenMayHelp(HttpResponse<?> response) {
        if (response.statusCode() != 401) {
            return false;
        }
        List<String> challenges = response.headers().allValues("www-authenticate");
        boolean named = false;
        for (String challenge : challenges) {
            var error = ERROR.matcher(challenge);
            if (error.find()) {
                named = true;
                if (error.group(1).equalsIgnoreCase("invalid_token")) {
                    return true;
                }
            }
        }
        return !named;
    }
}
