package com.github.jotsmith.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.github.jotsmith.v1.MintTokenResponse;
import com.google.gson.Gson;
import com.google.protobuf.Timestamp;
import java.io.ByteArrayOutputStream;
import java.io.NotSerializableException;
import java.io.ObjectOutputStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.time.Instant;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;

class TokenTest {
    private static final String SECRET = "eyJ.secret.sig";

    private record Holder(Object token) {}

    @Test
    void aTokenIsNeverPrinted() throws Exception {
        Token token = Token.received(
                MintTokenResponse.newBuilder().setToken(SECRET).setKid("kid").build(), Reading.now());
        ByteArrayOutputStream written = new ByteArrayOutputStream();
        assertThrows(
                NotSerializableException.class, () -> new ObjectOutputStream(written).writeObject(List.of(token)));
        Settings settings = new Settings("a", null, null, null, null, SECRET, null, false, Duration.ZERO, 1);
        for (String text : List.of(
                token.toString(),
                String.format("%s %S %20s", token, token, token),
                List.of(token) + " " + Map.of(token, token) + new Holder(token) + BatchResult.of(token),
                new Gson().toJson(token),
                new Gson().toJson(Map.of("t", new Holder(token))),
                written.toString(StandardCharsets.ISO_8859_1),
                new Bearer(SECRET, null).toString(),
                settings.toString(),
                TokenRequest.of("p").claims("{\"a\":\"secret\"}").toString())) {
            assertFalse(text.contains("secret") || text.contains("SECRET"), text);
        }
        assertTrue(new Gson().toJson(token).contains("redacted"));
        assertEquals("null", new Gson().toJson(null, Token.class));
        assertThrows(
                UnsupportedOperationException.class, () -> new Gson().fromJson("\"" + SECRET + "\"", Token.class));
        assertEquals(SECRET, token.reveal());
        assertEquals(Duration.ZERO, token.remaining());
    }

    @Test
    void withoutTheServersTimeItIsNotKept() {
        Timestamp later = FakeServer.timestamp(Instant.now().plusSeconds(3600));
        Token token = Token.received(
                MintTokenResponse.newBuilder().setRefreshTime(later).setExpireTime(later).build(), Reading.now());
        assertFalse(token.fresh());
        assertTrue(token.oneTime());
        assertEquals(Duration.ZERO, token.remaining());
        assertTrue(token.expireTime().isPresent() && token.issueTime().isEmpty());
    }

    @Test
    void aTimeThatCannotBeIsAnError() {
        var answer = MintTokenResponse.newBuilder()
                .setExpireTime(Timestamp.newBuilder().setSeconds(Long.MAX_VALUE))
                .build();
        assertThrows(JotsmithException.class, () -> Token.received(answer, Reading.now()));
    }

    @Test
    void ageIsTheLongerOfBothClocks() {
        Reading then = new Reading(100, Instant.EPOCH);
        assertEquals(Duration.ofHours(1), then.age(new Reading(100, Instant.EPOCH.plusSeconds(3600))));
        assertEquals(Duration.ofNanos(50), then.age(new Reading(150, Instant.EPOCH.minusSeconds(3600))));
    }

    @Test
    void theMarginIsTheMiddleBetweenRefreshAndEnd() {
        Reading zero = new Reading(0, Instant.EPOCH);
        Duration four = Duration.ofSeconds(400);
        assertEquals(Duration.ofSeconds(500), new Lifetime(zero, four, Duration.ofSeconds(600)).margin());
        assertEquals(four, new Lifetime(zero, four, null).margin());
        assertEquals(four, new Lifetime(zero, four, Duration.ofSeconds(399)).margin());
        assertEquals(Duration.ZERO, new Lifetime(zero, null, four).margin());
    }
}
