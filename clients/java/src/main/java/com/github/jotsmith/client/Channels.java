package com.github.jotsmith.client;

import io.grpc.ManagedChannel;
import io.grpc.netty.shaded.io.grpc.netty.NettyChannelBuilder;
import io.grpc.netty.shaded.io.netty.channel.ChannelOption;
import io.grpc.netty.shaded.io.netty.channel.EventLoopGroup;
import io.grpc.netty.shaded.io.netty.channel.MultiThreadIoEventLoopGroup;
import io.grpc.netty.shaded.io.netty.channel.nio.NioIoHandler;
import io.grpc.netty.shaded.io.netty.channel.socket.nio.NioDomainSocketChannel;
import io.grpc.netty.shaded.io.netty.util.concurrent.DefaultThreadFactory;
import java.net.UnixDomainSocketAddress;
import java.util.concurrent.TimeUnit;
import java.util.regex.Pattern;

/** Makes the connection that the settings describe. */
final class Channels {
    /** A host, or an address of IPv6 in brackets, and a port. */
    private static final Pattern HOST_PORT = Pattern.compile("(\\[[0-9A-Fa-f:.%]+]|[^\\s:/?#@\\[\\]]+):[0-9]{1,5}");

    private static final Pattern LOOPBACK = Pattern.compile("(127(\\.[0-9]{1,3}){3}|\\[::1]):[0-9]{1,5}");

    private Channels() {}

    /**
     * The channel, which whoever called closes, and what is to be closed after it.
     *
     * @param channel the connection; it has called nobody yet
     * @param after ends the threads that are the channel's alone
     */
    record Opened(ManagedChannel channel, Runnable after) {}

    /**
     * Makes a channel.
     *
     * @throws IllegalArgumentException where the settings contradict each other or a file cannot be read
     */
    static Opened open(Settings settings) {
        String address = settings.address();
        if (settings.plaintextLoopback()) {
            mayBePlaintext(settings);
            // By whatever name or proxy, it goes to no other machine.
            NettyChannelBuilder builder = NettyChannelBuilder.forTarget(target(address))
                    .usePlaintext()
                    .proxyDetector(target -> null);
            return new Opened(finish(builder), () -> {});
        }
        if (address.startsWith("unix:")) {
            if (settings.anyTls()) {
                throw new IllegalArgumentException("the TLS settings are for HOST:PORT; " + address
                        + " is a Unix socket, which has no TLS");
            }
            return unix(address);
        }
        if (!HOST_PORT.matcher(address).matches()) {
            throw new IllegalArgumentException("address \"" + address + "\" is neither unix:///PATH nor HOST:PORT");
        }
        FreshTls tls = new FreshTls(settings.ca(), settings.certificate(), settings.key());
        if (settings.certificate() == null && !settings.anyBearer()) {
            throw new IllegalArgumentException("a server at HOST:PORT wants a client certificate or a token;"
                    + " set certificate, or bearerFile");
        }
        NettyChannelBuilder builder = NettyChannelBuilder.forTarget(target(address)).sslContext(tls);
        if (settings.serverName() != null) {
            builder.overrideAuthority(settings.serverName());
        }
        return new Opened(finish(builder), () -> {});
    }

    /** The name of an address for gRPC, in which the brackets of IPv6 have to be escaped. */
    private static String target(String address) {
        return "dns:///" + address.replace("[", "%5B").replace("]", "%5D");
    }

    /** Over java.nio, which needs no native library and is the same on all systems. */
    private static Opened unix(String address) {
        String path = address.substring("unix:".length());
        if (path.startsWith("//")) {
            path = path.substring(2);
            if (!path.startsWith("/")) {
                throw new IllegalArgumentException("address \"" + address + "\" has no path after unix://");
            }
        }
        var loop = new MultiThreadIoEventLoopGroup(
                1, new DefaultThreadFactory("jotsmith", true), NioIoHandler.newFactory());
        try {
            NettyChannelBuilder builder = NettyChannelBuilder.forAddress(UnixDomainSocketAddress.of(path))
                    .channelType(NioDomainSocketChannel.class, UnixDomainSocketAddress.class)
                    .eventLoopGroup(loop)
                    // gRPC sets it; a Unix socket has no such option, and each connection would log that.
                    .withOption(ChannelOption.SO_KEEPALIVE, null)
                    .overrideAuthority("localhost")
                    .usePlaintext()
                    .proxyDetector(target -> null);
            return new Opened(finish(builder), () -> end(loop));
        } catch (RuntimeException wrong) {
            end(loop);
            throw wrong;
        }
    }

    /** Ends the thread, which nobody needs to wait for: its channel has been closed. */
    private static void end(EventLoopGroup loop) {
        var unused = loop.shutdownGracefully(0, 1, TimeUnit.SECONDS);
    }

    private static ManagedChannel finish(NettyChannelBuilder builder) {
        ManagedChannel channel = builder.userAgent("jotsmith-java")
                .disableServiceConfigLookUp()
                .disableRetry() // what is tried again, and when, is decided here
                .keepAliveTime(45, TimeUnit.SECONDS)
                .keepAliveTimeout(10, TimeUnit.SECONDS)
                .withOption(ChannelOption.CONNECT_TIMEOUT_MILLIS, 5_000)
                .build();
        new Reconnects(channel).begin();
        return channel;
    }

    private static void mayBePlaintext(Settings settings) {
        String address = settings.address();
        if (!LOOPBACK.matcher(address).matches()) {
            throw new IllegalArgumentException(
                    "plaintext is for 127.0.0.1:PORT or [::1]:PORT, not for \"" + address + "\"");
        }
        if (settings.anyTls()) {
            throw new IllegalArgumentException("the TLS settings and plaintext exclude each other");
        }
        if (settings.anyBearer()) {
            throw new IllegalArgumentException("a bearer is not sent in plaintext");
        }
    }
}
