package com.github.jotsmith.client;

import com.google.gson.Strictness;
import com.google.gson.stream.JsonReader;
import com.google.gson.stream.JsonToken;
import java.io.IOException;
import java.io.StringReader;
import java.util.Map;
import java.util.TreeMap;

/**
 * The same text for JSON objects that differ in white space, the order of names and the spelling of
 * strings alone. Whatever a server may refuse, as it does a name that stands twice, is only itself:
 * a token kept for one request must not answer another that would have got an error.
 */
final class CanonicalClaims {
    /** How deep claims can be; the server refuses what is deeper. */
    private static final int DEEPEST = 16;

    private final JsonReader in;
    private final StringBuilder out = new StringBuilder();

    private CanonicalClaims(String text) {
        in = new JsonReader(new StringReader(text));
        in.setStrictness(Strictness.STRICT);
    }

    static String of(String text) {
        if (text.isEmpty()) {
            return "{}";
        }
        // No canonical form begins with a question mark. The reader would skip a byte order mark.
        return text.charAt(0) == '\ufeff' ? "?" + text : new CanonicalClaims(text).form("?" + text);
    }

    private String form(String otherwise) {
        try {
            return write(0) && in.peek() == JsonToken.END_DOCUMENT ? out.toString() : otherwise;
        } catch (IOException | IllegalStateException | NumberFormatException notJson) {
            return otherwise;
        }
    }

    /** Writes the next value, or says that it has no canonical form. */
    private boolean write(int depth) throws IOException {
        if (depth > DEEPEST) {
            return false;
        }
        return switch (in.peek()) {
            case BEGIN_OBJECT -> writeObject(depth);
            case BEGIN_ARRAY -> writeArray(depth);
            case STRING -> writeString(in.nextString());
            case NUMBER -> { // as it is written: 1 and 1.0 are not the same
                out.append(in.nextString());
                yield true;
            }
            case BOOLEAN -> {
                out.append(in.nextBoolean());
                yield true;
            }
            case NULL -> {
                in.nextNull();
                out.append("null");
                yield true;
            }
            default -> false;
        };
    }

    private boolean writeString(String s) {
        // With its length before it, a string needs no escapes to end where it ends.
        out.append('"').append(s.length()).append(':').append(s);
        return wellFormed(s);
    }

    private boolean writeArray(int depth) throws IOException {
        in.beginArray();
        out.append('[');
        while (in.hasNext()) {
            if (!write(depth + 1)) {
                return false;
            }
            out.append(',');
        }
        in.endArray();
        out.append(']');
        return true;
    }

    private boolean writeObject(int depth) throws IOException {
        Map<String, String> members = new TreeMap<>();
        in.beginObject();
        int start = out.length();
        while (in.hasNext()) {
            String name = in.nextName();
            if (!write(depth + 1) || !wellFormed(name) || members.put(name, out.substring(start)) != null) {
                return false;
            }
            out.setLength(start);
        }
        in.endObject();
        out.append('{');
        members.forEach((name, value) -> {
            writeString(name);
            out.append(value).append(',');
        });
        out.append('}');
        return true;
    }

    /** Whether a text has no lone surrogate, so that it is the same in UTF-8. */
    static boolean wellFormed(String s) {
        for (int i = 0; i < s.length(); i++) {
            char c = s.charAt(i);
            if (Character.isHighSurrogate(c) && i + 1 < s.length() && Character.isLowSurrogate(s.charAt(i + 1))) {
                i++;
            } else if (Character.isSurrogate(c)) {
                return false;
            }
        }
        return true;
    }
}
