package com.github.jotsmith.client;

import com.github.jotsmith.v1.MintTokenRequest;
import com.github.jotsmith.v1.MintTokenResponse;
import com.github.jotsmith.v1.TokenServiceGrpc;
import com.github.jotsmith.v1.WatchTokenRequest;
import com.github.jotsmith.v1.WatchTokenResponse;
import io.grpc.Context;
import io.grpc.Contexts;
import io.grpc.Metadata;
import io.grpc.Server;
import io.grpc.ServerCall;
import io.grpc.ServerCallHandler;
import io.grpc.ServerInterceptor;
import io.grpc.Status;
import io.grpc.netty.shaded.io.grpc.netty.NettyServerBuilder;
import io.grpc.netty.shaded.io.netty.channel.ChannelOption;
import io.grpc.netty.shaded.io.netty.channel.MultiThreadIoEventLoopGroup;
import io.grpc.netty.shaded.io.netty.channel.nio.NioIoHandler;
import io.grpc.netty.shaded.io.netty.channel.socket.nio.NioServerDomainSocketChannel;
import io.grpc.netty.shaded.io.netty.handler.ssl.SslContext;
import io.grpc.protobuf.StatusProto;
import io.grpc.stub.StreamObserver;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.UnixDomainSocketAddress;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;

/** A server over gRPC that says what a test has written down. */
final class Script extends TokenServiceGrpc.TokenServiceImplBase implements AutoCloseable {
    /**
     * What one call of WatchToken brings.
     *
     * @param tokens the texts of the tokens
     * @param end of the stream; null where it stays open
     */
    record Stream(List<String> tokens, Status end) {}

    final BlockingQueue<Stream> streams = new LinkedBlockingQueue<>();
    final List<Long> began = new CopyOnWriteArrayList<>(); // nanoseconds
    final List<String> bearers = new CopyOnWriteArrayList<>(); // of all calls
    volatile com.google.rpc.Status says = FakeServer.status(Status.Code.INTERNAL, "REACHED", Duration.ZERO);
    private final Server server;
    private final MultiThreadIoEventLoopGroup loop = new MultiThreadIoEventLoopGroup(1, NioIoHandler.newFactory());
    private final Path socket;

    private Script(Path socket, SslContext tls) throws IOException {
        this.socket = socket;
        NettyServerBuilder builder = socket == null
                ? NettyServerBuilder.forAddress(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0))
                : NettyServerBuilder.forAddress(UnixDomainSocketAddress.of(socket))
                        .channelType(NioServerDomainSocketChannel.class)
                        .bossEventLoopGroup(loop)
                        .workerEventLoopGroup(loop)
                        .withChildOption(ChannelOption.SO_KEEPALIVE, null);
        if (tls != null) {
            builder.sslContext(tls);
        }
        server = builder.addService(this).intercept(new Listening()).build().start();
    }

    static Script onLoopback() throws IOException {
        return new Script(null, null);
    }

    static Script overTls(SslContext tls) throws IOException {
        return new Script(null, tls);
    }

    static Script onSocket() throws IOException {
        return new Script(Files.createTempDirectory("jot").resolve("s"), null);
    }

    String address() {
        return socket != null ? "unix://" + socket : "127.0.0.1:" + server.getPort();
    }

    /** Notes the authorization of each call. */
    private final class Listening implements ServerInterceptor {
        @Override
        public <Q, A> ServerCall.Listener<Q> interceptCall(
                ServerCall<Q, A> call, Metadata headers, ServerCallHandler<Q, A> next) {
            bearers.add(String.valueOf(headers.get(Bearer.AUTHORIZATION)));
            return Contexts.interceptCall(Context.current(), call, headers, next);
        }
    }

    @Override
    public void mintToken(MintTokenRequest request, StreamObserver<MintTokenResponse> out) {
        out.onError(StatusProto.toStatusRuntimeException(says));
    }

    @Override
    public void watchToken(WatchTokenRequest request, StreamObserver<WatchTokenResponse> out) {
        began.add(System.nanoTime());
        Stream next = streams.poll();
        if (next == null) {
            out.onError(Status.INTERNAL.withDescription("the script is over").asRuntimeException());
            return;
        }
        for (String text : next.tokens) {
            MintTokenResponse token = MintTokenResponse.newBuilder().setToken(text).build();
            out.onNext(WatchTokenResponse.newBuilder().setToken(token).build());
        }
        if (next.end != null && next.end.isOk()) {
            out.onCompleted();
        } else if (next.end != null) {
            out.onError(next.end.asRuntimeException());
        }
    }

    @Override
    public void close() throws IOException {
        try {
            server.shutdownNow().awaitTermination(5, TimeUnit.SECONDS);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
        var unused = loop.shutdownGracefully(0, 1, TimeUnit.SECONDS);
        if (socket != null) {
            Files.deleteIfExists(socket);
            Files.delete(socket.getParent());
        }
    }
}
