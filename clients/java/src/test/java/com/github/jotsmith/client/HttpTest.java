package com.github.jotsmith.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import io.grpc.Status;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpClient.Redirect;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublisher;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutionException;
import okhttp3.MediaType;
import okhttp3.OkHttpClient;
import okhttp3.Request;
import okhttp3.RequestBody;
import okhttp3.Response;
import okio.BufferedSink;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** Both HTTP plugs, against a server that takes every token but those it refuses. */
@Timeout(30)
class HttpTest {
    private static final TokenRequest P = TokenRequest.of("p");

    private final FakeServer tokens = new FakeServer();
    private final Keeper keeper = tokens.keeper();
    private final List<String> seen = new CopyOnWriteArrayList<>();
    private final List<String> refused = new CopyOnWriteArrayList<>();
    private HttpServer here;
    private HttpServer elsewhere;
    private final OkHttpClient okHttp = new OkHttpClient.Builder()
            .addInterceptor(new JotsmithInterceptor(keeper, P))
            .build();
    private final HttpClient java = TokenHttpClient.of(
            keeper, P, HttpClient.newBuilder().followRedirects(Redirect.NORMAL), FakeServer.THREADS);

    @BeforeEach
    void start() throws IOException {
        elsewhere = serve("elsewhere", null);
        here = serve("here", url(elsewhere));
    }

    @AfterEach
    void stop() {
        here.stop(0);
        elsewhere.stop(0);
        okHttp.dispatcher().executorService().shutdown();
        okHttp.connectionPool().evictAll();
    }

    private HttpServer serve(String name, String away) throws IOException {
        HttpServer server = HttpServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0), 0);
        server.createContext("/", exchange -> answer(name, away, exchange));
        server.start();
        return server;
    }

    private void answer(String name, String away, HttpExchange exchange) throws IOException {
        String token = exchange.getRequestHeaders().getFirst("Authorization");
        String path = exchange.getRequestURI().getPath();
        String body = new String(exchange.getRequestBody().readAllBytes(), StandardCharsets.UTF_8);
        seen.add(String.join(" ", name, exchange.getRequestMethod(), path, String.valueOf(token), body).trim());
        int status = 200;
        if (path.startsWith("/3")) {
            status = Integer.parseInt(path.substring(1, 4));
            exchange.getResponseHeaders().add("Location", path.endsWith("away") ? away + "/end" : "/end");
        } else if (refused.contains(token) || path.equals("/never")) {
            status = 401;
        }
        byte[] text = ("status " + status).getBytes(StandardCharsets.UTF_8);
        exchange.sendResponseHeaders(status, text.length);
        exchange.getResponseBody().write(text);
        exchange.close();
    }

    private static String url(HttpServer server) {
        return "http://127.0.0.1:" + server.getAddress().getPort();
    }

    private HttpResponse<String> send(String method, String path, BodyPublisher body) throws Exception {
        HttpRequest request =
                HttpRequest.newBuilder(URI.create(url(here) + path)).method(method, body).build();
        HttpResponse<String> response = java.send(request, BodyHandlers.ofString());
        assertTrue(request.headers().map().isEmpty(), "the program's request was changed");
        return response;
    }

    private HttpResponse<String> get(String path) throws Exception {
        return send("GET", path, BodyPublishers.noBody());
    }

    private Response call(String method, String path, RequestBody body) throws IOException {
        Request request =
                new Request.Builder().url(url(here) + path).method(method, body).build();
        return okHttp.newCall(request).execute();
    }

    private void saw(String... requests) {
        assertEquals(List.of(requests), seen);
        seen.clear();
    }

    @Test
    void aTokenIsAskedForOnceAndPutIntoEachRequest() throws Exception {
        assertEquals(200, get("/a").statusCode());
        try (Response response = call("GET", "/b", null)) {
            assertEquals("status 200", response.body().string());
        }
        saw("here GET /a Bearer token-1", "here GET /b Bearer token-1");
        assertEquals(1, tokens.calls.get());
    }

    @Test
    void aRefusedTokenIsRenewedAndTheRequestRepeatedOnce() throws Exception {
        refused.add("Bearer token-1");
        assertEquals("status 200", send("PATCH", "/a", BodyPublishers.ofString("x")).body());
        saw("here PATCH /a Bearer token-1 x", "here PATCH /a Bearer token-2 x");
        refused.add("Bearer token-2");
        try (Response response = call("POST", "/b", RequestBody.create("y", MediaType.get("text/plain")))) {
            assertEquals("status 200", response.body().string());
        }
        saw("here POST /b Bearer token-2 y", "here POST /b Bearer token-3 y");
        HttpResponse<String> never = get("/never");
        assertEquals("401 status 401", never.statusCode() + " " + never.body());
        saw("here GET /never Bearer token-3", "here GET /never Bearer token-4");
        assertEquals(200, java.sendAsync(
                        HttpRequest.newBuilder(URI.create(url(here))).build(), BodyHandlers.discarding())
                .get()
                .statusCode());
    }

    @Test
    void the401StandsWhereThereIsNoOtherTokenOrTheBodyCannotBeSentAgain() throws Exception {
        tokens.same = true;
        HttpResponse<String> same = get("/never");
        assertEquals("401 status 401", same.statusCode() + " " + same.body());
        assertEquals(URI.create(url(here) + "/never"), same.uri());
        try (Response response = call("GET", "/never", null)) {
            assertEquals("status 401", response.body().string());
        }
        saw("here GET /never Bearer token-1", "here GET /never Bearer token-1");
        tokens.same = false;
        byte[] bytes = {'x'};
        var once = new ByteArrayInputStream(bytes);
        assertEquals(401, send("POST", "/never", BodyPublishers.ofInputStream(() -> once)).statusCode());
        RequestBody oneShot = new RequestBody() {
            @Override
            public MediaType contentType() {
                return null;
            }

            @Override
            public boolean isOneShot() {
                return true;
            }

            @Override
            public void writeTo(BufferedSink sink) throws IOException {
                sink.write(bytes);
            }
        };
        try (Response response = call("POST", "/never", oneShot)) {
            assertEquals(401, response.code());
        }
        saw("here POST /never Bearer token-1 x", "here POST /never Bearer token-1 x");
    }

    @Test
    void aTokenThatIsForOneUseIsNotAskedForTwice() throws Exception {
        tokens.oneTime = true;
        assertEquals(401, get("/never").statusCode());
        try (Response response = call("GET", "/never", null)) {
            assertEquals(401, response.code());
        }
        saw("here GET /never Bearer token-1", "here GET /never Bearer token-2");
    }

    @Test
    void aRedirectElsewhereGetsNoToken() throws Exception {
        assertEquals(200, get("/302/away").statusCode());
        call("GET", "/302/away", null).close();
        String[] away = {"here GET /302/away Bearer token-1", "elsewhere GET /end null"};
        saw(away[0], away[1], away[0], away[1]);
        assertEquals(200, get("/302/stay").statusCode());
        call("GET", "/302/stay", null).close();
        String[] stay = {"here GET /302/stay Bearer token-1", "here GET /end Bearer token-1"};
        saw(stay[0], stay[1], stay[0], stay[1]);
    }

    @Test
    void redirectsAreFollowedAsJavaDoes() throws Exception {
        for (String status : List.of("301", "302", "303", "307", "308")) {
            send("POST", "/" + status + "/stay", BodyPublishers.ofString("x"));
            boolean kept = status.compareTo("307") >= 0;
            saw(
                    "here POST /" + status + "/stay Bearer token-1 x",
                    kept ? "here POST /end Bearer token-1 x" : "here GET /end Bearer token-1");
        }
        HttpClient.Builder settings = HttpClient.newBuilder();
        HttpClient never = TokenHttpClient.of(keeper, P, settings, FakeServer.THREADS);
        HttpRequest request =
                HttpRequest.newBuilder(URI.create(url(here) + "/302/stay")).build();
        assertEquals(302, never.send(request, BodyHandlers.discarding()).statusCode());
        assertEquals(Redirect.NEVER, never.followRedirects());
        assertEquals(Redirect.NORMAL, java.followRedirects());
    }

    @Test
    void aRepetitionAfterARedirectIsOfTheLastRequest() throws Exception {
        refused.add("Bearer token-1");
        try (Response response = call("POST", "/303/stay", RequestBody.create("y", null))) {
            assertEquals(200, response.code());
        }
        saw("here POST /303/stay Bearer token-1 y", "here GET /end Bearer token-1", "here GET /end Bearer token-2");
    }

    @Test
    void withoutATokenThereIsNoRequest() {
        tokens.fails = FakeServer.failure(Status.Code.PERMISSION_DENIED, "NOT_GRANTED");
        IOException java = assertThrows(IOException.class, () -> get("/a"));
        IOException okHttp = assertThrows(IOException.class, () -> call("GET", "/a", null));
        HttpRequest request = HttpRequest.newBuilder(URI.create(url(here))).build();
        ExecutionException async = assertThrows(
                ExecutionException.class,
                () -> this.java.sendAsync(request, BodyHandlers.discarding()).get());
        for (Throwable e : List.of(java, okHttp, assertInstanceOf(IOException.class, async.getCause()))) {
            assertEquals("NOT_GRANTED", assertInstanceOf(JotsmithException.class, e.getCause()).reason());
        }
        saw();
    }

    @Test
    void aRequestWaitsNoLongerForItsTokenThanItsOwnTimeout() {
        tokens.holds = new CountDownLatch(1);
        HttpRequest request = HttpRequest.newBuilder(URI.create(url(here)))
                .timeout(Duration.ofMillis(100))
                .build();
        IOException e = assertThrows(IOException.class, () -> java.send(request, BodyHandlers.discarding()));
        assertEquals("DEADLINE_EXCEEDED", assertInstanceOf(JotsmithException.class, e.getCause()).reason());
        OkHttpClient brief = okHttp.newBuilder().callTimeout(Duration.ofMillis(100)).build();
        Request call = new Request.Builder().url(url(here)).build();
        assertThrows(IOException.class, () -> brief.newCall(call).execute());
        Thread.currentThread().interrupt();
        assertThrows(InterruptedException.class, () -> java.send(request, BodyHandlers.discarding()));
        tokens.holds.countDown();
    }

    @Test
    void anInterceptorOfTheNetworkWouldLetRedirectsTakeTheToken() {
        OkHttpClient wrong = new OkHttpClient.Builder()
                .addNetworkInterceptor(new JotsmithInterceptor(keeper, P))
                .build();
        Request request = new Request.Builder().url(url(here)).build();
        assertThrows(IllegalStateException.class, () -> wrong.newCall(request).execute());
    }

    @Test
    void settingsOfTheProgramsClientAreItsOwn() {
        HttpClient.Builder settings = HttpClient.newBuilder()
                .followRedirects(Redirect.ALWAYS)
                .connectTimeout(Duration.ofSeconds(3));
        HttpClient client = TokenHttpClient.of(keeper, P, settings, FakeServer.THREADS);
        assertEquals(Duration.ofSeconds(3), client.connectTimeout().orElseThrow());
        assertEquals(Redirect.ALWAYS, client.followRedirects());
        assertEquals(Redirect.ALWAYS, settings.build().followRedirects());
        assertSame(HttpClient.Version.HTTP_2, client.version());
    }
}
