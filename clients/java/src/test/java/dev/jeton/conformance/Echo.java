package dev.jeton.conformance;

import com.google.protobuf.InvalidProtocolBufferException;
import com.google.protobuf.Struct;
import com.google.protobuf.util.JsonFormat;
import dev.jeton.Verdict;
import dev.jeton.conformance.v1.EchoRequest;
import dev.jeton.conformance.v1.EchoResponse;
import dev.jeton.conformance.v1.EchoServiceGrpc;
import dev.jeton.conformance.v1.WatchRequest;
import dev.jeton.conformance.v1.WatchResponse;
import io.grpc.stub.ServerCallStreamObserver;
import io.grpc.stub.StreamObserver;

/** Answers with what the guard told the handler. */
final class Echo extends EchoServiceGrpc.EchoServiceImplBase {
    @Override
    public void echo(EchoRequest request, StreamObserver<EchoResponse> out) {
        Verdict verdict = Verdict.current();
        Struct.Builder claims = Struct.newBuilder();
        try {
            JsonFormat.parser().merge(new com.google.gson.Gson().toJson(verdict.claims()), claims);
        } catch (InvalidProtocolBufferException impossible) {
            throw new IllegalStateException(impossible);
        }
        out.onNext(EchoResponse.newBuilder()
                .setText(request.getText())
                .setSubject(verdict.subject())
                .addAllAudiences(verdict.audiences())
                .addAllScopes(verdict.scopes())
                .setJti(verdict.jti())
                .setSessionId(verdict.sessionId())
                .setClientId(verdict.clientId())
                .setClaims(claims)
                .build());
        out.onCompleted();
    }

    /** Blocks its thread, as handlers do. */
    @Override
    public void watch(WatchRequest request, StreamObserver<WatchResponse> out) {
        var call = (ServerCallStreamObserver<WatchResponse>) out;
        for (long number = 1; !call.isCancelled(); number++) {
            call.onNext(WatchResponse.newBuilder().setNumber(number).build());
            try {
                Thread.sleep(50);
            } catch (InterruptedException ended) {
                return;
            }
        }
    }
}
