package com.github.jotsmith.client;

import java.util.Objects;
import java.util.Optional;

/** The outcome of one request of a batch: a token or an error. */
public final class BatchResult {
    private final Token token;
    private final JotsmithException error;

    private BatchResult(Token token, JotsmithException error) {
        this.token = token;
        this.error = error;
    }

    static BatchResult of(Token token) {
        return new BatchResult(Objects.requireNonNull(token), null);
    }

    static BatchResult of(JotsmithException error) {
        return new BatchResult(null, Objects.requireNonNull(error));
    }

    /**
     * The token.
     *
     * @throws JotsmithException the error, where there is none
     */
    public Token token() {
        if (error != null) {
            throw error;
        }
        return token;
    }

    /** Why there is no token; empty where there is one. */
    public Optional<JotsmithException> error() {
        return Optional.ofNullable(error);
    }

    @Override
    public String toString() {
        return error != null ? error.getMessage() : token.toString();
    }
}
