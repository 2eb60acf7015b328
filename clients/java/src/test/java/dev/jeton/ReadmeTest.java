package dev.jeton;

import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;

class ReadmeTest {
    @Test
    void showsTheExampleThatTheChecksRun() throws IOException {
        String readme = Files.readString(Path.of("README.md"));
        String example = Files.readString(Path.of("examples/FirstToken.java"));
        assertTrue(readme.contains("```java\n" + example + "```"), "README.md shows another FirstToken");
        assertTrue(readme.contains("<version>0.1.0</version>"));
    }
}
