package dev.jeton;

import java.util.concurrent.ExecutorService;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.ThreadPoolExecutor;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;

/** Tells events to a receiver, in order, on a thread of its own: a slow or failing one holds up nothing. */
final class EventTeller {
    private static final System.Logger LOG = System.getLogger("dev.jeton");

    private final Consumer<TokenEvent> receiver;
    private final ExecutorService executor;

    /** {@code receiver} may be null. */
    EventTeller(Consumer<TokenEvent> receiver) {
        this.receiver = receiver;
        executor = receiver == null
                ? null
                : new ThreadPoolExecutor(
                        1, 1, 0, TimeUnit.SECONDS, new LinkedBlockingQueue<>(), new NamedThreads("jeton-events"));
    }

    void tell(TokenEvent event) {
        if (receiver == null) {
            return;
        }
        try {
            executor.execute(() -> {
                try {
                    receiver.accept(event);
                } catch (RuntimeException failed) {
                    LOG.log(System.Logger.Level.WARNING, "the receiver of events failed.", failed);
                }
            });
        } catch (RejectedExecutionException closed) {
            // The source was closed meanwhile.
            return;
        }
    }

    void close() {
        if (executor != null) {
            executor.shutdown();
            // A receiver may close its source: it does not wait for itself.
            if (!Thread.currentThread().getName().startsWith("jeton-events")) {
                NamedThreads.await(executor);
            }
            executor.shutdownNow();
        }
    }
}
