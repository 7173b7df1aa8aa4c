package com.github.jotsmith.client;

import java.nio.file.Path;
import java.time.Duration;
import java.util.function.UnaryOperator;

/**
 * How a client reaches its server and what it keeps. Null means not set.
 *
 * @param address {@code unix:///PATH} or {@code HOST:PORT}
 * @param timeout how long a call takes at most, retries included
 * @param maxKept how many different requests have their tokens kept
 */
record Settings(
        String address,
        Path ca,
        Path certificate,
        Path key,
        String serverName,
        String bearer,
        Path bearerFile,
        boolean plaintextLoopback,
        Duration timeout,
        int maxKept) {
    static final String DEFAULT_ADDRESS = "unix:///run/jotsmith/jotsmith.sock";
    static final Duration DEFAULT_TIMEOUT = Duration.ofSeconds(10);
    static final int DEFAULT_KEPT = 1024;

    /**
     * The same with what is not set taken from the environment. A Unix socket takes nothing of TLS
     * from there, which may be there for another server.
     */
    Settings filled(UnaryOperator<String> environment) {
        String at = first(address, first(variable(environment, "JOTSMITH_ADDRESS"), DEFAULT_ADDRESS));
        boolean tls = !at.startsWith("unix:");
        boolean identity = tls && certificate == null && key == null;
        return new Settings(
                at,
                tls ? first(ca, path(environment, "JOTSMITH_TLS_CA")) : ca,
                identity ? path(environment, "JOTSMITH_TLS_CERT") : certificate,
                identity ? path(environment, "JOTSMITH_TLS_KEY") : key,
                tls ? first(serverName, variable(environment, "JOTSMITH_TLS_SERVER_NAME")) : serverName,
                bearer,
                bearer == null ? first(bearerFile, path(environment, "JOTSMITH_BEARER_FILE")) : bearerFile,
                plaintextLoopback || "true".equals(variable(environment, "JOTSMITH_PLAINTEXT_LOOPBACK")),
                timeout,
                maxKept);
    }

    boolean anyTls() {
        return ca != null || certificate != null || key != null || serverName != null;
    }

    boolean anyBearer() {
        return bearer != null || bearerFile != null;
    }

    private static <T> T first(T value, T otherwise) {
        return value != null ? value : otherwise;
    }

    /** A variable's value; an empty one is as good as none. */
    private static String variable(UnaryOperator<String> environment, String name) {
        String value = environment.apply(name);
        return value == null || value.isEmpty() ? null : value;
    }

    private static Path path(UnaryOperator<String> environment, String name) {
        String value = variable(environment, name);
        return value == null ? null : Path.of(value);
    }

    /** Nothing of it: there may be a token in it. */
    @Override
    public String toString() {
        return "settings for " + address;
    }
}
