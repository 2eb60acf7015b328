package dev.jeton;

import io.grpc.CallOptions;
import io.grpc.Channel;
import io.grpc.ClientCall;
import io.grpc.ForwardingClientCall.SimpleForwardingClientCall;
import io.grpc.ForwardingClientCallListener.SimpleForwardingClientCallListener;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import io.grpc.Status;

/** Calls at an endpoint of a client, with its credential, once. */
final class ClientChannel extends Channel {
    private final Client client;
    private final int skip;

    ClientChannel(Client client) {
        this(client, 0);
    }

    /** {@code skip}: so many places after the current endpoint. */
    ClientChannel(Client client, int skip) {
        this.client = client;
        this.skip = skip;
    }

    @Override
    public <Q, R> ClientCall<Q, R> newCall(MethodDescriptor<Q, R> method, CallOptions options) {
        Lanes lanes = client.calls().lanes;
        Lanes.Lane lane = lanes.take(client.groupOf(method).after(skip));
        return new SimpleForwardingClientCall<>(lane.channel.newCall(method, options)) {
            @Override
            public void start(Listener<R> listener, Metadata headers) {
                headers.merge(lane.headers());
                super.start(
                        new SimpleForwardingClientCallListener<>(listener) {
                            @Override
                            public void onClose(Status status, Metadata trailers) {
                                lanes.done(lane);
                                super.onClose(status, trailers);
                            }
                        },
                        headers);
            }
        };
    }

    @Override
    public String authority() {
        return client.groupOf(dev.jeton.v1.TokenServiceGrpc.getValidateMethod()).after(skip).address();
    }
}
