package dev.jeton;

import dev.jeton.errors.EndpointInvalidException;
import dev.jeton.errors.ErrorDetails;
import io.grpc.Channel;
import io.grpc.Status;
import java.nio.file.Path;
import java.util.List;
import java.util.Objects;

/** Builds a {@link Client}. Each method returns the builder. */
public final class ClientBuilder {
    private final List<String> endpoints;
    private List<String> adminEndpoints = List.of();
    private Secret apiKey;
    private Path apiKeyFile;
    private Path caFile;
    private Path certFile;
    private Path keyFile;
    private boolean allowPlaintext;
    private Channel channel;
    private MonotonicClock clock = MonotonicClock.SYSTEM;

    private List<Endpoint> parsed;
    private List<Endpoint> parsedAdmin;
    private Credentials credentials;

    ClientBuilder(List<String> endpoints) {
        this.endpoints = endpoints;
    }

    /**
     * Where AdminService is served, if it is elsewhere.
     *
     * @param all endpoints, as for the others
     * @return this
     */
    public ClientBuilder adminEndpoints(String... all) {
        adminEndpoints = List.of(all);
        return this;
    }

    /**
     * The API key.
     *
     * @param key as jeton printed it
     * @return this
     */
    public ClientBuilder apiKey(Secret key) {
        apiKey = key;
        return this;
    }

    /**
     * The API key.
     *
     * @param key as jeton printed it
     * @return this
     */
    public ClientBuilder apiKey(String key) {
        // An empty text, as of a variable that is not set, is refused like any other that is no key.
        return apiKey(Secret.of(key == null || key.isEmpty() ? "-" : key));
    }

    /**
     * A file with the API key, which is read again when it changes.
     *
     * @param file the file
     * @return this
     */
    public ClientBuilder apiKeyFile(Path file) {
        apiKeyFile = file;
        return this;
    }

    /**
     * The certificates of the authorities that the server's certificate may come from, in place of the JDK's. All files
     * of TLS are PEM, and read again when they change.
     *
     * @param file the file
     * @return this
     */
    public ClientBuilder caFile(Path file) {
        caFile = file;
        return this;
    }

    /**
     * A client certificate and its key.
     *
     * @param certificate the file of the certificate, with its chain
     * @param key the file of its key, without a password
     * @return this
     */
    public ClientBuilder clientCertificate(Path certificate, Path key) {
        certFile = certificate;
        keyFile = key;
        return this;
    }

    /**
     * Lets the API key go to {@code http://} endpoints that are not on this machine, as within a mesh that encrypts.
     *
     * @return this
     */
    public ClientBuilder allowPlaintext() {
        allowPlaintext = true;
        return this;
    }

    /**
     * Uses a channel of one's own for all calls, in place of connections to the endpoints. It is not closed with the
     * client.
     *
     * @param own the channel
     * @return this
     */
    public ClientBuilder channel(Channel own) {
        channel = own;
        return this;
    }

    /**
     * The clock by which token sources renew. For tests.
     *
     * @param other the clock
     * @return this
     */
    public ClientBuilder clock(MonotonicClock other) {
        clock = Objects.requireNonNull(other);
        return this;
    }

    /**
     * Makes the client. Files are read; nothing is connected.
     *
     * @return the client
     * @throws EndpointInvalidException if a text is no endpoint, or the API key would go over plaintext
     * @throws dev.jeton.errors.CredentialInvalidException if a text or file holds no credential that can be used
     */
    public Client build() {
        if (apiKey != null && apiKeyFile != null) {
            throw new IllegalArgumentException("give apiKey or apiKeyFile");
        }
        parsed = Endpoint.parse(endpoints);
        parsedAdmin = adminEndpoints.isEmpty() ? List.of() : Endpoint.parse(adminEndpoints);
        var sources = new Credentials.Sources(apiKey, apiKeyFile, caFile, certFile, keyFile);
        for (List<Endpoint> all : List.of(parsed, parsedAdmin)) {
            for (Endpoint one : all) {
                if (sources.hasApiKey() && !one.tls() && !one.isLoopback() && !allowPlaintext && channel == null) {
                    String told = "The API key would go to " + one
                            + " in plaintext. Use https://, or allowPlaintext within a mesh.";
                    throw new EndpointInvalidException(
                            ErrorDetails.of(Status.Code.INVALID_ARGUMENT, told).at(one.toString()));
                }
            }
        }
        credentials = new Credentials(sources);
        return new Client(this);
    }

    List<Endpoint> endpoints() {
        return parsed;
    }

    List<Endpoint> adminEndpoints() {
        return parsedAdmin;
    }

    Credentials credentials() {
        return credentials;
    }

    Channel channel() {
        return channel;
    }

    MonotonicClock clock() {
        return clock;
    }
}
