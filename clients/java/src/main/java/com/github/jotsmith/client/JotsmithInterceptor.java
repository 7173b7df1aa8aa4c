package com.github.jotsmith.client;

import io.grpc.Deadline;
import java.io.IOException;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import okhttp3.Interceptor;
import okhttp3.Request;
import okhttp3.RequestBody;
import okhttp3.Response;

/**
 * Puts a token into the Authorization of each request of an OkHttpClient:
 *
 * <pre>{@code
 * OkHttpClient web = new OkHttpClient.Builder()
 *     .addInterceptor(new JotsmithInterceptor(client, "asc"))
 *     .build();
 * }</pre>
 *
 * <p>Where the answer is 401 it asks for another token and repeats the request once, if the server
 * has another, the body can be sent again and the profile's tokens are not for one use. OkHttp follows
 * redirects below an interceptor, and takes the token out of one to another scheme, host or port.
 * Where there is no token, the call fails with an IOException whose cause is the {@link
 * JotsmithException}.
 *
 * <p>OkHttp is the program's to bring; nothing else here needs it.
 */
public final class JotsmithInterceptor implements Interceptor {
    private static final String AUTHORIZATION = "Authorization";

    private final Keeper keeper;
    private final TokenRequest request;

    /** Takes the tokens of a profile from a client, which the caller closes later than OkHttp's. */
    public JotsmithInterceptor(JotsmithClient client, String profile) {
        this(client, TokenRequest.of(profile));
    }

    /** As the other one, with claims and more. */
    public JotsmithInterceptor(JotsmithClient client, TokenRequest request) {
        this(client.keeper(), request);
    }

    JotsmithInterceptor(Keeper keeper, TokenRequest request) {
        this.keeper = keeper;
        this.request = request;
    }

    /**
     * Makes the request.
     *
     * @throws IllegalStateException where it was added with addNetworkInterceptor, which would let a
     *     redirect take a token elsewhere
     */
    @Override
    public Response intercept(Chain chain) throws IOException {
        if (chain.connection() != null) {
            throw new IllegalStateException("JotsmithInterceptor goes to addInterceptor, not addNetworkInterceptor");
        }
        // OkHttp's own is for the whole call; without one, the client's timeout counts alone.
        long nanos = chain.call().timeout().timeoutNanos();
        Deadline deadline = nanos > 0 ? Deadline.after(nanos, TimeUnit.NANOSECONDS) : null;
        Token token;
        try {
            token = keeper.token(request, deadline);
        } catch (JotsmithException e) {
            throw new IOException(e.getMessage(), e);
        }
        Response response = chain.proceed(authorized(chain.request(), token));
        // The request that was refused is the last one, where there were redirects.
        Request refused = response.request();
        if (response.code() != 401 || !again(refused) || !bearer(token).equals(refused.header(AUTHORIZATION))) {
            return response;
        }
        Optional<Token> other = keeper.renew(request, token, deadline);
        if (other.isEmpty()) {
            return response;
        }
        response.close();
        return chain.proceed(authorized(refused, other.get()));
    }

    private static boolean again(Request refused) {
        RequestBody body = refused.body();
        return body == null || (!body.isOneShot() && !body.isDuplex());
    }

    private static Request authorized(Request request, Token token) {
        return request.newBuilder().header(AUTHORIZATION, bearer(token)).build();
    }

    private static String bearer(Token token) {
        return "Bearer " + token.reveal();
    }
}
