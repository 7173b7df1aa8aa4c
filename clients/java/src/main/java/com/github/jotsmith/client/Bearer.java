package com.github.jotsmith.client;

import io.grpc.Attributes;
import io.grpc.CallCredentials;
import io.grpc.Grpc;
import io.grpc.Metadata;
import io.grpc.SecurityLevel;
import io.grpc.Status;
import java.io.IOException;
import java.io.InputStream;
import java.net.UnixDomainSocketAddress;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.concurrent.Executor;

/**
 * A token that makes the caller known: a text, or a file, which whoever wrote it may replace at any
 * time, as Kubernetes does.
 */
final class Bearer extends CallCredentials {
    static final Metadata.Key<String> AUTHORIZATION =
            Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER);

    /** The longest token that the server reads, in bytes. */
    private static final int LONGEST = 8 << 10;

    private final String token;
    private final Path file;

    Bearer(String token, Path file) {
        this.token = token;
        this.file = file;
    }

    /** Puts it into a call that goes over TLS or a Unix socket, and into no other. */
    @Override
    public void applyRequestMetadata(RequestInfo info, Executor executor, MetadataApplier applier) {
        executor.execute(() -> {
            try {
                if (!safe(info)) {
                    applier.fail(Status.UNAUTHENTICATED.withDescription("a bearer is not sent in plaintext"));
                    return;
                }
                Metadata headers = new Metadata();
                headers.put(AUTHORIZATION, "Bearer " + read());
                applier.apply(headers);
            } catch (IOException | IllegalArgumentException unreadable) {
                applier.fail(Status.UNAUTHENTICATED.withDescription(unreadable.getMessage()));
            }
        });
    }

    private static boolean safe(RequestInfo info) {
        Attributes transport = info.getTransportAttrs();
        return info.getSecurityLevel() == SecurityLevel.PRIVACY_AND_INTEGRITY
                || transport.get(Grpc.TRANSPORT_ATTR_REMOTE_ADDR) instanceof UnixDomainSocketAddress;
    }

    /**
     * The token as it is now.
     *
     * @throws IOException where the file cannot be read, with a message for people
     * @throws IllegalArgumentException where it holds anything else than a token
     */
    String read() throws IOException {
        if (file == null) {
            if (!alone(token)) {
                throw new IllegalArgumentException("bearer: not a token alone");
            }
            return token;
        }
        byte[] data;
        try {
            if (Files.exists(file) && !Files.isRegularFile(file)) { // a pipe could be read only once
                throw new IllegalArgumentException("bearer file: " + file + " is not a regular file");
            }
            try (InputStream in = Files.newInputStream(file)) {
                data = in.readNBytes(LONGEST + 2);
            }
        } catch (IOException e) {
            throw new IOException("bearer file: " + PemFiles.why(e), e);
        }
        if (data.length > LONGEST + 1) {
            throw new IllegalArgumentException("bearer file: " + file + " is longer than a token can be");
        }
        String text = new String(data, StandardCharsets.UTF_8).strip();
        if (!alone(text)) {
            throw new IllegalArgumentException("bearer file: " + file + " does not hold a token alone");
        }
        return text;
    }

    /** Whether a text can be a token and nothing else. */
    private static boolean alone(String text) {
        return !text.isEmpty() && text.chars().allMatch(c -> c > ' ' && c <= '~');
    }

    /** Nothing of the token. */
    @Override
    public String toString() {
        return "bearer " + (file == null ? "" : file) + " (redacted)";
    }
}
