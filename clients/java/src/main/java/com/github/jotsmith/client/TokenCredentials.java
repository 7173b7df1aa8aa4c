package com.github.jotsmith.client;

import io.grpc.CallCredentials;
import io.grpc.Metadata;
import io.grpc.SecurityLevel;
import io.grpc.Status;
import java.util.concurrent.Executor;
import java.util.concurrent.RejectedExecutionException;

/** Puts tokens into the calls to another gRPC service. */
final class TokenCredentials extends CallCredentials {
    private final Keeper keeper;
    private final TokenRequest request;
    private final Executor threads;

    /** Waits for tokens on the threads, since the call's own may be those that read the network. */
    TokenCredentials(Keeper keeper, TokenRequest request, Executor threads) {
        this.keeper = keeper;
        this.request = request;
        this.threads = threads;
    }

    @Override
    public void applyRequestMetadata(RequestInfo info, Executor executor, MetadataApplier applier) {
        if (info.getSecurityLevel() != SecurityLevel.PRIVACY_AND_INTEGRITY) { // a token is as good as a password
            applier.fail(Status.UNAUTHENTICATED.withDescription("a token is not sent in plaintext"));
            return;
        }
        try {
            threads.execute(() -> apply(info, applier));
        } catch (RejectedExecutionException closed) {
            applier.fail(statusOf(JotsmithException.closed()));
        }
    }

    private void apply(RequestInfo info, MetadataApplier applier) {
        try {
            Token token = keeper.token(request, info.getCallOptions().getDeadline());
            Metadata headers = new Metadata();
            headers.put(Bearer.AUTHORIZATION, "Bearer " + token.reveal());
            applier.apply(headers);
        } catch (JotsmithException e) {
            applier.fail(statusOf(e));
        }
    }

    /** The same code, so that who calls again where that helps does so here too. */
    private static Status statusOf(JotsmithException e) {
        return e.code().toStatus().withDescription(e.getMessage()).withCause(e);
    }

    @Override
    public String toString() {
        return "credentials of " + request;
    }
}
