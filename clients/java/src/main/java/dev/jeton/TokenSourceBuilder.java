package dev.jeton;

import java.nio.file.Path;
import java.time.Duration;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.function.Consumer;

/** Builds a {@link TokenSource}. Each method returns the builder. */
public final class TokenSourceBuilder {
    private final Client client;
    private String subject = "";
    private List<String> audiences = List.of();
    private List<String> scopes = List.of();
    private Map<String, ?> claims;
    private Duration ttl;
    private boolean refreshable;
    private Secret refreshToken;
    private Path refreshTokenFile;
    private Consumer<Secret> onRefreshToken;
    private Consumer<TokenEvent> onEvent;

    TokenSourceBuilder(Client client) {
        this.client = Objects.requireNonNull(client);
    }

    /**
     * Whom the token is for.
     *
     * @param name {@code sub}
     * @return this
     */
    public TokenSourceBuilder subject(String name) {
        subject = Objects.requireNonNull(name);
        return this;
    }

    /**
     * The services that the token is for.
     *
     * @param all {@code aud}
     * @return this
     */
    public TokenSourceBuilder audiences(String... all) {
        audiences = List.of(all);
        return this;
    }

    /**
     * The services that the token is for.
     *
     * @param all {@code aud}
     * @return this
     */
    public TokenSourceBuilder audiences(Collection<String> all) {
        audiences = List.copyOf(all);
        return this;
    }

    /**
     * What the token permits.
     *
     * @param all {@code scope}
     * @return this
     */
    public TokenSourceBuilder scopes(String... all) {
        scopes = List.of(all);
        return this;
    }

    /**
     * Further claims.
     *
     * @param all texts, numbers, booleans, lists and maps
     * @return this
     */
    public TokenSourceBuilder claims(Map<String, ?> all) {
        claims = all;
        return this;
    }

    /**
     * How long each token lives.
     *
     * @param duration at least a second; unless given, the policy's default
     * @return this
     */
    public TokenSourceBuilder ttl(Duration duration) {
        ttl = duration;
        return this;
    }

    /**
     * Opens a session, and renews it: without, each renewal issues a token.
     *
     * @return this
     */
    public TokenSourceBuilder refreshable() {
        refreshable = true;
        return this;
    }

    /**
     * Begins with a session that somebody else opened.
     *
     * @param token its latest refresh token
     * @return this
     */
    public TokenSourceBuilder refreshToken(Secret token) {
        refreshToken = token;
        return this;
    }

    /**
     * Keeps the refresh token in a file of mode 0600, and begins with the one in it, if there is one.
     *
     * @param file the file
     * @return this
     */
    public TokenSourceBuilder refreshTokenFile(Path file) {
        refreshTokenFile = file;
        return this;
    }

    /**
     * Keeps the refresh token: is called with each one, before the access token is shown to anybody.
     *
     * @param keeper gets the refresh token
     * @return this
     */
    public TokenSourceBuilder onRefreshToken(Consumer<Secret> keeper) {
        onRefreshToken = keeper;
        return this;
    }

    /**
     * Tells what happens, in order, on a thread of its own.
     *
     * @param receiver gets the events
     * @return this
     */
    public TokenSourceBuilder onEvent(Consumer<TokenEvent> receiver) {
        onEvent = receiver;
        return this;
    }

    /**
     * Makes the source. Nothing is called before the first {@link TokenSource#get()}.
     *
     * @return the source
     * @throws dev.jeton.errors.CredentialInvalidException if others can read the file of the refresh token
     */
    public TokenSource build() {
        RefreshTokenFile file = refreshTokenFile == null ? null : new RefreshTokenFile(refreshTokenFile);
        Secret kept = file == null ? null : file.read();
        Secret session = kept != null ? kept : refreshToken;
        if (subject.isEmpty() && session == null) {
            throw new IllegalArgumentException(
                    "a subject is needed, or a session that exists: refreshToken or refreshTokenFile");
        }
        SourceOptions options = new SourceOptions(
                subject,
                audiences,
                scopes,
                claims == null ? null : Values.struct(claims),
                ttl,
                refreshable,
                session,
                file,
                onRefreshToken);
        return new TokenSource(client, options, new EventTeller(onEvent));
    }
}
