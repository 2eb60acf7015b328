package dev.jeton;

import dev.jeton.errors.ClosedException;
import dev.jeton.errors.ErrorDetails;
import io.grpc.Channel;
import io.grpc.ChannelCredentials;
import io.grpc.ConnectivityState;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.Status;
import java.util.HashMap;
import java.util.HashSet;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.TimeUnit;

/** One channel for each endpoint, made at its first use. */
final class Lanes {
    static final Metadata.Key<String> AUTHORIZATION =
            Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER);

    private static final int MESSAGE_MAX = 16 * 1024 * 1024;
    /** So often at most does a call to a server that is away cause an attempt to connect. */
    private static final long RECONNECT_EVERY = TimeUnit.MILLISECONDS.toNanos(100);

    /** A connection that takes longer to be made is begun anew. */
    static final long CONNECT_MAX = TimeUnit.SECONDS.toNanos(5);

    /** A channel, and how many calls use it: an old one is closed after its last call. */
    static final class Lane {
        final Channel channel;
        final Secret authorization;
        private final ManagedChannel managed;
        private final long version;
        private final long madeAt = System.nanoTime();
        private long connectsSince = madeAt;
        private int calls;
        private boolean old;

        private Lane(Channel channel, ManagedChannel managed, Credentials.Current credentials) {
            this.channel = channel;
            this.managed = managed;
            version = credentials.version();
            authorization = credentials.authorization();
        }

        /** What goes with each call. */
        Metadata headers() {
            Metadata headers = new Metadata();
            if (authorization != null) {
                headers.put(AUTHORIZATION, authorization.reveal());
            }
            return headers;
        }

        /** Whether a call goes out at once. */
        boolean isReady() {
            return managed == null || managed.getState(false) == ConnectivityState.READY;
        }

        /**
         * Whether its server could not be connected to. gRPC would connect again after a pause that grows to minutes; a
         * new channel connects at once.
         */
        private boolean isBroken() {
            if (managed == null) {
                return false;
            }
            long now = System.nanoTime();
            ConnectivityState state = managed.getState(false);
            if (state != ConnectivityState.CONNECTING) {
                connectsSince = now;
                return state == ConnectivityState.TRANSIENT_FAILURE && now - madeAt > RECONNECT_EVERY;
            }
            return now - connectsSince > CONNECT_MAX;
        }
    }

    private final Credentials credentials;
    private final Channel given;
    private final Map<Endpoint, Lane> lanes = new HashMap<>();
    private final Set<ManagedChannel> closing = new HashSet<>();
    private boolean closed;

    /** {@code given}: a channel of the user's, for all endpoints; or null. */
    Lanes(Credentials credentials, Channel given) {
        this.credentials = credentials;
        this.given = given;
    }

    /** The lane for one call, which {@link #done} follows. */
    Lane take(Endpoint endpoint) {
        Credentials.Current now = credentials.current();
        synchronized (this) {
            if (closed) {
                throw closed();
            }
            Lane lane = lanes.get(endpoint);
            if (lane == null || lane.version != now.version() || lane.isBroken()) {
                if (lane != null) {
                    retire(lane);
                }
                lane = make(endpoint, now);
                lanes.put(endpoint, lane);
            }
            lane.calls++;
            return lane;
        }
    }

    synchronized void done(Lane lane) {
        lane.calls--;
        if (lane.old && lane.calls == 0) {
            shutdown(lane);
        }
    }

    synchronized boolean isClosed() {
        return closed;
    }

    private Lane make(Endpoint endpoint, Credentials.Current now) {
        if (given != null) {
            return new Lane(given, null, now);
        }
        ChannelCredentials kind = endpoint.tls() ? now.tls() : InsecureChannelCredentials.create();
        ManagedChannel channel = Grpc.newChannelBuilder("dns:///" + endpoint.address(), kind)
                // Listeners of this library do not block.
                .directExecutor()
                .disableRetry()
                .disableServiceConfigLookUp()
                .keepAliveTime(10, TimeUnit.SECONDS)
                .keepAliveTimeout(5, TimeUnit.SECONDS)
                .maxInboundMessageSize(MESSAGE_MAX)
                .build();
        return new Lane(channel, channel, now);
    }

    private void retire(Lane lane) {
        lane.old = true;
        if (lane.calls == 0) {
            shutdown(lane);
        } else if (lane.managed != null) {
            closing.add(lane.managed);
        }
    }

    private void shutdown(Lane lane) {
        if (lane.managed != null) {
            lane.managed.shutdown();
            closing.removeIf(ManagedChannel::isTerminated);
            if (!lane.managed.isTerminated()) {
                closing.add(lane.managed);
            }
        }
    }

    /** Ends all channels and what runs on them. */
    void close() {
        Set<ManagedChannel> all;
        synchronized (this) {
            closed = true;
            for (Lane lane : lanes.values()) {
                if (lane.managed != null) {
                    closing.add(lane.managed);
                }
            }
            lanes.clear();
            all = new HashSet<>(closing);
            closing.clear();
        }
        all.forEach(ManagedChannel::shutdownNow);
        try {
            for (ManagedChannel channel : all) {
                channel.awaitTermination(5, TimeUnit.SECONDS);
            }
        } catch (InterruptedException interrupted) {
            Thread.currentThread().interrupt();
        }
    }

    static ClosedException closed() {
        return new ClosedException(ErrorDetails.of(Status.Code.CANCELLED, "The client is closed."));
    }
}
