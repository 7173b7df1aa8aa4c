package com.github.jotsmith.client;

import com.google.gson.stream.JsonWriter;
import java.io.IOException;
import java.io.StringWriter;
import java.math.BigDecimal;
import java.math.BigInteger;
import java.util.Map;

/** Writes claims of Java's values as JSON, every number as exact as it is. */
final class ClaimsText {
    /** How deep values may lie in one another: deeper than a server reads, and no cycle. */
    private static final int DEEPEST = 64;

    private ClaimsText() {}

    static String of(Map<?, ?> claims) {
        StringWriter text = new StringWriter();
        JsonWriter out = new JsonWriter(text);
        out.setHtmlSafe(false);
        out.setSerializeNulls(true);
        try {
            write(out, claims, 0);
        } catch (IOException cannotBe) { // a StringWriter does not fail
            throw new IllegalStateException(cannotBe);
        }
        return text.toString();
    }

    private static void write(JsonWriter out, Object value, int depth) throws IOException {
        if (depth > DEEPEST) {
            throw JotsmithException.refused("claims", "are too deep");
        }
        if (value == null) {
            out.nullValue();
        } else if (value instanceof String text) {
            out.value(text);
        } else if (value instanceof Boolean truth) {
            out.value(truth);
        } else if (value instanceof Number number) {
            out.value(exact(number));
        } else if (value instanceof Map<?, ?> object) {
            out.beginObject();
            for (Map.Entry<?, ?> member : object.entrySet()) {
                if (!(member.getKey() instanceof String name)) {
                    throw JotsmithException.refused("claims", "have a name that is no String");
                }
                write(out.name(name), member.getValue(), depth + 1);
            }
            out.endObject();
        } else if (value instanceof Iterable<?> elements) {
            out.beginArray();
            for (Object element : elements) {
                write(out, element, depth + 1);
            }
            out.endArray();
        } else if (value instanceof Object[] elements) {
            out.beginArray();
            for (Object element : elements) {
                write(out, element, depth + 1);
            }
            out.endArray();
        } else {
            throw JotsmithException.refused("claims", "cannot be written as JSON: " + value.getClass().getName());
        }
    }

    /** The number, if it is one of Java's own that JSON has; others might round themselves. */
    private static Number exact(Number number) {
        boolean whole = number instanceof Integer
                || number instanceof Long
                || number instanceof Short
                || number instanceof Byte
                || number instanceof BigInteger;
        boolean finite = number instanceof BigDecimal
                || (number instanceof Double d && Double.isFinite(d))
                || (number instanceof Float f && Float.isFinite(f));
        if (!whole && !finite) {
            throw JotsmithException.refused(
                    "claims", "cannot be written as JSON: a number of " + number.getClass().getName());
        }
        return number;
    }
}
