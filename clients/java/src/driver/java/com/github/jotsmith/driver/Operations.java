package com.github.jotsmith.driver;

import com.github.jotsmith.client.JotsmithClient;
import com.github.jotsmith.client.JotsmithException;
import com.github.jotsmith.client.Token;
import com.github.jotsmith.client.TokenRequest;
import com.github.jotsmith.client.Watch;
import com.google.gson.JsonArray;
import com.google.gson.JsonObject;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.function.Consumer;

/** Does what the commands say. Several threads may perform at once. */
final class Operations implements AutoCloseable {
    private final Map<String, JotsmithClient> clients = new ConcurrentHashMap<>();

    /**
     * Performs one command and returns the last answer; those before go to partial. Where
     * interrupting the thread is not how the command is cancelled, cancelling hears how.
     */
    JsonObject perform(JsonObject command, Consumer<JsonObject> partial, Consumer<Runnable> cancelling)
            throws Exception {
        return switch (command.get("op").getAsString()) {
            case "hello" -> hello();
            case "connect" -> connect(command);
            case "close" -> {
                client(command).close();
                yield new JsonObject();
            }
            case "token" -> token(command);
            case "batch" -> batch(command);
            case "watch" -> watch(command, partial, cancelling);
            case "explain" -> Answers.explanation(client(command).explain(Arguments.request(command)));
            case "keys" -> keys(command);
            case "invalidate" -> {
                client(command).invalidate(Arguments.text(command, "profile"));
                yield new JsonObject();
            }
            case "show" -> {
                JsonObject o = new JsonObject();
                o.addProperty("shown", Shown.of(client(command).token(Arguments.request(command))));
                yield o;
            }
            case "verify" -> Verifying.verify(Arguments.text(command, "jwt"), Arguments.text(command, "jwk"));
            case "http" -> Plugs.http(client(command), command);
            case "grpc" -> Plugs.grpc(client(command), command);
            default -> throw new IllegalArgumentException("no op " + command.get("op"));
        };
    }

    private static JsonObject hello() {
        JsonObject o = new JsonObject();
        o.addProperty("language", "java");
        JsonObject library = new JsonObject();
        library.addProperty("name", "com.github.jotsmith:jotsmith-client");
        library.addProperty("version", "0.1.0");
        o.add("library", library);
        o.add("jose", Verifying.libraries());
        o.add("http", Plugs.names(Plugs.HTTP));
        o.add("grpc", Plugs.names(Plugs.GRPC));
        return o;
    }

    private JsonObject connect(JsonObject command) {
        JsonObject o = new JsonObject();
        try {
            clients.put(Arguments.text(command, "client"), Arguments.builder(command).connect());
        } catch (IllegalArgumentException wrong) {
            o.add("error", Answers.setting(wrong));
        }
        return o;
    }

    private JotsmithClient client(JsonObject command) {
        return clients.get(Arguments.text(command, "client"));
    }

    private JsonObject token(JsonObject command) throws Exception {
        JotsmithClient client = client(command);
        TokenRequest request = Arguments.request(command);
        Duration timeout = Arguments.millis(command, "timeout");
        Callable<Token> ask = () -> timeout == null ? client.token(request) : client.token(request, timeout);
        int callers = command.has("callers") ? command.get("callers").getAsInt() : 1;
        JsonArray tokens = new JsonArray();
        if (callers == 1) {
            tokens.add(Answers.token(ask.call()));
        } else {
            for (Token token : together(callers, ask)) {
                tokens.add(Answers.token(token));
            }
        }
        JsonObject o = new JsonObject();
        o.add("tokens", tokens);
        return o;
    }

    /** What so many callers get who ask at the same time. */
    private static List<Token> together(int callers, Callable<Token> ask) throws Exception {
        ExecutorService threads = Executors.newFixedThreadPool(callers);
        try {
            List<Future<Token>> asked = new ArrayList<>();
            for (int i = 0; i < callers; i++) {
                asked.add(threads.submit(ask));
            }
            List<Token> tokens = new ArrayList<>();
            for (Future<Token> one : asked) {
                tokens.add(one.get());
            }
            return tokens;
        } catch (ExecutionException e) {
            throw e.getCause() instanceof JotsmithException known ? known : e;
        } finally {
            threads.shutdownNow(); // which interrupts them where this thread was
        }
    }

    private JsonObject batch(JsonObject command) {
        List<TokenRequest> requests = new ArrayList<>();
        command.getAsJsonArray("requests").forEach(r -> requests.add(Arguments.request(r.getAsJsonObject())));
        JsonObject o = new JsonObject();
        o.add("results", Answers.batch(client(command).batch(requests)));
        return o;
    }

    private JsonObject watch(JsonObject command, Consumer<JsonObject> partial, Consumer<Runnable> cancelling) {
        JsonObject end = new JsonObject();
        end.addProperty("end", true);
        try (Watch watch = client(command).watch(Arguments.request(command))) {
            cancelling.accept(watch::close);
            while (watch.hasNext()) {
                JsonObject o = new JsonObject();
                o.add("token", Answers.token(watch.next()));
                partial.accept(o);
            }
        } catch (JotsmithException e) {
            end.add("error", Answers.error(e));
        }
        return end;
    }

    private JsonObject keys(JsonObject command) {
        String profile = Arguments.text(command, "profile");
        JotsmithClient client = client(command);
        JsonObject o = new JsonObject();
        o.add("keys", Answers.keys(profile == null ? client.keys() : client.keys(profile)));
        return o;
    }

    @Override
    public void close() {
        clients.values().forEach(JotsmithClient::close);
    }
}
