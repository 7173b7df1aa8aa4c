package com.github.jotsmith.client;

import java.io.IOException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Objects;
import java.util.function.UnaryOperator;

/**
 * The settings of a client. What is not set comes from the environment, where docs/clients.md names a
 * variable. Not for several threads.
 */
public final class ClientBuilder {
    private String address;
    private Path ca;
    private Path certificate;
    private Path key;
    private String serverName;
    private String bearer;
    private Path bearerFile;
    private boolean plaintextLoopback;
    private Duration timeout = Settings.DEFAULT_TIMEOUT;
    private int maxKept = Settings.DEFAULT_KEPT;

    ClientBuilder() {}

    /** Where the server is: {@code unix:///PATH} or {@code HOST:PORT} (JOTSMITH_ADDRESS). */
    public ClientBuilder address(String address) {
        this.address = Objects.requireNonNull(address, "address");
        return this;
    }

    /**
     * The PEM file of the CAs that the server's certificate must chain to (JOTSMITH_TLS_CA). Without
     * it they are the Java runtime's. It is read again for each connection.
     */
    public ClientBuilder ca(Path file) {
        this.ca = Objects.requireNonNull(file, "ca");
        return this;
    }

    /**
     * The PEM files of the client certificate and its key (JOTSMITH_TLS_CERT, JOTSMITH_TLS_KEY). They
     * are read again for each connection.
     */
    public ClientBuilder certificate(Path certificate, Path key) {
        this.certificate = certificate;
        this.key = key;
        return this;
    }

    /** The name in the server's certificate, if it is not HOST (JOTSMITH_TLS_SERVER_NAME). */
    public ClientBuilder serverName(String name) {
        this.serverName = Objects.requireNonNull(name, "serverName");
        return this;
    }

    /** A token that makes the caller known, as of Kubernetes or a CI system. */
    public ClientBuilder bearer(String token) {
        this.bearer = Objects.requireNonNull(token, "bearer");
        return this;
    }

    /** The file of such a token, read again for each call (JOTSMITH_BEARER_FILE). */
    public ClientBuilder bearerFile(Path file) {
        this.bearerFile = Objects.requireNonNull(file, "bearerFile");
        return this;
    }

    /**
     * For a server at 127.0.0.1:PORT or [::1]:PORT that has no TLS there: whoever listens there is
     * taken for the server (JOTSMITH_PLAINTEXT_LOOPBACK=true).
     */
    public ClientBuilder plaintextLoopback() {
        this.plaintextLoopback = true;
        return this;
    }

    /** How long a call takes at most, retries included, in place of ten seconds. */
    public ClientBuilder timeout(Duration timeout) {
        if (timeout.isNegative() || timeout.isZero()) {
            throw new IllegalArgumentException("the timeout is to be positive");
        }
        this.timeout = timeout;
        return this;
    }

    /** How many different requests have their tokens kept, in place of 1024. */
    public ClientBuilder maxKept(int requests) {
        if (requests < 1) {
            throw new IllegalArgumentException("maxKept is to be positive");
        }
        this.maxKept = requests;
        return this;
    }

    /**
     * Makes the client. Nobody is called yet: the first call makes the connection, and every later one
     * mends it.
     *
     * @throws IllegalArgumentException where the settings contradict each other, or a file cannot be
     *     read
     */
    public JotsmithClient connect() {
        return connect(System::getenv);
    }

    JotsmithClient connect(UnaryOperator<String> environment) {
        Settings settings = new Settings(
                        address, ca, certificate, key, serverName, bearer, bearerFile, plaintextLoopback, timeout, maxKept)
                .filled(environment);
        Bearer carried = null;
        if (settings.anyBearer()) {
            carried = new Bearer(settings.bearer(), settings.bearer() == null ? settings.bearerFile() : null);
            try {
                carried.read(); // what is wrong is better said before anybody is called
            } catch (IOException e) {
                throw new IllegalArgumentException(e.getMessage(), e);
            }
        }
        return new JotsmithClient(settings, carried);
    }
}
