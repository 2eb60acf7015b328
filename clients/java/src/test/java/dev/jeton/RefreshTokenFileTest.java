package dev.jeton;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;

import dev.jeton.errors.CredentialInvalidException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class RefreshTokenFileTest {
    @TempDir
    Path directory;

    @Test
    void keepsTheLatestTokenForTheOwnerAlone() throws IOException {
        Path path = directory.resolve("session");
        RefreshTokenFile file = new RefreshTokenFile(path);
        assertNull(file.read());
        file.write(Secret.of("one"));
        file.write(Secret.of("two"));
        assertEquals(Secret.of("two"), file.read());
        assertEquals("rw-------", PosixFilePermissions.toString(Files.getPosixFilePermissions(path)));
        try (var left = Files.list(directory)) {
            assertEquals(1, left.count());
        }
        file.remove();
        assertNull(file.read());
    }

    @Test
    void refusesAFileThatOthersCanRead() throws IOException {
        Path path = directory.resolve("session");
        Files.writeString(path, "hidden");
        Files.setPosixFilePermissions(path, PosixFilePermissions.fromString("rw-r-----"));
        var error = assertThrows(CredentialInvalidException.class, () -> new RefreshTokenFile(path).read());
        assertEquals(path.toString(), error.file());
        assertEquals(-1, error.getMessage().indexOf("hidden"));
    }

    @Test
    void refusesALinkAndAnEmptyFile() throws IOException {
        Path target = directory.resolve("target");
        new RefreshTokenFile(target).write(Secret.of("one"));
        Path link = Files.createSymbolicLink(directory.resolve("link"), target);
        assertThrows(CredentialInvalidException.class, () -> new RefreshTokenFile(link).read());
        Files.writeString(target, "");
        assertThrows(CredentialInvalidException.class, () -> new RefreshTokenFile(target).read());
    }
}
