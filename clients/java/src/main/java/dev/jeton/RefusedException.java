package dev.jeton;

import io.grpc.StatusRuntimeException;

/** A call does not pass: {@link #refusal()} says what to answer. A guard turns it into that answer. */
public final class RefusedException extends StatusRuntimeException {
    private static final long serialVersionUID = 1;

    private final transient Refusal refusal;

    /**
     * For guards and handlers.
     *
     * @param refusal the answer
     */
    public RefusedException(Refusal refusal) {
        super(refusal.status(), refusal.trailers());
        this.refusal = refusal;
    }

    /**
     * What to answer.
     *
     * @return the answer
     */
    public Refusal refusal() {
        return refusal;
    }

    /** It is an answer, and no fault of the program: where it was made says nothing. */
    @Override
    public synchronized Throwable fillInStackTrace() {
        return this;
    }
}
