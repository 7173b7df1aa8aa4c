package com.github.jotsmith.driver;

import com.github.jotsmith.client.ClientBuilder;
import com.github.jotsmith.client.JotsmithClient;
import com.github.jotsmith.client.TokenRequest;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonPrimitive;
import java.math.BigDecimal;
import java.math.BigInteger;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Consumer;

/** The arguments of a command, as what the library takes. */
final class Arguments {
    private Arguments() {}

    static String text(JsonObject o, String name) {
        return o.has(name) ? o.get(name).getAsString() : null;
    }

    static Duration millis(JsonObject o, String name) {
        return o.has(name) ? Duration.ofMillis(o.get(name).getAsLong()) : null;
    }

    static ClientBuilder builder(JsonObject command) {
        ClientBuilder builder = JotsmithClient.builder();
        given(text(command, "address"), builder::address);
        JsonObject settings = command.has("settings") ? command.getAsJsonObject("settings") : new JsonObject();
        given(path(settings, "tls_ca"), builder::ca);
        if (settings.has("tls_cert") || settings.has("tls_key")) {
            builder.certificate(path(settings, "tls_cert"), path(settings, "tls_key"));
        }
        given(text(settings, "tls_server_name"), builder::serverName);
        if (settings.has("plaintext_loopback") && settings.get("plaintext_loopback").getAsBoolean()) {
            builder.plaintextLoopback();
        }
        given(text(settings, "bearer"), builder::bearer);
        given(path(settings, "bearer_file"), builder::bearerFile);
        given(millis(settings, "timeout"), builder::timeout);
        return builder;
    }

    private static Path path(JsonObject o, String name) {
        return o.has(name) ? Path.of(text(o, name)) : null;
    }

    private static <T> void given(T value, Consumer<T> setting) {
        if (value != null) {
            setting.accept(value);
        }
    }

    static TokenRequest request(JsonObject o) {
        TokenRequest request = TokenRequest.of(o.has("profile") ? text(o, "profile") : "");
        if (o.has("claims")) {
            JsonElement claims = o.get("claims");
            request = claims.isJsonObject() ? request.claims(map(claims)) : request.claims(claims.getAsString());
        }
        if (o.has("ttl")) {
            request = request.ttl(millis(o, "ttl"));
        }
        if (o.has("min_remaining")) {
            request = request.minRemaining(millis(o, "min_remaining"));
        }
        return request;
    }

    private static Map<String, Object> map(JsonElement object) {
        Map<String, Object> members = new LinkedHashMap<>();
        object.getAsJsonObject().entrySet().forEach(m -> members.put(m.getKey(), value(m.getValue())));
        return members;
    }

    /** The value as Java's own. */
    private static Object value(JsonElement e) {
        if (e.isJsonNull()) {
            return null;
        }
        if (e.isJsonObject()) {
            return map(e);
        }
        if (e.isJsonArray()) {
            List<Object> elements = new ArrayList<>();
            e.getAsJsonArray().forEach(element -> elements.add(value(element)));
            return elements;
        }
        JsonPrimitive p = e.getAsJsonPrimitive();
        if (p.isBoolean()) {
            return p.getAsBoolean();
        }
        if (p.isString()) {
            return p.getAsString();
        }
        String number = p.getAsString();
        return number.matches("-?[0-9]+") ? new BigInteger(number) : new BigDecimal(number);
    }
}
