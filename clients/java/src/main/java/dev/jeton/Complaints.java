package dev.jeton;

import dev.jeton.errors.JetonException;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.TimeUnit;

/** Tells the log of the server what is wrong with the guard's own calls, once a minute for each reason. */
final class Complaints {
    private static final System.Logger LOG = System.getLogger("dev.jeton");
    private static final long EVERY = TimeUnit.MINUTES.toNanos(1);

    private final Map<String, Long> told = new ConcurrentHashMap<>();

    void note(JetonException error) {
        String reason = error.reason().isEmpty() ? error.kind() : error.reason();
        long now = System.nanoTime();
        Long last = told.get(reason);
        if (last != null && now - last < EVERY) {
            return;
        }
        told.put(reason, now);
        System.Logger.Level level = error.isLasting() ? System.Logger.Level.ERROR : System.Logger.Level.WARNING;
        LOG.log(level, "calls are refused, because jeton gives the guard no verdict. {0}", error.getMessage());
    }
}
