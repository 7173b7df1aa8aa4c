package com.github.jotsmith.client;

import com.github.jotsmith.v1.BatchMintTokensRequest;
import com.github.jotsmith.v1.BatchMintTokensResponse;
import com.github.jotsmith.v1.BatchMintTokensResult;
import com.github.jotsmith.v1.ExplainTokenRequest;
import com.github.jotsmith.v1.ExplainTokenResponse;
import com.github.jotsmith.v1.KeyServiceGrpc;
import com.github.jotsmith.v1.ListKeysRequest;
import com.github.jotsmith.v1.TokenServiceGrpc;
import io.grpc.CallCredentials;
import io.grpc.Channel;
import io.grpc.Deadline;
import java.net.http.HttpClient;
import java.security.GeneralSecurityException;
import java.security.KeyFactory;
import java.security.interfaces.ECPublicKey;
import java.security.spec.X509EncodedKeySpec;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicReference;

/**
 * Gets tokens from a server. It is safe for concurrent use, from virtual threads too; a program needs
 * one for each server, and closes it when done.
 *
 * <p>Every error of a call is a {@link JotsmithException}. A call takes at most the client's timeout,
 * or the Duration that it is given, where that is shorter; whoever waits in one can be interrupted,
 * gets {@code CANCELLED}, and finds his thread's interrupt set.
 */
public final class JotsmithClient implements AutoCloseable {
    private final Channels.Opened opened;
    private final Calls calls;
    private final Keeper keeper;
    private final ExecutorService threads;
    private final Set<Watch> watches = ConcurrentHashMap.newKeySet();

    JotsmithClient(Settings settings, CallCredentials bearer) {
        opened = Channels.open(settings);
        calls = new Calls(opened.channel(), bearer, settings.timeout());
        threads = Executors.newCachedThreadPool(task -> {
            Thread thread = new Thread(task, "jotsmith");
            thread.setDaemon(true); // a program that forgets to close ends all the same
            return thread;
        });
        keeper = new Keeper(calls::mint, settings.timeout(), settings.maxKept(), Reading::now, threads);
    }

    /**
     * A client of the server that the environment names, {@code unix:///run/jotsmith/jotsmith.sock}
     * where it names none. Nobody is called yet.
     *
     * @throws IllegalArgumentException where a setting of the environment's is wrong, or a file that
     *     it names cannot be read
     */
    public static JotsmithClient connect() {
        return builder().connect();
    }

    /** A client of the server at an address; see {@link ClientBuilder#address}. */
    public static JotsmithClient connect(String address) {
        return builder().address(address).connect();
    }

    /** Settings of a client. What is not set comes from the environment. */
    public static ClientBuilder builder() {
        return new ClientBuilder();
    }

    /**
     * Returns a token of a profile: the one that is kept, until its refresh time, or a new one. It
     * asks the server once however many ask for it. While the server is away it returns the old one as
     * long as that has its margin, half of the time between its refresh and its end. A token that is
     * for one use is never kept, and no two callers get the same.
     *
     * @throws JotsmithException where there is none
     */
    public Token token(String profile) {
        return token(TokenRequest.of(profile));
    }

    /** As {@link #token(String)}, with claims and more. */
    public Token token(TokenRequest request) {
        return keeper.token(request, null);
    }

    /** As {@link #token(TokenRequest)}, for a caller who waits no longer than that. */
    public Token token(TokenRequest request, Duration timeout) {
        return keeper.token(request, Calls.after(timeout));
    }

    /**
     * Forgets the tokens of a profile, those of calls under way too. The next call of token asks the
     * server, which may answer with the same one.
     */
    public void invalidate(String profile) {
        keeper.invalidate(profile);
    }

    /**
     * Asks for up to 256 tokens at once and returns a result for each request, in their order. Nothing
     * of it is kept.
     *
     * @throws JotsmithException where the call as a whole fails
     */
    public List<BatchResult> batch(List<TokenRequest> requests) {
        return batch(requests, calls.timeout());
    }

    /** As {@link #batch(List)}, for a caller who waits no longer than that. */
    public List<BatchResult> batch(List<TokenRequest> requests, Duration timeout) {
        BatchMintTokensRequest.Builder message = BatchMintTokensRequest.newBuilder();
        requests.forEach(request -> message.addRequests(request.message()));
        Deadline deadline = calls.deadline(Calls.after(timeout));
        AtomicReference<Reading> asked = new AtomicReference<>();
        BatchMintTokensResponse answer = calls.unary(
                TokenServiceGrpc.getBatchMintTokensMethod(), message.build(), deadline, asked::set);
        if (answer.getResultsCount() != requests.size()) {
            throw JotsmithException.internal(
                    answer.getResultsCount() + " results for " + requests.size() + " requests");
        }
        List<BatchResult> results = new ArrayList<>();
        for (BatchMintTokensResult result : answer.getResultsList()) {
            results.add(result.hasToken()
                    ? BatchResult.of(Token.received(result.getToken(), asked.get()))
                    : BatchResult.of(JotsmithException.from(result.getError())));
        }
        return List.copyOf(results);
    }

    /** A token at once, and each that replaces it, until the watch is closed, which the caller does. */
    public Watch watch(String profile) {
        return watch(TokenRequest.of(profile));
    }

    /** As {@link #watch(String)}, with claims and more. */
    public Watch watch(TokenRequest request) {
        Watch watch = new Watch(calls, request, watches::remove);
        watches.add(watch);
        if (calls.closed()) {
            watch.clientClosed();
        }
        return watch;
    }

    /**
     * Says what token would get from the server. Nothing is signed or kept.
     *
     * @throws JotsmithException where the server does not say; why there would be no token is in the
     *     answer
     */
    public Explanation explain(TokenRequest request) {
        return explain(request, calls.timeout());
    }

    /** As {@link #explain(TokenRequest)}, for a caller who waits no longer than that. */
    public Explanation explain(TokenRequest request, Duration timeout) {
        ExplainTokenRequest message =
                ExplainTokenRequest.newBuilder().setRequest(request.message()).build();
        ExplainTokenResponse answer = calls.unary(
                TokenServiceGrpc.getExplainTokenMethod(), message, calls.deadline(Calls.after(timeout)));
        return new Explanation(
                answer.getGrant(),
                answer.getRefusalsList().stream().map(JotsmithException::from).toList(),
                answer.getHeader(),
                answer.getClaims(),
                answer.getDecisionsList().stream()
                        .map(d -> new Explanation.Decision(d.getName(), d.getRule(), d.getDoc(), d.getPresent()))
                        .toList(),
                answer.hasTtl() ? Optional.of(Durations.of(answer.getTtl())) : Optional.empty(),
                List.copyOf(answer.getLimitsList()),
                answer.getConfigGeneration());
    }

    /**
     * The keys of all profiles that the caller may mint.
     *
     * @throws JotsmithException where there is no answer
     */
    public List<Key> keys() {
        return keys("");
    }

    /** The key of one profile; of all that the caller may mint, where the name is empty. */
    public List<Key> keys(String profile) {
        return keys(profile, calls.timeout());
    }

    /** As {@link #keys(String)}, for a caller who waits no longer than that. */
    public List<Key> keys(String profile, Duration timeout) {
        ListKeysRequest message =
                ListKeysRequest.newBuilder().setProfile(TokenRequest.profile(profile)).build();
        return calls
                .unary(KeyServiceGrpc.getListKeysMethod(), message, calls.deadline(Calls.after(timeout)))
                .getKeysList()
                .stream()
                .map(JotsmithClient::key)
                .toList();
    }

    private static Key key(com.github.jotsmith.v1.Key k) {
        try {
            var spki = new X509EncodedKeySpec(k.getSpki().toByteArray());
            var publicKey = (ECPublicKey) KeyFactory.getInstance("EC").generatePublic(spki);
            return new Key(k.getKid(), k.getAlgorithm(), publicKey, k.getJwk(), List.copyOf(k.getProfilesList()));
        } catch (GeneralSecurityException e) {
            throw JotsmithException.internal("the server's key " + k.getKid() + " is no ECDSA key");
        }
    }

    /**
     * Credentials that put a token into the authorization of each call to another gRPC service. They
     * are sent over TLS alone.
     */
    public CallCredentials callCredentials(String profile) {
        return callCredentials(TokenRequest.of(profile));
    }

    /** As {@link #callCredentials(String)}, with claims and more. */
    public CallCredentials callCredentials(TokenRequest request) {
        return new TokenCredentials(keeper, request, threads);
    }

    /** As {@link #httpClient(HttpClient.Builder, TokenRequest)}, without claims. */
    public HttpClient httpClient(HttpClient.Builder settings, String profile) {
        return httpClient(settings, TokenRequest.of(profile));
    }

    /**
     * An HTTP client that puts a token into the Authorization of each request. It follows redirects as
     * the settings say; one to another scheme, host or port gets no token.
     *
     * <p>Where the answer is 401 it asks for another token and repeats the request once, if the server
     * has another, the body is of a known length, so that it can be sent again, and the profile's
     * tokens are not for one use. Where there is no token, sending fails with an IOException whose
     * cause is the {@link JotsmithException}.
     */
    public HttpClient httpClient(HttpClient.Builder settings, TokenRequest request) {
        return TokenHttpClient.of(keeper, request, settings, threads);
    }

    /** The connection, for RPCs that have no method here. It ends with the client. */
    public Channel channel() {
        return opened.channel();
    }

    Keeper keeper() {
        return keeper;
    }

    /** Ends what is under way, with {@code CANCELLED}, and the connection. */
    @Override
    public void close() {
        keeper.close();
        calls.close();
        watches.forEach(Watch::clientClosed);
        opened.channel().shutdownNow();
        threads.shutdownNow();
        try {
            opened.channel().awaitTermination(5, TimeUnit.SECONDS);
            threads.awaitTermination(5, TimeUnit.SECONDS);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt(); // they end without anybody who waits
        } finally {
            opened.after().run();
        }
    }
}
