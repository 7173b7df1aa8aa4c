package com.github.jotsmith.client;

import io.grpc.netty.shaded.io.grpc.netty.GrpcSslContexts;
import io.grpc.netty.shaded.io.netty.buffer.ByteBufAllocator;
import io.grpc.netty.shaded.io.netty.handler.ssl.ApplicationProtocolNegotiator;
import io.grpc.netty.shaded.io.netty.handler.ssl.SslContext;
import io.grpc.netty.shaded.io.netty.handler.ssl.SslContextBuilder;
import io.grpc.netty.shaded.io.netty.handler.ssl.SslProvider;
import java.io.IOException;
import java.nio.file.Path;
import java.security.GeneralSecurityException;
import java.security.PrivateKey;
import java.security.cert.X509Certificate;
import java.util.List;
import javax.net.ssl.SSLEngine;
import javax.net.ssl.SSLSessionContext;

/**
 * TLS 1.3 that reads its files for each connection, so that a certificate that was renewed counts
 * from the next one on. What cannot be read, because it is being written just then, leaves what was
 * read before. Each connection has a context of its own, so that none resumes the session of an
 * older one and with it the older certificate.
 */
final class FreshTls extends SslContext {
    private final Path ca;
    private final Path certificate;
    private final Path key;
    private volatile SslContext last;

    /**
     * Reads the files for the first time.
     *
     * @throws IllegalArgumentException where one of them cannot be read, or holds something else
     */
    FreshTls(Path ca, Path certificate, Path key) {
        this.ca = ca;
        this.certificate = certificate;
        this.key = key;
        if ((certificate == null) != (key == null)) {
            throw new IllegalArgumentException("a client certificate and its key go together");
        }
        last = read();
    }

    private SslContext read() {
        SslContextBuilder builder = GrpcSslContexts.configure(SslContextBuilder.forClient(), SslProvider.JDK)
                .protocols("TLSv1.3");
        try {
            if (ca != null) {
                builder.trustManager(PemFiles.certificates(ca));
            }
        } catch (IOException | GeneralSecurityException e) {
            throw unreadable("CA of the server", e);
        }
        try {
            if (certificate != null) {
                PrivateKey secret = PemFiles.privateKey(key);
                X509Certificate[] chain = PemFiles.certificates(certificate);
                if (!PemFiles.together(chain[0], secret)) {
                    throw new GeneralSecurityException(key + " is not the key of " + certificate);
                }
                builder.keyManager(secret, chain);
            }
            return builder.build();
        } catch (IOException | GeneralSecurityException | IllegalArgumentException e) {
            throw unreadable("client certificate", e);
        }
    }

    private static IllegalArgumentException unreadable(String what, Exception e) {
        String why = e instanceof IOException io ? PemFiles.why(io) : e.getMessage();
        return new IllegalArgumentException(what + ": " + why, e);
    }

    private SslContext fresh() {
        try {
            last = read();
        } catch (IllegalArgumentException beingWritten) {
            return last;
        }
        return last;
    }

    @Override
    public SSLEngine newEngine(ByteBufAllocator alloc) {
        return fresh().newEngine(alloc);
    }

    @Override
    public SSLEngine newEngine(ByteBufAllocator alloc, String peerHost, int peerPort) {
        return fresh().newEngine(alloc, peerHost, peerPort);
    }

    @Override
    public boolean isClient() {
        return true;
    }

    @Override
    public List<String> cipherSuites() {
        return last.cipherSuites();
    }

    @Override
    @SuppressWarnings("deprecation") // abstract in the class, and gRPC asks it
    public ApplicationProtocolNegotiator applicationProtocolNegotiator() {
        return last.applicationProtocolNegotiator();
    }

    @Override
    public SSLSessionContext sessionContext() {
        return last.sessionContext();
    }
}
