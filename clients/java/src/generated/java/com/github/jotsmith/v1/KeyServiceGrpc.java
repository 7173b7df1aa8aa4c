package com.github.jotsmith.v1;

import static io.grpc.MethodDescriptor.generateFullMethodName;

/**
 * <pre>
 * KeyService publishes the public keys that verify minted tokens.
 * </pre>
 */
@io.grpc.stub.annotations.GrpcGenerated
public final class KeyServiceGrpc {

  private KeyServiceGrpc() {}

  public static final java.lang.String SERVICE_NAME = "jotsmith.v1.KeyService";

  // Static method descriptors that strictly reflect the proto.
  private static volatile io.grpc.MethodDescriptor<com.github.jotsmith.v1.ListKeysRequest,
      com.github.jotsmith.v1.ListKeysResponse> getListKeysMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "ListKeys",
      requestType = com.github.jotsmith.v1.ListKeysRequest.class,
      responseType = com.github.jotsmith.v1.ListKeysResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<com.github.jotsmith.v1.ListKeysRequest,
      com.github.jotsmith.v1.ListKeysResponse> getListKeysMethod() {
    io.grpc.MethodDescriptor<com.github.jotsmith.v1.ListKeysRequest, com.github.jotsmith.v1.ListKeysResponse> getListKeysMethod;
    if ((getListKeysMethod = KeyServiceGrpc.getListKeysMethod) == null) {
      synchronized (KeyServiceGrpc.class) {
        if ((getListKeysMethod = KeyServiceGrpc.getListKeysMethod) == null) {
          KeyServiceGrpc.getListKeysMethod = getListKeysMethod =
              io.grpc.MethodDescriptor.<com.github.jotsmith.v1.ListKeysRequest, com.github.jotsmith.v1.ListKeysResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "ListKeys"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  com.github.jotsmith.v1.ListKeysRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  com.github.jotsmith.v1.ListKeysResponse.getDefaultInstance()))
              .setSchemaDescriptor(new KeyServiceMethodDescriptorSupplier("ListKeys"))
              .build();
        }
      }
    }
    return getListKeysMethod;
  }

  private static volatile io.grpc.MethodDescriptor<com.github.jotsmith.v1.WatchKeysRequest,
      com.github.jotsmith.v1.WatchKeysResponse> getWatchKeysMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "WatchKeys",
      requestType = com.github.jotsmith.v1.WatchKeysRequest.class,
      responseType = com.github.jotsmith.v1.WatchKeysResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.SERVER_STREAMING)
  public static io.grpc.MethodDescriptor<com.github.jotsmith.v1.WatchKeysRequest,
      com.github.jotsmith.v1.WatchKeysResponse> getWatchKeysMethod() {
    io.grpc.MethodDescriptor<com.github.jotsmith.v1.WatchKeysRequest, com.github.jotsmith.v1.WatchKeysResponse> getWatchKeysMethod;
    if ((getWatchKeysMethod = KeyServiceGrpc.getWatchKeysMethod) == null) {
      synchronized (KeyServiceGrpc.class) {
        if ((getWatchKeysMethod = KeyServiceGrpc.getWatchKeysMethod) == null) {
          KeyServiceGrpc.getWatchKeysMethod = getWatchKeysMethod =
              io.grpc.MethodDescriptor.<com.github.jotsmith.v1.WatchKeysRequest, com.github.jotsmith.v1.WatchKeysResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.SERVER_STREAMING)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "WatchKeys"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  com.github.jotsmith.v1.WatchKeysRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  com.github.jotsmith.v1.WatchKeysResponse.getDefaultInstance()))
              .setSchemaDescriptor(new KeyServiceMethodDescriptorSupplier("WatchKeys"))
              .build();
        }
      }
    }
    return getWatchKeysMethod;
  }

  private static volatile io.grpc.MethodDescriptor<com.github.jotsmith.v1.ListPublishedFilesRequest,
      com.github.jotsmith.v1.ListPublishedFilesResponse> getListPublishedFilesMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "ListPublishedFiles",
      requestType = com.github.jotsmith.v1.ListPublishedFilesRequest.class,
      responseType = com.github.jotsmith.v1.ListPublishedFilesResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<com.github.jotsmith.v1.ListPublishedFilesRequest,
      com.github.jotsmith.v1.ListPublishedFilesResponse> getListPublishedFilesMethod() {
    io.grpc.MethodDescriptor<com.github.jotsmith.v1.ListPublishedFilesRequest, com.github.jotsmith.v1.ListPublishedFilesResponse> getListPublishedFilesMethod;
    if ((getListPublishedFilesMethod = KeyServiceGrpc.getListPublishedFilesMethod) == null) {
      synchronized (KeyServiceGrpc.class) {
        if ((getListPublishedFilesMethod = KeyServiceGrpc.getListPublishedFilesMethod) == null) {
          KeyServiceGrpc.getListPublishedFilesMethod = getListPublishedFilesMethod =
              io.grpc.MethodDescriptor.<com.github.jotsmith.v1.ListPublishedFilesRequest, com.github.jotsmith.v1.ListPublishedFilesResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "ListPublishedFiles"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  com.github.jotsmith.v1.ListPublishedFilesRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  com.github.jotsmith.v1.ListPublishedFilesResponse.getDefaultInstance()))
              .setSchemaDescriptor(new KeyServiceMethodDescriptorSupplier("ListPublishedFiles"))
              .build();
        }
      }
    }
    return getListPublishedFilesMethod;
  }

  /**
   * Creates a new async stub that supports all call types for the service
   */
  public static KeyServiceStub newStub(io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<KeyServiceStub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<KeyServiceStub>() {
        @java.lang.Override
        public KeyServiceStub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new KeyServiceStub(channel, callOptions);
        }
      };
    return KeyServiceStub.newStub(factory, channel);
  }

  /**
   * Creates a new blocking-style stub that supports all types of calls on the service
   */
  public static KeyServiceBlockingV2Stub newBlockingV2Stub(
      io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<KeyServiceBlockingV2Stub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<KeyServiceBlockingV2Stub>() {
        @java.lang.Override
        public KeyServiceBlockingV2Stub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new KeyServiceBlockingV2Stub(channel, callOptions);
        }
      };
    return KeyServiceBlockingV2Stub.newStub(factory, channel);
  }

  /**
   * Creates a new blocking-style stub that supports unary and streaming output calls on the service
   */
  public static KeyServiceBlockingStub newBlockingStub(
      io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<KeyServiceBlockingStub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<KeyServiceBlockingStub>() {
        @java.lang.Override
        public KeyServiceBlockingStub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new KeyServiceBlockingStub(channel, callOptions);
        }
      };
    return KeyServiceBlockingStub.newStub(factory, channel);
  }

  /**
   * Creates a new ListenableFuture-style stub that supports unary calls on the service
   */
  public static KeyServiceFutureStub newFutureStub(
      io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<KeyServiceFutureStub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<KeyServiceFutureStub>() {
        @java.lang.Override
        public KeyServiceFutureStub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new KeyServiceFutureStub(channel, callOptions);
        }
      };
    return KeyServiceFutureStub.newStub(factory, channel);
  }

  /**
   * <pre>
   * KeyService publishes the public keys that verify minted tokens.
   * </pre>
   */
  public interface AsyncService {

    /**
     * <pre>
     * ListKeys lists the keys of the profiles that the caller may mint, in the
     * order of their kid. A key that the server could not yet read from its
     * store is left out.
     * Whoever has a grant may call it. Safe to repeat.
     * Reasons: UNAUTHENTICATED, NOT_GRANTED.
     * </pre>
     */
    default void listKeys(com.github.jotsmith.v1.ListKeysRequest request,
        io.grpc.stub.StreamObserver<com.github.jotsmith.v1.ListKeysResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getListKeysMethod(), responseObserver);
    }

    /**
     * <pre>
     * WatchKeys sends the keys that ListKeys would list, at once and again each
     * time that they have changed. A key stays while its store is away.
     * Whoever has a grant may call it, as often at once as the server lets him
     * open watches. When the stream ends, call again: a new one begins with the
     * keys of that moment.
     * Reasons: UNAUTHENTICATED, NOT_GRANTED, QUOTA_EXCEEDED, DRAINING.
     * </pre>
     */
    default void watchKeys(com.github.jotsmith.v1.WatchKeysRequest request,
        io.grpc.stub.StreamObserver<com.github.jotsmith.v1.WatchKeysResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getWatchKeysMethod(), responseObserver);
    }

    /**
     * <pre>
     * ListPublishedFiles lists what the server publishes over HTTP, byte for byte,
     * in the order of the paths, for whoever serves the same from elsewhere.
     * Whoever is known to the server may call it: all of it is public. Safe to
     * repeat.
     * Reasons: UNAUTHENTICATED.
     * </pre>
     */
    default void listPublishedFiles(com.github.jotsmith.v1.ListPublishedFilesRequest request,
        io.grpc.stub.StreamObserver<com.github.jotsmith.v1.ListPublishedFilesResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getListPublishedFilesMethod(), responseObserver);
    }
  }

  /**
   * Base class for the server implementation of the service KeyService.
   * <pre>
   * KeyService publishes the public keys that verify minted tokens.
   * </pre>
   */
  public static abstract class KeyServiceImplBase
      implements io.grpc.BindableService, AsyncService {

    @java.lang.Override public final io.grpc.ServerServiceDefinition bindService() {
      return KeyServiceGrpc.bindService(this);
    }
  }

  /**
   * A stub to allow clients to do asynchronous rpc calls to service KeyService.
   * <pre>
   * KeyService publishes the public keys that verify minted tokens.
   * </pre>
   */
  public static final class KeyServiceStub
      extends io.grpc.stub.AbstractAsyncStub<KeyServiceStub> {
    private KeyServiceStub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected KeyServiceStub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new KeyServiceStub(channel, callOptions);
    }

    /**
     * <pre>
     * ListKeys lists the keys of the profiles that the caller may mint, in the
     * order of their kid. A key that the server could not yet read from its
     * store is left out.
     * Whoever has a grant may call it. Safe to repeat.
     * Reasons: UNAUTHENTICATED, NOT_GRANTED.
     * </pre>
     */
    public void listKeys(com.github.jotsmith.v1.ListKeysRequest request,
        io.grpc.stub.StreamObserver<com.github.jotsmith.v1.ListKeysResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getListKeysMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * WatchKeys sends the keys that ListKeys would list, at once and again each
     * time that they have changed. A key stays while its store is away.
     * Whoever has a grant may call it, as often at once as the server lets him
     * open watches. When the stream ends, call again: a new one begins with the
     * keys of that moment.
     * Reasons: UNAUTHENTICATED, NOT_GRANTED, QUOTA_EXCEEDED, DRAINING.
     * </pre>
     */
    public void watchKeys(com.github.jotsmith.v1.WatchKeysRequest request,
        io.grpc.stub.StreamObserver<com.github.jotsmith.v1.WatchKeysResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncServerStreamingCall(
          getChannel().newCall(getWatchKeysMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * ListPublishedFiles lists what the server publishes over HTTP, byte for byte,
     * in the order of the paths, for whoever serves the same from elsewhere.
     * Whoever is known to the server may call it: all of it is public. Safe to
     * repeat.
     * Reasons: UNAUTHENTICATED.
     * </pre>
     */
    public void listPublishedFiles(com.github.jotsmith.v1.ListPublishedFilesRequest request,
        io.grpc.stub.StreamObserver<com.github.jotsmith.v1.ListPublishedFilesResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getListPublishedFilesMethod(), getCallOptions()), request, responseObserver);
    }
  }

  /**
   * A stub to allow clients to do synchronous rpc calls to service KeyService.
   * <pre>
   * KeyService publishes the public keys that verify minted tokens.
   * </pre>
   */
  public static final class KeyServiceBlockingV2Stub
      extends io.grpc.stub.AbstractBlockingStub<KeyServiceBlockingV2Stub> {
    private KeyServiceBlockingV2Stub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected KeyServiceBlockingV2Stub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new KeyServiceBlockingV2Stub(channel, callOptions);
    }

    /**
     * <pre>
     * ListKeys lists the keys of the profiles that the caller may mint, in the
     * order of their kid. A key that the server could not yet read from its
     * store is left out.
     * Whoever has a grant may call it. Safe to repeat.
     * Reasons: UNAUTHENTICATED, NOT_GRANTED.
     * </pre>
     */
    public com.github.jotsmith.v1.ListKeysResponse listKeys(com.github.jotsmith.v1.ListKeysRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getListKeysMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * WatchKeys sends the keys that ListKeys would list, at once and again each
     * time that they have changed. A key stays while its store is away.
     * Whoever has a grant may call it, as often at once as the server lets him
     * open watches. When the stream ends, call again: a new one begins with the
     * keys of that moment.
     * Reasons: UNAUTHENTICATED, NOT_GRANTED, QUOTA_EXCEEDED, DRAINING.
     * </pre>
     */
    @io.grpc.ExperimentalApi("https://github.com/grpc/grpc-java/issues/10918")
    public io.grpc.stub.BlockingClientCall<?, com.github.jotsmith.v1.WatchKeysResponse>
        watchKeys(com.github.jotsmith.v1.WatchKeysRequest request) {
      return io.grpc.stub.ClientCalls.blockingV2ServerStreamingCall(
          getChannel(), getWatchKeysMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * ListPublishedFiles lists what the server publishes over HTTP, byte for byte,
     * in the order of the paths, for whoever serves the same from elsewhere.
     * Whoever is known to the server may call it: all of it is public. Safe to
     * repeat.
     * Reasons: UNAUTHENTICATED.
     * </pre>
     */
    public com.github.jotsmith.v1.ListPublishedFilesResponse listPublishedFiles(com.github.jotsmith.v1.ListPublishedFilesRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getListPublishedFilesMethod(), getCallOptions(), request);
    }
  }

  /**
   * A stub to allow clients to do limited synchronous rpc calls to service KeyService.
   * <pre>
   * KeyService publishes the public keys that verify minted tokens.
   * </pre>
   */
  public static final class KeyServiceBlockingStub
      extends io.grpc.stub.AbstractBlockingStub<KeyServiceBlockingStub> {
    private KeyServiceBlockingStub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected KeyServiceBlockingStub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new KeyServiceBlockingStub(channel, callOptions);
    }

    /**
     * <pre>
     * ListKeys lists the keys of the profiles that the caller may mint, in the
     * order of their kid. A key that the server could not yet read from its
     * store is left out.
     * Whoever has a grant may call it. Safe to repeat.
     * Reasons: UNAUTHENTICATED, NOT_GRANTED.
     * </pre>
     */
    public com.github.jotsmith.v1.ListKeysResponse listKeys(com.github.jotsmith.v1.ListKeysRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getListKeysMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * WatchKeys sends the keys that ListKeys would list, at once and again each
     * time that they have changed. A key stays while its store is away.
     * Whoever has a grant may call it, as often at once as the server lets him
     * open watches. When the stream ends, call again: a new one begins with the
     * keys of that moment.
     * Reasons: UNAUTHENTICATED, NOT_GRANTED, QUOTA_EXCEEDED, DRAINING.
     * </pre>
     */
    public java.util.Iterator<com.github.jotsmith.v1.WatchKeysResponse> watchKeys(
        com.github.jotsmith.v1.WatchKeysRequest request) {
      return io.grpc.stub.ClientCalls.blockingServerStreamingCall(
          getChannel(), getWatchKeysMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * ListPublishedFiles lists what the server publishes over HTTP, byte for byte,
     * in the order of the paths, for whoever serves the same from elsewhere.
     * Whoever is known to the server may call it: all of it is public. Safe to
     * repeat.
     * Reasons: UNAUTHENTICATED.
     * </pre>
     */
    public com.github.jotsmith.v1.ListPublishedFilesResponse listPublishedFiles(com.github.jotsmith.v1.ListPublishedFilesRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getListPublishedFilesMethod(), getCallOptions(), request);
    }
  }

  /**
   * A stub to allow clients to do ListenableFuture-style rpc calls to service KeyService.
   * <pre>
   * KeyService publishes the public keys that verify minted tokens.
   * </pre>
   */
  public static final class KeyServiceFutureStub
      extends io.grpc.stub.AbstractFutureStub<KeyServiceFutureStub> {
    private KeyServiceFutureStub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected KeyServiceFutureStub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new KeyServiceFutureStub(channel, callOptions);
    }

    /**
     * <pre>
     * ListKeys lists the keys of the profiles that the caller may mint, in the
     * order of their kid. A key that the server could not yet read from its
     * store is left out.
     * Whoever has a grant may call it. Safe to repeat.
     * Reasons: UNAUTHENTICATED, NOT_GRANTED.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<com.github.jotsmith.v1.ListKeysResponse> listKeys(
        com.github.jotsmith.v1.ListKeysRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getListKeysMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * ListPublishedFiles lists what the server publishes over HTTP, byte for byte,
     * in the order of the paths, for whoever serves the same from elsewhere.
     * Whoever is known to the server may call it: all of it is public. Safe to
     * repeat.
     * Reasons: UNAUTHENTICATED.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<com.github.jotsmith.v1.ListPublishedFilesResponse> listPublishedFiles(
        com.github.jotsmith.v1.ListPublishedFilesRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getListPublishedFilesMethod(), getCallOptions()), request);
    }
  }

  private static final int METHODID_LIST_KEYS = 0;
  private static final int METHODID_WATCH_KEYS = 1;
  private static final int METHODID_LIST_PUBLISHED_FILES = 2;

  private static final class MethodHandlers<Req, Resp> implements
      io.grpc.stub.ServerCalls.UnaryMethod<Req, Resp>,
      io.grpc.stub.ServerCalls.ServerStreamingMethod<Req, Resp>,
      io.grpc.stub.ServerCalls.ClientStreamingMethod<Req, Resp>,
      io.grpc.stub.ServerCalls.BidiStreamingMethod<Req, Resp> {
    private final AsyncService serviceImpl;
    private final int methodId;

    MethodHandlers(AsyncService serviceImpl, int methodId) {
      this.serviceImpl = serviceImpl;
      this.methodId = methodId;
    }

    @java.lang.Override
    @java.lang.SuppressWarnings("unchecked")
    public void invoke(Req request, io.grpc.stub.StreamObserver<Resp> responseObserver) {
      switch (methodId) {
        case METHODID_LIST_KEYS:
          serviceImpl.listKeys((com.github.jotsmith.v1.ListKeysRequest) request,
              (io.grpc.stub.StreamObserver<com.github.jotsmith.v1.ListKeysResponse>) responseObserver);
          break;
        case METHODID_WATCH_KEYS:
          serviceImpl.watchKeys((com.github.jotsmith.v1.WatchKeysRequest) request,
              (io.grpc.stub.StreamObserver<com.github.jotsmith.v1.WatchKeysResponse>) responseObserver);
          break;
        case METHODID_LIST_PUBLISHED_FILES:
          serviceImpl.listPublishedFiles((com.github.jotsmith.v1.ListPublishedFilesRequest) request,
              (io.grpc.stub.StreamObserver<com.github.jotsmith.v1.ListPublishedFilesResponse>) responseObserver);
          break;
        default:
          throw new AssertionError();
      }
    }

    @java.lang.Override
    @java.lang.SuppressWarnings("unchecked")
    public io.grpc.stub.StreamObserver<Req> invoke(
        io.grpc.stub.StreamObserver<Resp> responseObserver) {
      switch (methodId) {
        default:
          throw new AssertionError();
      }
    }
  }

  public static final io.grpc.ServerServiceDefinition bindService(AsyncService service) {
    return io.grpc.ServerServiceDefinition.builder(getServiceDescriptor())
        .addMethod(
          getListKeysMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              com.github.jotsmith.v1.ListKeysRequest,
              com.github.jotsmith.v1.ListKeysResponse>(
                service, METHODID_LIST_KEYS)))
        .addMethod(
          getWatchKeysMethod(),
          io.grpc.stub.ServerCalls.asyncServerStreamingCall(
            new MethodHandlers<
              com.github.jotsmith.v1.WatchKeysRequest,
              com.github.jotsmith.v1.WatchKeysResponse>(
                service, METHODID_WATCH_KEYS)))
        .addMethod(
          getListPublishedFilesMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              com.github.jotsmith.v1.ListPublishedFilesRequest,
              com.github.jotsmith.v1.ListPublishedFilesResponse>(
                service, METHODID_LIST_PUBLISHED_FILES)))
        .build();
  }

  private static abstract class KeyServiceBaseDescriptorSupplier
      implements io.grpc.protobuf.ProtoFileDescriptorSupplier, io.grpc.protobuf.ProtoServiceDescriptorSupplier {
    KeyServiceBaseDescriptorSupplier() {}

    @java.lang.Override
    public com.google.protobuf.Descriptors.FileDescriptor getFileDescriptor() {
      return com.github.jotsmith.v1.KeyServiceProto.getDescriptor();
    }

    @java.lang.Override
    public com.google.protobuf.Descriptors.ServiceDescriptor getServiceDescriptor() {
      return getFileDescriptor().findServiceByName("KeyService");
    }
  }

  private static final class KeyServiceFileDescriptorSupplier
      extends KeyServiceBaseDescriptorSupplier {
    KeyServiceFileDescriptorSupplier() {}
  }

  private static final class KeyServiceMethodDescriptorSupplier
      extends KeyServiceBaseDescriptorSupplier
      implements io.grpc.protobuf.ProtoMethodDescriptorSupplier {
    private final java.lang.String methodName;

    KeyServiceMethodDescriptorSupplier(java.lang.String methodName) {
      this.methodName = methodName;
    }

    @java.lang.Override
    public com.google.protobuf.Descriptors.MethodDescriptor getMethodDescriptor() {
      return getServiceDescriptor().findMethodByName(methodName);
    }
  }

  private static volatile io.grpc.ServiceDescriptor serviceDescriptor;

  public static io.grpc.ServiceDescriptor getServiceDescriptor() {
    io.grpc.ServiceDescriptor result = serviceDescriptor;
    if (result == null) {
      synchronized (KeyServiceGrpc.class) {
        result = serviceDescriptor;
        if (result == null) {
          serviceDescriptor = result = io.grpc.ServiceDescriptor.newBuilder(SERVICE_NAME)
              .setSchemaDescriptor(new KeyServiceFileDescriptorSupplier())
              .addMethod(getListKeysMethod())
              .addMethod(getWatchKeysMethod())
              .addMethod(getListPublishedFilesMethod())
              .build();
        }
      }
    }
    return result;
  }
}
