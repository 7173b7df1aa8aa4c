package com.github.jotsmith.example;

import com.github.jotsmith.client.JotsmithClient;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import java.io.IOException;
import java.io.PrintStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.time.Duration;

/**
 * Lists one's apps in App Store Connect. The library puts a token of Jotsmith into every request;
 * there is no key here and nothing to renew.
 *
 * <pre>{@code
 * export JOTSMITH_ADDRESS=unix:///run/jotsmith/jotsmith.sock
 * clients/java/run example --profile asc
 * }</pre>
 *
 * <p>With --api it asks another server than Apple's, as the stand-in in clients/conformance/standin.
 */
public final class Example {
    private Example() {}

    /** Prints the apps, a line each; exits with 1 where that fails. */
    public static void main(String[] args) throws InterruptedException {
        String profile = "asc"; // the profile of Jotsmith's that makes App Store Connect's tokens
        String api = "https://api.appstoreconnect.apple.com";
        for (int i = 0; i < args.length; i++) {
            if (args[i].equals("--profile") && i + 1 < args.length) {
                profile = args[++i];
            } else if (args[i].equals("--api") && i + 1 < args.length) {
                api = args[++i];
            } else {
                System.err.println("usage: example [--profile NAME] [--api URL]");
                System.exit(2);
            }
        }
        // The address is in JOTSMITH_ADDRESS.
        try (JotsmithClient client = JotsmithClient.connect()) {
            list(client.httpClient(HttpClient.newBuilder(), profile), api);
        } catch (IOException | IllegalArgumentException e) {
            System.err.println("example: " + e.getMessage());
            System.exit(1);
        }
    }

    private static void list(HttpClient connect, String api) throws IOException, InterruptedException {
        HttpRequest request = HttpRequest.newBuilder(URI.create(api + "/v1/apps"))
                .timeout(Duration.ofSeconds(30))
                .build();
        HttpResponse<String> response = connect.send(request, HttpResponse.BodyHandlers.ofString());
        if (response.statusCode() != 200) {
            throw new IOException(response.statusCode() + ": " + response.body());
        }
        PrintStream out = new PrintStream(System.out, true, StandardCharsets.UTF_8);
        JsonObject answer = JsonParser.parseString(response.body()).getAsJsonObject();
        for (JsonElement element : answer.getAsJsonArray("data")) {
            JsonObject app = element.getAsJsonObject();
            JsonObject attributes = app.getAsJsonObject("attributes");
            out.printf(
                    "%s\t%s\t%s\n",
                    app.get("id").getAsString(),
                    attributes.get("bundleId").getAsString(),
                    attributes.get("name").getAsString());
        }
    }
}
