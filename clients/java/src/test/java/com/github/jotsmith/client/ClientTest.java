package com.github.jotsmith.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.protobuf.Any;
import com.google.rpc.BadRequest;
import io.grpc.Status;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CancellationException;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.function.Consumer;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

@Timeout(30)
class ClientTest {
    @TempDir
    private Path dir;

    private static JotsmithClient of(Script script) {
        return JotsmithClient.builder()
                .address(script.address())
                .timeout(Duration.ofSeconds(6))
                .connect(name -> null);
    }

    private static void refuses(String want, String address, Consumer<ClientBuilder> settings) {
        ClientBuilder builder = JotsmithClient.builder().address(address);
        settings.accept(builder);
        Exception e = assertThrows(IllegalArgumentException.class, () -> builder.connect(name -> null), want);
        assertTrue(e.getMessage().contains(want), e.getMessage() + ", want " + want);
    }

    @Test
    void connectSaysWhatIsWrongWithItsSettings() throws Exception {
        Path junk = Files.writeString(dir.resolve("junk"), "two words");
        Path none = dir.resolve("none");
        Path big = Files.writeString(dir.resolve("big"), "a".repeat(8194));
        refuses("neither unix:///PATH nor HOST:PORT", "nowhere", b -> {});
        refuses("neither unix:///PATH nor HOST:PORT", "http://host:1", b -> {});
        refuses("no path", "unix://s", b -> {});
        refuses("client certificate or a token", "host:1", b -> {});
        refuses("no TLS", "unix:///s", b -> b.ca(junk));
        refuses("no TLS", "unix:///s", b -> b.serverName("name"));
        refuses("no PEM certificate", "host:1", b -> b.ca(junk));
        refuses("go together", "host:1", b -> b.certificate(junk, null));
        refuses("client certificate: ", "host:1", b -> b.certificate(junk, junk));
        refuses("a token alone", "host:1", b -> b.bearerFile(junk));
        refuses("longer than a token", "host:1", b -> b.bearerFile(big));
        refuses("not a regular file", "host:1", b -> b.bearerFile(dir));
        refuses("no such file", "host:1", b -> b.bearerFile(none));
        refuses("not for", "localhost:1", b -> b.plaintextLoopback());
        refuses("not for", "[::ffff:127.0.0.1]:1", b -> b.plaintextLoopback());
        refuses("not for", "unix:///s", b -> b.plaintextLoopback());
        refuses("exclude each other", "127.0.0.1:1", b -> b.plaintextLoopback().ca(junk));
        refuses("not sent in plaintext", "[::1]:1", b -> b.plaintextLoopback().bearer("t"));
        refuses("not a token alone", "unix:///s", b -> b.bearer("a b"));
        assertThrows(IllegalArgumentException.class, () -> JotsmithClient.builder().timeout(Duration.ZERO));
        assertThrows(IllegalArgumentException.class, () -> JotsmithClient.builder().maxKept(0));
    }

    @Test
    void theEnvironmentSaysWhatNobodyElseDoes() throws Exception {
        Map<String, String> environment = Map.of(
                "JOTSMITH_ADDRESS", "unix:///of/the/environment",
                "JOTSMITH_TLS_CA", "/of/another/server", // which does not concern a Unix socket
                "JOTSMITH_TLS_CERT", "/cert",
                "JOTSMITH_TLS_KEY", "/key",
                "JOTSMITH_TLS_SERVER_NAME", "name",
                "JOTSMITH_BEARER_FILE", "/bearer");
        Settings none = settings(null, null, null);
        Settings unix = none.filled(environment::get);
        assertEquals("unix:///of/the/environment", unix.address());
        assertTrue(!unix.anyTls() && unix.bearerFile().equals(Path.of("/bearer")));
        Settings tls = settings("host:1", null, "b").filled(environment::get);
        assertEquals(Path.of("/of/another/server"), tls.ca());
        assertEquals(Path.of("/key"), tls.key());
        assertEquals("name", tls.serverName());
        assertEquals(null, tls.bearerFile());
        assertEquals(null, settings("host:1", Path.of("/mine"), null).filled(environment::get).key());
        assertEquals(Settings.DEFAULT_ADDRESS, none.filled(name -> "").address());
        assertTrue(none.filled(name -> name.endsWith("LOOPBACK") ? "true" : null).plaintextLoopback());
    }

    private static Settings settings(String address, Path certificate, String bearer) {
        return new Settings(address, null, certificate, null, null, bearer, null, false, Duration.ofSeconds(1), 1);
    }

    @Test
    void whatTheServerSaysIsANativeError() throws Exception {
        try (Script script = Script.onSocket();
                JotsmithClient client = of(script)) {
            for (Status.Code code : Status.Code.values()) {
                if (code == Status.Code.OK) {
                    continue;
                }
                script.says = FakeServer.status(code, "SOME_REASON", Duration.ofSeconds(7));
                JotsmithException e = assertThrows(JotsmithException.class, () -> client.token("p"));
                assertEquals(code, e.code());
                assertEquals("SOME_REASON", e.reason());
                assertEquals("told", e.text());
                assertEquals("jotsmith: SOME_REASON: told", e.getMessage());
                assertEquals(Duration.ofSeconds(7), e.retryAfter());
                if (code == Status.Code.DEADLINE_EXCEEDED) {
                    assertInstanceOf(TimeoutException.class, e.getCause());
                }
                if (code == Status.Code.CANCELLED) {
                    assertInstanceOf(CancellationException.class, e.getCause());
                }
            }
            BadRequest wrong = BadRequest.newBuilder()
                    .addFieldViolations(BadRequest.FieldViolation.newBuilder().setField("ttl").setDescription("no"))
                    .build();
            script.says = FakeServer.status(Status.Code.INVALID_ARGUMENT, "INVALID_REQUEST", Duration.ZERO).toBuilder()
                    .addDetails(Any.pack(wrong))
                    .build();
            JotsmithException e = assertThrows(JotsmithException.class, () -> client.token("p"));
            assertEquals(List.of(new Violation("ttl", "no")), e.violations());
        }
    }

    @Test
    void aBearerOverASocketIsReadAnewForEachCall() throws Exception {
        Path file = Files.writeString(dir.resolve("bearer"), "first\r\n");
        try (Script script = Script.onSocket();
                JotsmithClient client =
                        JotsmithClient.builder().address(script.address()).bearerFile(file).connect(name -> null)) {
            assertThrows(JotsmithException.class, () -> client.token("p"));
            Files.writeString(file, "second");
            assertThrows(JotsmithException.class, () -> client.token("p"));
            assertEquals(List.of("Bearer first", "Bearer second"), script.bearers);
            Files.writeString(file, "");
            JotsmithException e = assertThrows(JotsmithException.class, () -> client.token("p"));
            assertEquals(Status.Code.UNAUTHENTICATED, e.code());
            assertEquals(2, script.bearers.size());
        }
    }

    @Test
    void nobodyThereIsUnavailableAndTriedAgainUntilTheDeadline() {
        try (JotsmithClient client = JotsmithClient.builder()
                .address("unix://" + dir.resolve("nobody"))
                .timeout(Duration.ofSeconds(3))
                .connect(name -> null)) {
            JotsmithException e = assertThrows(JotsmithException.class, () -> client.token("p"));
            assertEquals(Status.Code.UNAVAILABLE, e.code());
            assertEquals("", e.reason());
            JotsmithException late = assertThrows(
                    JotsmithException.class, () -> client.token(TokenRequest.of("p"), Duration.ofMillis(50)));
            assertEquals("DEADLINE_EXCEEDED", late.reason());
        }
    }

    @Test
    void aCloseEndsWhatIsUnderWay() throws Exception {
        JotsmithClient client = JotsmithClient.builder()
                .address("unix://" + dir.resolve("nobody"))
                .timeout(Duration.ofMinutes(1))
                .connect(name -> null);
        List<Future<JotsmithException>> ends = new ArrayList<>();
        for (Runnable call : List.<Runnable>of(
                () -> client.token("p"),
                () -> client.keys(),
                () -> client.batch(List.of(TokenRequest.of("p"))),
                () -> client.explain(TokenRequest.of("p")),
                () -> client.watch("p").next())) {
            ends.add(FakeServer.THREADS.submit(() -> assertThrows(JotsmithException.class, call::run)));
        }
        Thread.sleep(300); // all of them are somewhere in their waits; wherever, they end
        client.close();
        for (var end : ends) {
            assertEquals("CANCELLED", end.get(5, TimeUnit.SECONDS).reason());
        }
        assertEquals("CANCELLED", assertThrows(JotsmithException.class, () -> client.token("p")).reason());
        assertEquals("CANCELLED", assertThrows(JotsmithException.class, () -> client.keys()).reason());
        assertEquals(
                "CANCELLED", assertThrows(JotsmithException.class, () -> client.watch("p").hasNext()).reason());
        HttpClient web = client.httpClient(HttpClient.newBuilder(), "p");
        HttpRequest request = HttpRequest.newBuilder(URI.create("http://127.0.0.1:1")).build();
        ExecutionException e = assertThrows(
                ExecutionException.class,
                () -> web.sendAsync(request, HttpResponse.BodyHandlers.discarding()).get());
        assertInstanceOf(JotsmithException.class, e.getCause().getCause());
        client.close();
    }
}
