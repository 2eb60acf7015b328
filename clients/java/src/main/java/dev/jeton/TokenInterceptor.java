package dev.jeton;

import io.grpc.CallOptions;
import io.grpc.Channel;
import io.grpc.ClientCall;
import io.grpc.ClientInterceptor;
import io.grpc.MethodDescriptor;

/** Sends the token of a source with each call. */
final class TokenInterceptor implements ClientInterceptor {
    private final TokenSource source;

    TokenInterceptor(TokenSource source) {
        this.source = source;
    }

    @Override
    public <Q, R> ClientCall<Q, R> interceptCall(MethodDescriptor<Q, R> method, CallOptions options, Channel next) {
        return new TokenCall<>(source, method, options, next);
    }

    @Override
    public String toString() {
        return "TokenInterceptor[" + source + "]";
    }
}
