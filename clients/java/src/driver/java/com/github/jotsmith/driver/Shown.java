package com.github.jotsmith.driver;

import com.github.jotsmith.client.Token;
import com.google.gson.Gson;
import java.io.ByteArrayOutputStream;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Map;
import java.util.logging.Formatter;
import java.util.logging.Level;
import java.util.logging.LogRecord;
import java.util.logging.SimpleFormatter;
import java.util.logging.StreamHandler;

/** A token in each of the ways in which Java prints it. */
final class Shown {
    private Shown() {}

    static String of(Token token) {
        ByteArrayOutputStream log = new ByteArrayOutputStream();
        Formatter formatter = new SimpleFormatter();
        StreamHandler handler = new StreamHandler(log, formatter);
        LogRecord logged = new LogRecord(Level.INFO, "{0}");
        logged.setParameters(new Object[] {token});
        handler.publish(logged);
        handler.close();
        return String.join(
                "\n",
                token.toString(),
                String.format("%s %S %40s", token, token, token),
                "" + List.of(token) + Map.of("token", token),
                log.toString(StandardCharsets.UTF_8),
                new Gson().toJson(token),
                new Gson().toJson(Map.of("token", List.of(token))));
    }
}
