package dev.jeton.errors;

import com.google.protobuf.Any;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.rpc.ErrorInfo;
import com.google.rpc.RetryInfo;
import io.grpc.Metadata;
import io.grpc.Status;
import java.io.IOException;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.function.Function;

/** Reads what a status of gRPC means. */
final class Statuses {
    static final String DOMAIN = "jeton.v1";

    private static final Metadata.Key<byte[]> DETAILS =
            Metadata.Key.of("grpc-status-details-bin", Metadata.BINARY_BYTE_MARSHALLER);
    private static final int CAUSE_MAX = 300;
    /** "HTTP/" in hexadecimal: what Netty shows of an answer that is not HTTP/2. */
    private static final String HTTP_1 = "485454502f";

    private Statuses() {}

    static JetonException read(Status came, Metadata trailers, String endpoint) {
        // gRPC says UNKNOWN, too, when a connection breaks while a call is sent. No server's UNKNOWN has a cause here.
        Status status = came.getCode() == Status.Code.UNKNOWN && came.getCause() instanceof IOException
                ? Status.UNAVAILABLE.withDescription(came.getDescription()).withCause(came.getCause())
                : came;
        ErrorInfo info = null;
        Duration delay = null;
        for (Any detail : details(trailers)) {
            try {
                if (detail.is(ErrorInfo.class)) {
                    info = detail.unpack(ErrorInfo.class);
                } else if (detail.is(RetryInfo.class)) {
                    var told = detail.unpack(RetryInfo.class).getRetryDelay();
                    delay = Duration.ofSeconds(told.getSeconds(), told.getNanos());
                }
            } catch (InvalidProtocolBufferException | ArithmeticException malformed) {
                // Whatever a peer sends, reading it does not fail.
                continue;
            }
        }
        String said = status.getDescription() == null ? "" : status.getDescription();
        if (info != null && info.getDomain().equals(DOMAIN)) {
            Function<ErrorDetails, JetonException> made =
                    Kinds.OF_REASONS.getOrDefault(info.getReason(), UnknownReasonException::new);
            return made.apply(new ErrorDetails(
                    said, status.getCode(), info.getReason(), info.getMetadataMap(), delay, endpoint, ""));
        }
        JetonException error = untold(status, said, delay, endpoint);
        if (status.getCause() != null) {
            error.initCause(status.getCause());
        }
        return error;
    }

    private static JetonException untold(Status status, String said, Duration delay, String endpoint) {
        Status.Code code = status.getCode();
        String place = endpoint.isEmpty() ? "the server" : endpoint;
        String cause = cause(status, said);
        if (code == Status.Code.DEADLINE_EXCEEDED) {
            String told = "No answer came from " + place + " before the deadline. What was asked may have been done.";
            return new DeadlineExceededException(ErrorDetails.of(code, told).at(endpoint));
        }
        boolean speaksHttp1 = cause.contains(HTTP_1);
        if (code == Status.Code.UNAVAILABLE && !speaksHttp1) {
            String told = "Nothing answers at " + place + ": " + cause
                    + ". Check the address, and whether it speaks TLS.";
            return new UnreachableException(new ErrorDetails(told, code, "", Map.of(), delay, endpoint, ""));
        }
        boolean noGrpc = said.contains("invalid content-type") || said.contains("HTTP status code");
        if (code == Status.Code.UNIMPLEMENTED || speaksHttp1 || noGrpc) {
            String told = "What answers at " + place + " does not serve this call: " + cause
                    + ". It is no jeton, or too old.";
            return new NotJetonException(ErrorDetails.of(code, told).at(endpoint));
        }
        String told = said.isEmpty() ? code.name() : said;
        return new UnexpectedErrorException(new ErrorDetails(told, code, "", Map.of(), delay, endpoint, ""));
    }

    private static Iterable<Any> details(Metadata trailers) {
        byte[] bytes = trailers == null ? null : trailers.get(DETAILS);
        if (bytes == null) {
            return List.of();
        }
        try {
            return com.google.rpc.Status.parseFrom(bytes).getDetailsList();
        } catch (InvalidProtocolBufferException malformed) {
            return List.of();
        }
    }

    /** What gRPC said, and why: the last cause is the one that names the fault. */
    private static String cause(Status status, String said) {
        Throwable last = status.getCause();
        for (int depth = 0; last != null && last.getCause() != null && depth < 10; depth++) {
            last = last.getCause();
        }
        String why = last == null || last.getMessage() == null ? "" : last.getMessage();
        String both = why.isEmpty() || said.contains(why) ? said : said.isEmpty() ? why : said + ", " + why;
        String line = both.replaceAll("\\s+", " ").strip();
        while (line.endsWith(".")) {
            line = line.substring(0, line.length() - 1);
        }
        if (line.length() > CAUSE_MAX) {
            line = line.substring(0, CAUSE_MAX);
        }
        return line.isEmpty() ? "no cause is given" : line;
    }
}
