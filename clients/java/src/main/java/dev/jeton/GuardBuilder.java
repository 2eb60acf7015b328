package dev.jeton;

import java.time.Duration;
import java.util.Collection;
import java.util.HashSet;
import java.util.List;
import java.util.Objects;
import java.util.Set;
import java.util.concurrent.Executor;

/** Builds a {@link Guard}. Each method returns the builder. */
public final class GuardBuilder {
    final Client client;
    List<String> audiences = List.of();
    List<String> scopes = List.of();
    Guard.Mode mode = Guard.Mode.UNARY;
    Duration deadline = Duration.ofSeconds(2);
    Duration recheck = Duration.ofSeconds(30);
    int maxWaiting = 1000;
    Executor executor;
    final Set<String> exceptions = new HashSet<>();

    GuardBuilder(Client client) {
        this.client = Objects.requireNonNull(client);
    }

    /**
     * The audiences that this server accepts; none: those of the client's registration.
     *
     * @param all of which a token must name one
     * @return this
     */
    public GuardBuilder audiences(String... all) {
        audiences = List.of(all);
        return this;
    }

    /**
     * The audiences that this server accepts.
     *
     * @param all of which a token must name one
     * @return this
     */
    public GuardBuilder audiences(Collection<String> all) {
        audiences = List.copyOf(all);
        return this;
    }

    /**
     * What every call needs. A handler asks for more by {@link Verdict#require}.
     *
     * @param all the scopes
     * @return this
     */
    public GuardBuilder scopes(String... all) {
        scopes = List.of(all);
        return this;
    }

    /**
     * How jeton is asked.
     *
     * @param how {@link Guard.Mode#STREAM} under load
     * @return this
     */
    public GuardBuilder mode(Guard.Mode how) {
        mode = Objects.requireNonNull(how);
        return this;
    }

    /**
     * How long a call waits for its verdict at most.
     *
     * @param duration 2 s unless given
     * @return this
     */
    public GuardBuilder deadline(Duration duration) {
        deadline = Objects.requireNonNull(duration);
        return this;
    }

    /**
     * How often a call that streams is judged again.
     *
     * @param duration 30 s unless given; zero: when its token expires, and never before
     * @return this
     */
    public GuardBuilder recheck(Duration duration) {
        recheck = Objects.requireNonNull(duration);
        return this;
    }

    /**
     * How many calls wait for a verdict at most, of {@link Guard.Mode#STREAM}; one more is refused at once.
     *
     * @param count 1000 unless given
     * @return this
     */
    public GuardBuilder maxWaiting(int count) {
        maxWaiting = count;
        return this;
    }

    /**
     * Lets methods of gRPC, or paths of HTTP, pass without a token, such as health checks.
     *
     * @param names as {@code grpc.health.v1.Health/Check}, or {@code /health}
     * @return this
     */
    public GuardBuilder exceptFor(String... names) {
        exceptions.addAll(List.of(names));
        return this;
    }

    /**
     * Where calls go on when their verdict has come. Unless given, the guard has threads of its own.
     *
     * @param own an executor whose threads may be blocked, as far as interceptors behind the guard block
     * @return this
     */
    public GuardBuilder executor(Executor own) {
        executor = own;
        return this;
    }

    /**
     * Makes the guard. Nothing is called before the first call comes.
     *
     * @return the guard
     */
    public Guard build() {
        return new Guard(this);
    }
}
