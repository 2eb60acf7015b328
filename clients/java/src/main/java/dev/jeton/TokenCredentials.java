package dev.jeton;

import io.grpc.CallCredentials;
import io.grpc.Metadata;
import io.grpc.Status;
import java.util.concurrent.Executor;

/** Gives gRPC the token of a source. A call that has to wait for one blocks no thread, and ends by its own deadline. */
final class TokenCredentials extends CallCredentials {
    private final TokenSource source;

    TokenCredentials(TokenSource source) {
        this.source = source;
    }

    @Override
    public void applyRequestMetadata(RequestInfo call, Executor executor, MetadataApplier applier) {
        source.getAsync(TokenSource.DEFAULT_DEADLINE).whenComplete((token, error) -> {
            if (token == null) {
                applier.fail(Peers.withoutToken(error));
                return;
            }
            try {
                Metadata headers = new Metadata();
                headers.put(Lanes.AUTHORIZATION, token.authorization());
                applier.apply(headers);
            } catch (RuntimeException unexpected) {
                applier.fail(Status.UNAVAILABLE.withDescription("The token cannot be sent."));
            }
        });
    }

    @Override
    public String toString() {
        return "TokenCredentials[" + source + "]";
    }
}
