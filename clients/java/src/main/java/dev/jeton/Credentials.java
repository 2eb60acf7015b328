package dev.jeton;

import dev.jeton.errors.CredentialInvalidException;
import dev.jeton.errors.ErrorDetails;
import io.grpc.ChannelCredentials;
import io.grpc.Status;
import io.grpc.TlsChannelCredentials;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.BasicFileAttributes;
import java.security.GeneralSecurityException;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.ReentrantLock;
import java.util.regex.Pattern;

/** The credentials of a client, which follow their files. */
final class Credentials {
    private static final System.Logger LOG = System.getLogger("dev.jeton");
    private static final Pattern API_KEY = Pattern.compile("jtk_[A-Za-z0-9]{1,64}_[A-Za-z0-9_-]{20,128}");
    private static final long LOOK_EVERY = TimeUnit.SECONDS.toNanos(1);

    /** Where they are; each may be null. */
    record Sources(Secret apiKey, Path apiKeyFile, Path caFile, Path certFile, Path keyFile) {
        List<Path> files() {
            List<Path> all = new ArrayList<>();
            for (Path path : new Path[] {apiKeyFile, caFile, certFile, keyFile}) {
                if (path != null) {
                    all.add(path);
                }
            }
            return all;
        }

        boolean hasApiKey() {
            return apiKey != null || apiKeyFile != null;
        }
    }

    /** What was read; {@code version} grows with each change. */
    record Current(long version, Secret authorization, ChannelCredentials tls) {}

    private final Sources sources;
    private final List<Path> files;
    private final ReentrantLock looking = new ReentrantLock();
    private List<Object> stamps;
    private volatile long lookedAt;
    private volatile Current current;

    Credentials(Sources sources) {
        this.sources = sources;
        files = sources.files();
        stamps = stamps();
        current = read(sources, 0);
        lookedAt = System.nanoTime();
    }

    /** The credentials now. Looks at the files, at most once a second; what does not fit together changes nothing. */
    Current current() {
        if (files.isEmpty() || System.nanoTime() - lookedAt < LOOK_EVERY || !looking.tryLock()) {
            return current;
        }
        try {
            lookedAt = System.nanoTime();
            List<Object> found = stamps();
            if (!found.equals(stamps)) {
                stamps = found;
                current = read(sources, current.version + 1);
            }
        } catch (CredentialInvalidException error) {
            LOG.log(
                    System.Logger.Level.WARNING,
                    "changed credentials cannot be used, the old ones stay in use. {0}",
                    error.getMessage());
        } finally {
            looking.unlock();
        }
        return current;
    }

    private List<Object> stamps() {
        List<Object> found = new ArrayList<>();
        for (Path file : files) {
            try {
                BasicFileAttributes seen = Files.readAttributes(file, BasicFileAttributes.class);
                found.add(List.of(seen.size(), seen.lastModifiedTime(), Objects.toString(seen.fileKey())));
            } catch (IOException absent) {
                found.add("absent");
            }
        }
        return found;
    }

    private static Current read(Sources sources, long version) {
        return new Current(version, authorization(sources), tls(sources));
    }

    private static Secret authorization(Sources sources) {
        String key = null;
        Path file = sources.apiKeyFile;
        if (file != null) {
            try {
                key = new String(Files.readAllBytes(file), StandardCharsets.UTF_8).strip();
            } catch (IOException error) {
                throw invalid("The file " + file + " cannot be read", error, file);
            }
        } else if (sources.apiKey != null) {
            key = sources.apiKey.reveal();
        }
        if (key == null) {
            return null;
        }
        if (!API_KEY.matcher(key).matches()) {
            String where = file == null ? "The text" : "The file " + file;
            throw invalid(where + " holds no API key. Give one as jeton printed it: jtk_…", file);
        }
        return Secret.of("Bearer " + key);
    }

    private static ChannelCredentials tls(Sources sources) {
        TlsChannelCredentials.Builder builder = TlsChannelCredentials.newBuilder();
        if (sources.caFile != null) {
            try {
                builder.trustManager(Pem.trust(sources.caFile));
            } catch (IOException | GeneralSecurityException error) {
                throw invalid("The file " + sources.caFile + " holds no certificate in PEM that can be read", error,
                        sources.caFile);
            }
        }
        if ((sources.certFile == null) != (sources.keyFile == null)) {
            throw invalid("A client certificate needs both, certFile and keyFile.", null);
        }
        if (sources.certFile != null) {
            try {
                builder.keyManager(Pem.identity(sources.certFile, sources.keyFile));
            } catch (IOException | GeneralSecurityException error) {
                String told = "The certificate " + sources.certFile + " and the key " + sources.keyFile
                        + " cannot be used together, both in PEM";
                throw invalid(told, error, sources.certFile);
            }
        }
        return builder.build();
    }

    private static CredentialInvalidException invalid(String told, Exception cause, Path file) {
        // Messages of parsers may quote what they read.
        String kind = cause instanceof IOException ? cause.getClass().getSimpleName() : "it has another form";
        CredentialInvalidException error = invalid(told + ": " + kind + ".", file);
        return error;
    }

    private static CredentialInvalidException invalid(String told, Path file) {
        String path = file == null ? "" : file.toString();
        return new CredentialInvalidException(ErrorDetails.of(Status.Code.INVALID_ARGUMENT, told).because(path));
    }
}
