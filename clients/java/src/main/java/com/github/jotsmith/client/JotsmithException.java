package com.github.jotsmith.client;

import com.google.protobuf.Any;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.rpc.BadRequest;
import com.google.rpc.ErrorInfo;
import com.google.rpc.RetryInfo;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.protobuf.StatusProto;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CancellationException;
import java.util.concurrent.TimeoutException;

/**
 * Why there is no answer. Every error that comes from a call of a client is one.
 *
 * <p>The cause of one with {@code DEADLINE_EXCEEDED} is a {@link TimeoutException}, of one with
 * {@code CANCELLED} a {@link CancellationException}.
 */
public final class JotsmithException extends RuntimeException {
    private static final long serialVersionUID = 1L;

    private final Status.Code code;
    private final String reason;
    private final String text;
    private final Duration retryAfter;
    private final transient List<Violation> violations;

    private JotsmithException(
            Status.Code code,
            String reason,
            String text,
            Duration retryAfter,
            List<Violation> violations,
            Throwable cause) {
        super("jotsmith: " + (reason.isEmpty() ? code.name() : reason) + ": " + text, causeOf(code, text, cause));
        this.code = code;
        this.reason = reason;
        this.text = text;
        this.retryAfter = retryAfter;
        this.violations = List.copyOf(violations);
    }

    /** gRPC's code. */
    public Status.Code code() {
        return code;
    }

    /**
     * The server's reason, one of docs/errors.md. Empty where the server was not reached: then there is
     * nothing but the code. Whoever has waited for a token as long as he would, or until he was
     * interrupted, finds {@code DEADLINE_EXCEEDED} or {@code CANCELLED} here too.
     */
    public String reason() {
        return reason;
    }

    /** What to tell people, without the reason. It holds no token and no value of a claim. */
    public String text() {
        return text;
    }

    /** Whether the same call may succeed later. */
    public boolean retryable() {
        return switch (code) {
            case UNAVAILABLE, RESOURCE_EXHAUSTED, DEADLINE_EXCEEDED -> true;
            default -> false;
        };
    }

    /** After which the server asks to be asked again. Zero where it did not say. */
    public Duration retryAfter() {
        return retryAfter;
    }

    /** What is wrong with the request. Empty where nothing is. */
    public List<Violation> violations() {
        return violations == null ? List.of() : violations; // of a deserialised one
    }

    /** The same error, for another thread to throw. */
    JotsmithException again() {
        return new JotsmithException(code, reason, text, retryAfter, violations(), getCause());
    }

    /** The error that a failure of gRPC's is. */
    static JotsmithException from(Throwable failure) {
        if (failure instanceof JotsmithException known) {
            return known;
        }
        if (failure instanceof StatusRuntimeException known) {
            Status status = known.getStatus();
            try {
                return from(StatusProto.fromStatusAndTrailers(status, known.getTrailers()), known);
            } catch (IllegalArgumentException detailsOfAnotherStatus) {
                return from(StatusProto.fromStatusAndTrailers(status, null), known);
            }
        }
        return new JotsmithException(
                Status.Code.UNKNOWN, "", String.valueOf(failure.getMessage()), Duration.ZERO, List.of(), failure);
    }

    /** The error that a status in an answer says. */
    static JotsmithException from(com.google.rpc.Status status) {
        return from(status, null);
    }

    private static JotsmithException from(com.google.rpc.Status status, StatusRuntimeException cause) {
        Status.Code code = Status.fromCodeValue(status.getCode()).getCode();
        String reason = "";
        Duration retryAfter = Duration.ZERO;
        List<Violation> violations = new ArrayList<>();
        for (Any detail : status.getDetailsList()) {
            try {
                if (detail.is(ErrorInfo.class)) {
                    reason = detail.unpack(ErrorInfo.class).getReason();
                } else if (detail.is(RetryInfo.class)) {
                    var delay = detail.unpack(RetryInfo.class).getRetryDelay();
                    Duration said = Durations.of(delay);
                    retryAfter = said.isNegative() ? Duration.ZERO : said;
                } else if (detail.is(BadRequest.class)) {
                    for (var v : detail.unpack(BadRequest.class).getFieldViolationsList()) {
                        violations.add(new Violation(v.getField(), v.getDescription()));
                    }
                }
            } catch (InvalidProtocolBufferException unreadable) {
                // The code and the message say enough.
            }
        }
        return new JotsmithException(code, reason, textOf(status, cause), retryAfter, violations, cause);
    }

    /** The message, and where gRPC says no more than "io exception", what that was. */
    private static String textOf(com.google.rpc.Status status, StatusRuntimeException failure) {
        Throwable cause = failure == null ? null : failure.getStatus().getCause();
        if (cause == null) {
            return status.getMessage();
        }
        while (cause.getCause() != null && cause.getCause() != cause) {
            cause = cause.getCause();
        }
        String message = status.getMessage();
        String why = cause.getMessage();
        return why == null || message.contains(why) ? message : message.lines().findFirst().orElse("") + ": " + why;
    }

    /** The error of a call whose deadline has passed. */
    static JotsmithException late() {
        return local(Status.Code.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED", "the deadline has passed");
    }

    /** The error of a call that was given up. */
    static JotsmithException cancelled() {
        return local(Status.Code.CANCELLED, "CANCELLED", "the call was given up");
    }

    /** The error of every call of a client that is closed. */
    static JotsmithException closed() {
        return local(Status.Code.CANCELLED, "CANCELLED", "the client is closed");
    }

    /** The error of an answer that cannot be. */
    static JotsmithException internal(String text) {
        return local(Status.Code.INTERNAL, "", text);
    }

    /** The error of a request that is not sent. */
    static JotsmithException refused(String field, String description) {
        return new JotsmithException(
                Status.Code.INVALID_ARGUMENT,
                "INVALID_REQUEST",
                "request refused: " + field + " " + description,
                Duration.ZERO,
                List.of(new Violation(field, description)),
                null);
    }

    private static JotsmithException local(Status.Code code, String reason, String text) {
        return new JotsmithException(code, reason, text, Duration.ZERO, List.of(), null);
    }

    private static Throwable causeOf(Status.Code code, String text, Throwable cause) {
        if (code == Status.Code.DEADLINE_EXCEEDED && !(cause instanceof TimeoutException)) {
            return new TimeoutException(text).initCause(cause);
        }
        if (code == Status.Code.CANCELLED && !(cause instanceof CancellationException)) {
            return new CancellationException(text).initCause(cause);
        }
        return cause;
    }
}
