package dev.jeton;

import dev.jeton.errors.CredentialInvalidException;
import dev.jeton.errors.ErrorDetails;
import io.grpc.Status;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.FileSystems;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.FileAttribute;
import java.nio.file.attribute.PosixFilePermission;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.EnumSet;
import java.util.HashSet;
import java.util.Set;

/** A refresh token kept across restarts: a file of mode 0600, always whole. */
final class RefreshTokenFile {
    private static final Set<PosixFilePermission> OWNER =
            EnumSet.of(PosixFilePermission.OWNER_READ, PosixFilePermission.OWNER_WRITE);
    private static final boolean HAS_MODES =
            FileSystems.getDefault().supportedFileAttributeViews().contains("posix");

    private final Path path;

    RefreshTokenFile(Path path) {
        this.path = path.toAbsolutePath();
    }

    /** The token that is kept; null if there is no file. */
    Secret read() {
        String text;
        try {
            if (!Files.exists(path, LinkOption.NOFOLLOW_LINKS)) {
                return null;
            }
            if (!Files.isRegularFile(path, LinkOption.NOFOLLOW_LINKS)) {
                throw invalid("is no plain file");
            }
            if (HAS_MODES) {
                Set<PosixFilePermission> mode =
                        new HashSet<>(Files.getPosixFilePermissions(path, LinkOption.NOFOLLOW_LINKS));
                mode.removeAll(OWNER);
                mode.remove(PosixFilePermission.OWNER_EXECUTE);
                if (!mode.isEmpty()) {
                    throw invalid("can be read by others than its owner: make its mode 0600");
                }
            }
            text = Files.readString(path, StandardCharsets.ISO_8859_1).strip();
        } catch (NoSuchFileException gone) {
            return null;
        } catch (IOException error) {
            throw invalid("cannot be read: " + error.getClass().getSimpleName());
        }
        if (text.isEmpty()) {
            throw invalid("is empty: remove it");
        }
        return Secret.of(text);
    }

    /** Replaces the file by a whole new one. */
    void write(Secret token) throws IOException {
        FileAttribute<?>[] mode = HAS_MODES
                ? new FileAttribute<?>[] {PosixFilePermissions.asFileAttribute(OWNER)}
                : new FileAttribute<?>[0];
        Path written = Files.createTempFile(path.getParent(), "." + path.getFileName() + ".", "", mode);
        try {
            try (FileChannel file = FileChannel.open(written, StandardOpenOption.WRITE)) {
                ByteBuffer bytes = ByteBuffer.wrap((token.reveal() + "\n").getBytes(StandardCharsets.ISO_8859_1));
                while (bytes.hasRemaining()) {
                    file.write(bytes);
                }
                file.force(true);
            }
            Files.move(written, path, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
        } catch (IOException | RuntimeException error) {
            Files.deleteIfExists(written);
            throw error;
        }
    }

    /** The session is over. */
    void remove() throws IOException {
        Files.deleteIfExists(path);
    }

    private CredentialInvalidException invalid(String why) {
        String told = "The file of the refresh token, " + path + ", " + why + ".";
        return new CredentialInvalidException(
                ErrorDetails.of(Status.Code.FAILED_PRECONDITION, told).because(path.toString()));
    }
}
