package com.github.jotsmith.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.math.BigDecimal;
import java.math.BigInteger;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.AtomicLong;
import org.junit.jupiter.api.Test;

class ClaimsTest {
    private static final TokenRequest P = TokenRequest.of("p");

    @Test
    void aTextIsSentAsItIs() {
        for (String text : List.of("", "{\"n\": 9007199254740993}", "{\"a\":1,\"a\":2}", "{\"s\":\"\\ud800\"} x")) {
            assertEquals(text, P.claims(text).message().getClaims());
        }
    }

    @Test
    void valuesOfJavaAreWrittenExactly() {
        Map<String, Object> claims = new LinkedHashMap<>();
        claims.put("z", 9007199254740993L);
        claims.put("big", new BigInteger("123456789012345678901234567890"));
        claims.put("dec", new BigDecimal("1.10"));
        claims.put("exp", new BigDecimal("1E+400"));
        claims.put("one", 1.0);
        claims.put("s", "é<&>\"\\\n日本");
        claims.put("list", Arrays.asList(true, null, List.of(), new String[] {"x"}));
        claims.put("m", Map.of());
        assertEquals(
                "{\"z\":9007199254740993,\"big\":123456789012345678901234567890,\"dec\":1.10,\"exp\":1E+400,"
                        + "\"one\":1.0,\"s\":\"é<&>\\\"\\\\\\n日本\",\"list\":[true,null,[],[\"x\"]],\"m\":{}}",
                P.claims(claims).message().getClaims());
    }

    @Test
    void aLaterChangeOfTheMapIsNoneOfTheRequest() {
        Map<String, Object> claims = new HashMap<>(Map.of("a", 1));
        TokenRequest request = P.claims(claims);
        claims.put("a", 2);
        assertEquals("{\"a\":1}", request.message().getClaims());
    }

    @Test
    void whatIsNoJsonIsRefused() {
        List<Object> cycle = new ArrayList<>();
        cycle.add(cycle);
        for (Object value : List.of(
                Double.NaN, Float.POSITIVE_INFINITY, Instant.EPOCH, new AtomicLong(1), Map.of(1, 2), cycle, 'c')) {
            JotsmithException e =
                    assertThrows(JotsmithException.class, () -> P.claims(Map.of("v", value)), value.getClass().getName());
            assertEquals("INVALID_REQUEST", e.reason());
            assertEquals("claims", e.violations().get(0).field());
        }
        assertThrows(JotsmithException.class, () -> P.claims("{\"a\":\"\ud800\"}"));
        assertThrows(JotsmithException.class, () -> P.claims(Map.of("a\udc00", 1)));
        assertThrows(JotsmithException.class, () -> TokenRequest.of("\ud800"));
    }

    @Test
    void durationsAreThoseOfProtobuf() {
        var request = P.ttl(Duration.ofMillis(-1500)).minRemaining(Duration.ofMillis(1500)).message();
        assertEquals(-1, request.getTtl().getSeconds());
        assertEquals(-500_000_000, request.getTtl().getNanos());
        assertEquals(1, request.getMinRemaining().getSeconds());
        assertEquals(Duration.ofMillis(-1500), Durations.of(request.getTtl()));
        assertEquals(false, P.message().hasTtl() || P.message().hasMinRemaining());
    }

    @Test
    void equalClaimsShareAPlace() {
        List<List<String>> same = List.of(
                List.of("", "{}", " { } "),
                List.of(
                        "{\"a\":1,\"b\":[1,{\"d\":null,\"c\":true}]}",
                        "{ \"b\" : [1,{\"c\":true,\"d\":null}],\n\"a\":1}"),
                List.of("{\"a\":\"é\"}", "{\"a\":\"\\u00e9\"}", "{\"\\u0061\":\"\\u00E9\"}"),
                List.of("{\"a\":\"😀/\"}", "{\"a\":\"\\ud83d\\ude00\\/\"}"));
        for (List<String> texts : same) {
            for (String text : texts) {
                assertEquals(CanonicalClaims.of(texts.get(0)), CanonicalClaims.of(text), text);
            }
        }
    }

    @Test
    void noOthersDo() {
        Map<String, String> seen = new HashMap<>();
        for (String text : List.of(
                "{}", "{\"a\":1}", "{\"a\":1,}", "{\"a\":1,\"a\":1}", "{\"a\":2,\"a\":1}", "{\"a\":1} x", "{\"a\":1}{}",
                "{\"a\":\"1\"}", "{\"a\":1.0}", "{\"a\":1e0}", "{\"a\":10e-1}", "{\"a\":[1]}", "{\"a\":[[1]]}",
                "{\"a\":9007199254740993}", "{\"a\":9007199254740992}", "{\"a\":123456789012345678901234567890}",
                "{\"a\":\"\\ud800\"}", "{\"a\":\"\\udc00\"}", "{\"a\":\"\\ufffd\"}", "{\"A\":1}", "null", "[]", "\"a\"",
                "{", "{a:1}", "{'a':1}", "{\"a\":1;}", "{\"a\"=1}", "{\"a\":01}", "{\"a\":-0}", "{\"a\":0}",
                "{\"a\":NaN}", "{\"a\":TRUE}", "{\"a\":true}", "{\"a\":\"true\"}", "\ufeff{}", "{\"a\":1}//", "[1,]",
                "{\"a\":\"\\'\"}", "{\"a\":\"'\"}", "{\"a\":\"\t\"}", "{\"a\":\"\\t\"}", "{\"a\":1,\"b\":2}",
                "{\"a\":{\"b\":1}}", "{\"a\":{},\"b\":1}", "{\"a\":\"1:b\"}", "{\"\":\"\"}", "\u00a0{}", "{\"a\":[1,2]}",
                "{\"a\":[12]}", "[".repeat(10_000))) {
            assertNull(seen.put(CanonicalClaims.of(text), text), text);
        }
    }
}
