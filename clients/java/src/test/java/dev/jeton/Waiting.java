package dev.jeton;

import static org.junit.jupiter.api.Assertions.fail;

import java.util.concurrent.Callable;
import java.util.concurrent.TimeUnit;

/** Waits for conditions: a machine that stalls for seconds fails no test. */
final class Waiting {
    private static final long PATIENCE = TimeUnit.MINUTES.toNanos(1);

    private Waiting() {}

    static void until(Callable<Boolean> condition) throws Exception {
        long begun = System.nanoTime();
        while (!condition.call()) {
            if (System.nanoTime() - begun > PATIENCE) {
                fail("the condition did not come to hold within a minute");
            }
            Thread.sleep(10);
        }
    }
}
