package com.github.jotsmith.driver;

import com.github.jotsmith.client.JotsmithClient;
import com.github.jotsmith.client.JotsmithInterceptor;
import com.github.jotsmith.v1.KeyServiceGrpc;
import com.github.jotsmith.v1.ListKeysRequest;
import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import io.grpc.Grpc;
import io.grpc.ManagedChannel;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.TlsChannelCredentials;
import java.io.File;
import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import okhttp3.OkHttpClient;
import okhttp3.Request;
import okhttp3.RequestBody;
import okhttp3.Response;

/** Requests of a program's through what plugs in. */
final class Plugs {
    static final List<String> HTTP = List.of("java.net.http", "okhttp");
    static final List<String> GRPC = List.of("io.grpc");

    private Plugs() {}

    static JsonArray names(List<String> plugs) {
        JsonArray names = new JsonArray();
        plugs.forEach(names::add);
        return names;
    }

    static JsonObject http(JotsmithClient client, JsonObject command) throws IOException, InterruptedException {
        return switch (Arguments.text(command, "plug")) {
            case "java.net.http" -> javaNetHttp(client, command);
            case "okhttp" -> okHttp(client, command);
            default -> throw new IllegalArgumentException("no plug " + command.get("plug"));
        };
    }

    private static JsonObject javaNetHttp(JotsmithClient client, JsonObject command)
            throws IOException, InterruptedException {
        HttpClient web = client.httpClient(
                HttpClient.newBuilder().followRedirects(HttpClient.Redirect.NORMAL),
                Arguments.text(command, "profile"));
        String body = Arguments.text(command, "body");
        HttpRequest.Builder request = HttpRequest.newBuilder(URI.create(Arguments.text(command, "url")))
                .method(
                        method(command),
                        body == null
                                ? HttpRequest.BodyPublishers.noBody()
                                : HttpRequest.BodyPublishers.ofString(body));
        for (Map.Entry<String, JsonElement> header : headers(command).entrySet()) {
            request.setHeader(header.getKey(), header.getValue().getAsString());
        }
        HttpResponse<String> response = web.send(request.build(), HttpResponse.BodyHandlers.ofString());
        return answer(response.statusCode(), response.body());
    }

    private static JsonObject okHttp(JotsmithClient client, JsonObject command) throws IOException {
        OkHttpClient web = new OkHttpClient.Builder()
                .addInterceptor(new JotsmithInterceptor(client, Arguments.text(command, "profile")))
                .build();
        String body = Arguments.text(command, "body");
        Request.Builder request = new Request.Builder()
                .url(Arguments.text(command, "url"))
                .method(method(command), body == null ? null : RequestBody.create(body, null));
        for (Map.Entry<String, JsonElement> header : headers(command).entrySet()) {
            request.header(header.getKey(), header.getValue().getAsString());
        }
        try (Response response = web.newCall(request.build()).execute()) {
            return answer(response.code(), response.body().string());
        }
    }

    private static String method(JsonObject command) {
        return command.has("method") ? Arguments.text(command, "method") : "GET";
    }

    private static JsonObject headers(JsonObject command) {
        return command.has("headers") ? command.getAsJsonObject("headers") : new JsonObject();
    }

    private static JsonObject answer(int status, String body) {
        JsonObject o = new JsonObject();
        o.addProperty("status", status);
        o.addProperty("body", body);
        return o;
    }

    static JsonObject grpc(JotsmithClient client, JsonObject command) throws IOException, InterruptedException {
        var tls = TlsChannelCredentials.newBuilder()
                .trustManager(new File(Arguments.text(command, "tls_ca")))
                .build();
        ManagedChannel channel = Grpc.newChannelBuilder(Arguments.text(command, "address"), tls)
                .disableServiceConfigLookUp()
                .build();
        JsonObject o = new JsonObject();
        try {
            KeyServiceGrpc.newBlockingStub(channel)
                    .withCallCredentials(client.callCredentials(Arguments.text(command, "profile")))
                    .withDeadlineAfter(10, TimeUnit.SECONDS)
                    .listKeys(ListKeysRequest.getDefaultInstance());
            o.addProperty("status", Status.Code.OK.name());
        } catch (StatusRuntimeException e) {
            o.addProperty("status", e.getStatus().getCode().name());
        } finally {
            channel.shutdownNow().awaitTermination(5, TimeUnit.SECONDS);
        }
        return o;
    }
}
