package dev.jeton.testing;

import dev.jeton.v1.BatchValidateRequest;
import dev.jeton.v1.BatchValidateResponse;
import dev.jeton.v1.GetCallerRequest;
import dev.jeton.v1.GetCallerResponse;
import dev.jeton.v1.IssueRequest;
import dev.jeton.v1.IssueResponse;
import dev.jeton.v1.RefreshRequest;
import dev.jeton.v1.RefreshResponse;
import dev.jeton.v1.RevokeRequest;
import dev.jeton.v1.RevokeResponse;
import dev.jeton.v1.StreamValidateRequest;
import dev.jeton.v1.StreamValidateResponse;
import dev.jeton.v1.TokenServiceGrpc;
import dev.jeton.v1.ValidateRequest;
import dev.jeton.v1.ValidateResponse;
import io.grpc.StatusRuntimeException;
import io.grpc.stub.StreamObserver;
import java.util.function.Supplier;

/** TokenService over the tokens of a double. */
final class FakeTokenService extends TokenServiceGrpc.TokenServiceImplBase {
    private final FakeTokens tokens;

    FakeTokenService(FakeTokens tokens) {
        this.tokens = tokens;
    }

    private <R> void answer(StreamObserver<R> out, Supplier<R> answer) {
        R made;
        try {
            tokens.require();
            made = answer.get();
        } catch (StatusRuntimeException refused) {
            out.onError(refused);
            return;
        }
        out.onNext(made);
        out.onCompleted();
    }

    @Override
    public void issue(IssueRequest request, StreamObserver<IssueResponse> out) {
        answer(out, () -> IssueResponse.newBuilder().setToken(tokens.issue(request)).build());
    }

    @Override
    public void refresh(RefreshRequest request, StreamObserver<RefreshResponse> out) {
        answer(out, () -> RefreshResponse.newBuilder().setToken(tokens.refresh(request)).build());
    }

    @Override
    public void validate(ValidateRequest request, StreamObserver<ValidateResponse> out) {
        answer(out, () -> ValidateResponse.newBuilder().setVerdict(tokens.judge(request)).build());
    }

    @Override
    public void batchValidate(BatchValidateRequest request, StreamObserver<BatchValidateResponse> out) {
        answer(out, () -> {
            BatchValidateResponse.Builder all = BatchValidateResponse.newBuilder();
            request.getRequestsList().forEach(each -> all.addVerdicts(tokens.judge(each)));
            return all.build();
        });
    }

    @Override
    public void revoke(RevokeRequest request, StreamObserver<RevokeResponse> out) {
        answer(out, () -> RevokeResponse.newBuilder().setOutcome(tokens.revoke(request.getTarget())).build());
    }

    @Override
    public void getCaller(GetCallerRequest request, StreamObserver<GetCallerResponse> out) {
        answer(out, () -> {
            GetCallerResponse.Builder caller = GetCallerResponse.newBuilder();
            caller.getClientBuilder().setClientId("fake");
            return caller.build();
        });
    }

    @Override
    public StreamObserver<StreamValidateRequest> streamValidate(StreamObserver<StreamValidateResponse> out) {
        return new StreamObserver<>() {
            private boolean over;

            @Override
            public void onNext(StreamValidateRequest request) {
                if (over) {
                    return;
                }
                try {
                    tokens.require();
                    out.onNext(StreamValidateResponse.newBuilder()
                            .setVerdict(tokens.judge(request.getRequest()))
                            .build());
                } catch (StatusRuntimeException refused) {
                    over = true;
                    out.onError(refused);
                }
            }

            @Override
            public void onError(Throwable ended) {
                over = true;
            }

            @Override
            public void onCompleted() {
                if (!over) {
                    out.onCompleted();
                }
            }
        };
    }
}
