package com.github.jotsmith.client;

import java.io.IOException;
import java.net.Authenticator;
import java.net.CookieHandler;
import java.net.ProxySelector;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.net.http.WebSocket;
import java.time.Duration;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.Executor;
import java.util.concurrent.RejectedExecutionException;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLParameters;

/**
 * An HTTP client that puts tokens into the requests of another. It follows redirects itself: the
 * other would take the token along wherever they lead.
 */
final class TokenHttpClient extends HttpClient {
    private final HttpClient base;
    private final Redirect redirects;
    private final Keeper keeper;
    private final TokenRequest request;
    private final Executor threads;

    private TokenHttpClient(
            HttpClient base, Redirect redirects, Keeper keeper, TokenRequest request, Executor threads) {
        this.base = base;
        this.redirects = redirects;
        this.keeper = keeper;
        this.request = request;
        this.threads = threads;
    }

    /** Builds one of the settings, which are the same afterwards. Asynchronous requests wait for tokens on the threads. */
    static HttpClient of(Keeper keeper, TokenRequest request, HttpClient.Builder settings, Executor threads) {
        HttpClient base = settings.build();
        Redirect redirects = base.followRedirects();
        if (redirects != Redirect.NEVER) {
            base = settings.followRedirects(Redirect.NEVER).build();
            settings.followRedirects(redirects);
        }
        return new TokenHttpClient(base, redirects, keeper, request, threads);
    }

    @Override
    public <T> HttpResponse<T> send(HttpRequest program, HttpResponse.BodyHandler<T> handler)
            throws IOException, InterruptedException {
        try {
            TokenExchange<T> exchange = new TokenExchange<>(keeper, request, redirects, program, handler);
            while (true) {
                Optional<HttpResponse<T>> done =
                        exchange.after(base.send(exchange.request(), exchange.handler()));
                if (done.isPresent()) {
                    return done.get();
                }
            }
        } catch (JotsmithException e) {
            if (Thread.interrupted()) { // which is how an HttpClient says so
                throw (InterruptedException) new InterruptedException(e.getMessage()).initCause(e);
            }
            throw failed(e);
        }
    }

    @Override
    public <T> CompletableFuture<HttpResponse<T>> sendAsync(
            HttpRequest program, HttpResponse.BodyHandler<T> handler) {
        return sendAsync(program, handler, null);
    }

    @Override
    public <T> CompletableFuture<HttpResponse<T>> sendAsync(
            HttpRequest program, HttpResponse.BodyHandler<T> handler, HttpResponse.PushPromiseHandler<T> pushed) {
        HttpResponse.PushPromiseHandler<Held<T>> held = pushed == null ? null : Held.pushed(pushed);
        try {
            return CompletableFuture.supplyAsync(() -> begin(program, handler), threads)
                    .thenCompose(exchange -> go(exchange, held));
        } catch (RejectedExecutionException closed) {
            return CompletableFuture.failedFuture(failed(JotsmithException.closed()));
        }
    }

    private <T> TokenExchange<T> begin(HttpRequest program, HttpResponse.BodyHandler<T> handler) {
        try {
            return new TokenExchange<>(keeper, request, redirects, program, handler);
        } catch (JotsmithException e) {
            throw new CompletionException(failed(e));
        }
    }

    /** What a program expects of a request that fails. */
    private static IOException failed(JotsmithException e) {
        return new IOException(e.getMessage(), e);
    }

    private <T> CompletableFuture<HttpResponse<T>> go(
            TokenExchange<T> exchange, HttpResponse.PushPromiseHandler<Held<T>> pushed) {
        return base.sendAsync(exchange.request(), exchange.handler(), pushed)
                .thenApplyAsync(exchange::after, threads)
                .thenCompose(done -> done.map(CompletableFuture::completedFuture)
                        .orElseGet(() -> go(exchange, pushed)));
    }

    @Override
    public Redirect followRedirects() {
        return redirects;
    }

    @Override
    public Optional<CookieHandler> cookieHandler() {
        return base.cookieHandler();
    }

    @Override
    public Optional<Duration> connectTimeout() {
        return base.connectTimeout();
    }

    @Override
    public Optional<ProxySelector> proxy() {
        return base.proxy();
    }

    @Override
    public SSLContext sslContext() {
        return base.sslContext();
    }

    @Override
    public SSLParameters sslParameters() {
        return base.sslParameters();
    }

    @Override
    public Optional<Authenticator> authenticator() {
        return base.authenticator();
    }

    @Override
    public Version version() {
        return base.version();
    }

    @Override
    public Optional<Executor> executor() {
        return base.executor();
    }

    /** As the other's: a web socket gets no token. */
    @Override
    public WebSocket.Builder newWebSocketBuilder() {
        return base.newWebSocketBuilder();
    }
}
