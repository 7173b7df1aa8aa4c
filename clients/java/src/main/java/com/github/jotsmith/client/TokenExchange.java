package com.github.jotsmith.client;

import io.grpc.Deadline;
import java.net.URI;
import java.net.http.HttpClient.Redirect;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.util.Optional;

/** One request of a program's and what follows from it: redirects, and one repetition after a 401. */
final class TokenExchange<T> {
    /** As many redirects as java.net.http follows. */
    private static final int MOST_REDIRECTS = 5;

    private static final String AUTHORIZATION = "Authorization";

    private final Keeper keeper;
    private final TokenRequest wanted;
    private final Redirect policy;
    private final HttpResponse.BodyHandler<T> program;
    private final Origin first;
    private final Deadline deadline; // of a wait for a token, or null

    private Token token;
    private HttpRequest request;
    private int redirects;
    private boolean repeated;

    /**
     * Gets the token for the first request.
     *
     * @throws JotsmithException where there is none
     * @throws IllegalArgumentException where the request is none of HTTP
     */
    TokenExchange(
            Keeper keeper,
            TokenRequest wanted,
            Redirect policy,
            HttpRequest request,
            HttpResponse.BodyHandler<T> program) {
        this.keeper = keeper;
        this.wanted = wanted;
        this.policy = policy;
        this.program = program;
        first = Origin.of(request.uri());
        deadline = request.timeout().map(Calls::after).orElse(null);
        token = keeper.token(wanted, deadline);
        this.request = authorized(request);
    }

    /** The request that is to be sent now. */
    HttpRequest request() {
        return request;
    }

    /** The handler of its answer. */
    HttpResponse.BodyHandler<Held<T>> handler() {
        return info -> {
            if (next(info.statusCode(), info.headers().firstValue("Location").orElse(null)).isPresent()) {
                return Held.dropped();
            }
            return mayRepeat(info.statusCode()) ? Held.back(info) : Held.through(program, info);
        };
    }

    /** The response for the program, or nothing where another request is to be sent first. */
    Optional<HttpResponse<T>> after(HttpResponse<Held<T>> response) {
        int status = response.statusCode();
        Optional<HttpRequest> redirected =
                next(status, response.headers().firstValue("Location").orElse(null));
        if (redirected.isPresent()) {
            redirects++;
            request = redirected.get();
            return Optional.empty();
        }
        if (mayRepeat(status)) {
            Optional<Token> other = keeper.renew(wanted, token, deadline);
            if (other.isPresent()) {
                repeated = true;
                token = other.get();
                request = authorized(request);
                return Optional.empty();
            }
        }
        return Optional.of(new HeldResponse<>(response, response.body().body(program)));
    }

    private boolean mayRepeat(int status) {
        return status == 401 && !repeated && !token.oneTime() && again() && here(request.uri());
    }

    /** Whether the body can be sent once more. One of unknown length may be a stream that is read. */
    private boolean again() {
        return request.bodyPublisher().map(body -> body.contentLength() >= 0).orElse(true);
    }

    private boolean here(URI uri) {
        return Origin.of(uri).equals(first);
    }

    /** The request with the token, or without any where it goes elsewhere. */
    private HttpRequest authorized(HttpRequest to) {
        HttpRequest.Builder copy = without(to);
        if (here(to.uri())) {
            copy.setHeader(AUTHORIZATION, "Bearer " + token.reveal());
        }
        return copy.build();
    }

    private static HttpRequest.Builder without(HttpRequest to) {
        return HttpRequest.newBuilder(to, (name, value) -> !name.equalsIgnoreCase(AUTHORIZATION));
    }

    /** The request that a redirect leads to, by the rules of java.net.http's own. */
    private Optional<HttpRequest> next(int status, String location) {
        boolean redirect =
                switch (status) {
                    case 301, 302, 303, 307, 308 -> true;
                    default -> false;
                };
        if (!redirect || policy == Redirect.NEVER || location == null || redirects >= MOST_REDIRECTS) {
            return Optional.empty();
        }
        URI to;
        try {
            to = request.uri().resolve(location);
        } catch (IllegalArgumentException noUri) {
            return Optional.empty();
        }
        String scheme = String.valueOf(to.getScheme());
        boolean plain = scheme.equalsIgnoreCase("http");
        boolean http = plain || scheme.equalsIgnoreCase("https");
        boolean down = plain && request.uri().getScheme().equalsIgnoreCase("https") && policy == Redirect.NORMAL;
        if (to.getHost() == null || !http || down) {
            return Optional.empty();
        }
        HttpRequest.Builder builder = without(request).uri(to);
        String method = request.method();
        boolean get = status == 303 ? !method.equals("HEAD") : status < 303 && method.equals("POST");
        if (get) {
            builder.GET();
        } else if (!again()) {
            return Optional.empty();
        }
        return Optional.of(authorized(builder.build()));
    }
}
