package com.github.jotsmith.client;

import com.github.jotsmith.v1.MintTokenRequest;
import java.time.Duration;
import java.util.Map;
import java.util.Objects;

/** What a token is asked for with. It does not change: each method returns another. */
public final class TokenRequest {
    private final String profile;
    private final String claims;
    private final Duration ttl;
    private final Duration minRemaining;
    private final MintTokenRequest message;
    private final Place place;

    private TokenRequest(String profile, String claims, Duration ttl, Duration minRemaining) {
        if (!CanonicalClaims.wellFormed(claims)) {
            throw JotsmithException.refused("claims", "is not valid UTF-8");
        }
        this.profile = profile(profile);
        this.claims = claims;
        this.ttl = ttl;
        this.minRemaining = minRemaining;
        MintTokenRequest.Builder built = MintTokenRequest.newBuilder().setProfile(profile).setClaims(claims);
        if (ttl != null) {
            built.setTtl(Durations.of(ttl));
        }
        if (minRemaining != null) {
            built.setMinRemaining(Durations.of(minRemaining));
        }
        message = built.build();
        place = new Place(profile, CanonicalClaims.of(claims), ttl);
    }

    /**
     * A request of a profile, by its name at the server, without claims.
     *
     * @throws JotsmithException INVALID_REQUEST, where the name has a lone surrogate
     */
    public static TokenRequest of(String profile) {
        return new TokenRequest(Objects.requireNonNull(profile, "profile"), "", null, null);
    }

    /**
     * With the claims that the profile takes from its callers, as the text of a JSON object. It is
     * sent as it is.
     *
     * @throws JotsmithException INVALID_REQUEST, where the text has a lone surrogate
     */
    public TokenRequest claims(String json) {
        return new TokenRequest(profile, Objects.requireNonNull(json, "claims"), ttl, minRemaining);
    }

    /**
     * With claims of Java's values: String, Boolean, null, Map with names that are Strings, Iterable,
     * arrays of objects, and numbers, each as it is: Integer, Long, BigInteger, BigDecimal and the
     * like, and a Double or Float that is finite. They are encoded now, so that a later change to the
     * map is none to the request.
     *
     * @throws JotsmithException INVALID_REQUEST, where JSON has no such value
     */
    public TokenRequest claims(Map<String, ?> claims) {
        return claims(ClaimsText.of(Objects.requireNonNull(claims, "claims")));
    }

    /** With how long the token is to be valid, in whole seconds, in place of the profile's default. */
    public TokenRequest ttl(Duration ttl) {
        return new TokenRequest(profile, claims, Objects.requireNonNull(ttl, "ttl"), minRemaining);
    }

    /**
     * With the least time that the token must still be valid when it is handed out, in place of the
     * server's, a third of its life.
     */
    public TokenRequest minRemaining(Duration minRemaining) {
        return new TokenRequest(profile, claims, ttl, Objects.requireNonNull(minRemaining, "minRemaining"));
    }

    /** The name, if it can be sent. */
    static String profile(String name) {
        if (!CanonicalClaims.wellFormed(name)) {
            throw JotsmithException.refused("profile", "is not valid UTF-8");
        }
        return name;
    }

    Duration minRemaining() {
        return minRemaining;
    }

    /** The request on the wire. */
    MintTokenRequest message() {
        return message;
    }

    Place place() {
        return place;
    }

    /** The profile alone: claims may be nobody else's affair. */
    @Override
    public String toString() {
        return "request of a token of profile " + profile;
    }
}
