package dev.jeton.errors;

import java.time.DateTimeException;
import java.time.Duration;
import java.time.Instant;
import java.util.Optional;
import java.util.OptionalLong;

/**
 * A refusal of jeton, with its {@link #reason()} and {@link #metadata()}. The message is the server's.
 */
public abstract class ServerException extends JetonException {
    private static final long serialVersionUID = 1;

    ServerException(ErrorDetails details) {
        super(details);
    }

    final Optional<String> text(String key) {
        return Optional.ofNullable(metadata().get(key));
    }

    final OptionalLong number(String key) {
        String value = metadata().get(key);
        try {
            return value == null ? OptionalLong.empty() : OptionalLong.of(Long.parseLong(value));
        } catch (NumberFormatException malformed) {
            return OptionalLong.empty();
        }
    }

    final Optional<Duration> seconds(String key) {
        OptionalLong value = number(key);
        return value.isPresent() ? Optional.of(Duration.ofSeconds(value.getAsLong())) : Optional.empty();
    }

    final Optional<Duration> millis(String key) {
        OptionalLong value = number(key);
        return value.isPresent() ? Optional.of(Duration.ofMillis(value.getAsLong())) : Optional.empty();
    }

    final Optional<Instant> instant(String key) {
        String value = metadata().get(key);
        try {
            return value == null ? Optional.empty() : Optional.of(Instant.parse(value));
        } catch (DateTimeException malformed) {
            return Optional.empty();
        }
    }
}
