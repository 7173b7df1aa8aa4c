package com.github.jotsmith.client;

import com.github.jotsmith.v1.MintTokenResponse;
import com.google.gson.TypeAdapter;
import com.google.gson.annotations.JsonAdapter;
import com.google.gson.stream.JsonReader;
import com.google.gson.stream.JsonWriter;
import java.io.IOException;
import java.time.Duration;
import java.time.Instant;
import java.util.Optional;

/**
 * A minted token. Printing it, logging it and encoding it show what it is about and never the token
 * itself, which {@link #reveal()} returns.
 */
@JsonAdapter(Token.Redacting.class)
public final class Token {
    // Transient, so that whoever encodes fields leaves it out.
    private final transient String secret;
    private final String kid;
    private final Instant issueTime;
    private final Instant expireTime;
    private final Instant refreshTime;
    private final String generation;
    private final boolean reused;
    private final String publicKey;
    private final Lifetime life;

    private Token(MintTokenResponse answer, Reading asked) {
        secret = answer.getToken();
        kid = answer.getKid();
        generation = answer.getConfigGeneration();
        reused = answer.getReused();
        publicKey = answer.getPublicKey();
        issueTime = answer.hasIssueTime() ? Durations.of(answer.getIssueTime()) : null;
        expireTime = answer.hasExpireTime() ? Durations.of(answer.getExpireTime()) : null;
        refreshTime = answer.hasRefreshTime() ? Durations.of(answer.getRefreshTime()) : null;
        // Without the server's time nobody knows how long that is: it is then kept by nobody.
        Instant now = answer.hasAnswerTime() ? Durations.of(answer.getAnswerTime()) : null;
        life = new Lifetime(
                asked,
                now == null || refreshTime == null ? null : Duration.between(now, refreshTime),
                now == null || expireTime == null ? null : Duration.between(now, expireTime));
    }

    /** The token of an answer to what was asked at a time. */
    static Token received(MintTokenResponse answer, Reading asked) {
        return new Token(answer, asked);
    }

    /**
     * The token in its compact serialization, for the header that it goes into and for nothing else.
     */
    public String reveal() {
        return secret;
    }

    /** The name of the key that signed it. */
    public String kid() {
        return kid;
    }

    /** Its iat, by the server's clock. */
    public Optional<Instant> issueTime() {
        return Optional.ofNullable(issueTime);
    }

    /**
     * Its exp, by the server's clock; empty for a token that does not expire. To decide anything by
     * it is what {@link #remaining()} is for.
     */
    public Optional<Instant> expireTime() {
        return Optional.ofNullable(expireTime);
    }

    /**
     * When it should be replaced, by the server's clock; empty for one that is for one use. To decide
     * anything by it is what {@link #fresh()} is for.
     */
    public Optional<Instant> refreshTime() {
        return Optional.ofNullable(refreshTime);
    }

    /** The name of the configuration that the server decided under. */
    public String generation() {
        return generation;
    }

    /** Whether the server had made it for an earlier request. */
    public boolean reused() {
        return reused;
    }

    /** What VAPID's Authorization header carries as k. Most profiles leave it empty. */
    public String publicKey() {
        return publicKey;
    }

    /** Whether the token is for one use. */
    public boolean oneTime() {
        return !life.refreshes();
    }

    /**
     * For how long the token is still valid, counted from when it was asked for and by the server's
     * times, so that a wrong clock here changes nothing. Zero for an expired token and for one
     * without exp.
     */
    public Duration remaining() {
        return life.remaining(Reading.now());
    }

    /** Whether the server's refresh time has not come. */
    public boolean fresh() {
        return life.fresh(Reading.now(), null);
    }

    Lifetime life() {
        return life;
    }

    boolean same(Token other) {
        return other != null && secret.equals(other.secret);
    }

    /** What the token is about, without the token. */
    @Override
    public String toString() {
        return "token of key " + kid + " (redacted)";
    }

    /** Writes what toString says: a live token does not belong on a disk. */
    static final class Redacting extends TypeAdapter<Token> {
        @Override
        public void write(JsonWriter out, Token token) throws IOException {
            out.value(token == null ? null : token.toString());
        }

        @Override
        public Token read(JsonReader in) {
            throw new UnsupportedOperationException("a token is not read from JSON");
        }
    }
}
