package com.github.jotsmith.driver;

import com.github.jotsmith.client.BatchResult;
import com.github.jotsmith.client.Explanation;
import com.github.jotsmith.client.JotsmithException;
import com.github.jotsmith.client.Key;
import com.github.jotsmith.client.Token;
import com.google.gson.JsonArray;
import com.google.gson.JsonObject;
import java.time.Instant;
import java.time.ZoneOffset;
import java.time.format.DateTimeFormatter;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.CancellationException;
import java.util.concurrent.TimeoutException;

/** What the library returns, as the JSON of driver.md. */
final class Answers {
    private static final DateTimeFormatter MILLIS =
            DateTimeFormatter.ofPattern("uuuu-MM-dd'T'HH:mm:ss.SSS'Z'").withZone(ZoneOffset.UTC);

    private Answers() {}

    static JsonObject token(Token token) {
        JsonObject o = new JsonObject();
        o.addProperty("jwt", token.reveal());
        o.addProperty("kid", token.kid());
        o.addProperty("reused", token.reused());
        o.addProperty("one_time", token.oneTime());
        time(o, "expire_time", token.expireTime());
        time(o, "refresh_time", token.refreshTime());
        return o;
    }

    private static void time(JsonObject o, String name, Optional<Instant> time) {
        time.ifPresent(at -> o.addProperty(name, MILLIS.format(at)));
    }

    /** The library's error where it is one, or is the cause of one of another library's. */
    static JsonObject error(Throwable failure) {
        for (Throwable t = failure; t != null; t = t.getCause()) {
            if (t instanceof JotsmithException known) {
                return error(known);
            }
        }
        JsonObject o = new JsonObject();
        o.addProperty("native", failure.getClass().getName());
        o.addProperty("message", String.valueOf(failure.getMessage()));
        return o;
    }

    /** A wrong setting, which the library says with an IllegalArgumentException. */
    static JsonObject setting(IllegalArgumentException wrong) {
        JsonObject o = new JsonObject();
        o.addProperty("native", "setting");
        o.addProperty("message", wrong.getMessage());
        return o;
    }

    private static JsonObject error(JotsmithException e) {
        JsonObject o = new JsonObject();
        o.addProperty("code", e.code().name());
        o.addProperty("reason", e.reason());
        o.addProperty("message", e.text());
        o.addProperty("retryable", e.retryable());
        o.addProperty("retry_after", e.retryAfter().toMillis());
        JsonArray violations = new JsonArray();
        e.violations().forEach(v -> {
            JsonObject violation = new JsonObject();
            violation.addProperty("field", v.field());
            violation.addProperty("description", v.description());
            violations.add(violation);
        });
        o.add("violations", violations);
        o.addProperty("native", nativeOf(e.getCause()));
        return o;
    }

    /** The library's exception has Java's own as its cause, since it cannot be both. */
    private static String nativeOf(Throwable cause) {
        if (cause instanceof TimeoutException) {
            return "deadline";
        }
        return cause instanceof CancellationException ? "cancelled" : "";
    }

    static JsonArray batch(List<BatchResult> results) {
        JsonArray all = new JsonArray();
        for (BatchResult result : results) {
            JsonObject o = new JsonObject();
            if (result.error().isPresent()) {
                o.add("error", error(result.error().get()));
            } else {
                o.add("token", token(result.token()));
            }
            all.add(o);
        }
        return all;
    }

    static JsonObject explanation(Explanation e) {
        JsonObject o = new JsonObject();
        o.addProperty("grant", e.grant());
        JsonArray refusals = new JsonArray();
        e.refusals().forEach(refusal -> refusals.add(error(refusal)));
        o.add("refusals", refusals);
        o.addProperty("header", e.header());
        o.addProperty("claims", e.claims());
        e.ttl().ifPresent(ttl -> o.addProperty("ttl", ttl.toMillis()));
        return o;
    }

    static JsonArray keys(List<Key> keys) {
        JsonArray all = new JsonArray();
        for (Key key : keys) {
            JsonObject o = new JsonObject();
            o.addProperty("kid", key.kid());
            o.addProperty("algorithm", key.algorithm());
            o.addProperty("jwk", key.jwk());
            JsonArray profiles = new JsonArray();
            key.profiles().forEach(profiles::add);
            o.add("profiles", profiles);
            all.add(o);
        }
        return all;
    }
}
