package com.github.jotsmith.v1;

import static io.grpc.MethodDescriptor.generateFullMethodName;

/**
 * <pre>
 * TokenService mints JWTs (RFC 7519) signed with ES256 (RFC 7518 section 3.4).
 * Every failure carries a google.rpc.ErrorInfo of the domain "jotsmith"; its
 * reasons are listed, each with what to do, in docs/errors.md. A failure that
 * may pass also carries a google.rpc.RetryInfo.
 * </pre>
 */
@io.grpc.stub.annotations.GrpcGenerated
public final class TokenServiceGrpc {

  private TokenServiceGrpc() {}

  public static final java.lang.String SERVICE_NAME = "jotsmith.v1.TokenService";

  // Static method descriptors that strictly reflect the proto.
  private static volatile io.grpc.MethodDescriptor<com.github.jotsmith.v1.MintTokenRequest,
      com.github.jotsmith.v1.MintTokenResponse> getMintTokenMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "MintToken",
      requestType = com.github.jotsmith.v1.MintTokenRequest.class,
      responseType = com.github.jotsmith.v1.MintTokenResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<com.github.jotsmith.v1.MintTokenRequest,
      com.github.jotsmith.v1.MintTokenResponse> getMintTokenMethod() {
    io.grpc.MethodDescriptor<com.github.jotsmith.v1.MintTokenRequest, com.github.jotsmith.v1.MintTokenResponse> getMintTokenMethod;
    if ((getMintTokenMethod = TokenServiceGrpc.getMintTokenMethod) == null) {
      synchronized (TokenServiceGrpc.class) {
        if ((getMintTokenMethod = TokenServiceGrpc.getMintTokenMethod) == null) {
          TokenServiceGrpc.getMintTokenMethod = getMintTokenMethod =
              io.grpc.MethodDescriptor.<com.github.jotsmith.v1.MintTokenRequest, com.github.jotsmith.v1.MintTokenResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "MintToken"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  com.github.jotsmith.v1.MintTokenRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  com.github.jotsmith.v1.MintTokenResponse.getDefaultInstance()))
              .setSchemaDescriptor(new TokenServiceMethodDescriptorSupplier("MintToken"))
              .build();
        }
      }
    }
    return getMintTokenMethod;
  }

  private static volatile io.grpc.MethodDescriptor<com.github.jotsmith.v1.BatchMintTokensRequest,
      com.github.jotsmith.v1.BatchMintTokensResponse> getBatchMintTokensMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "BatchMintTokens",
      requestType = com.github.jotsmith.v1.BatchMintTokensRequest.class,
      responseType = com.github.jotsmith.v1.BatchMintTokensResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<com.github.jotsmith.v1.BatchMintTokensRequest,
      com.github.jotsmith.v1.BatchMintTokensResponse> getBatchMintTokensMethod() {
    io.grpc.MethodDescriptor<com.github.jotsmith.v1.BatchMintTokensRequest, com.github.jotsmith.v1.BatchMintTokensResponse> getBatchMintTokensMethod;
    if ((getBatchMintTokensMethod = TokenServiceGrpc.getBatchMintTokensMethod) == null) {
      synchronized (TokenServiceGrpc.class) {
        if ((getBatchMintTokensMethod = TokenServiceGrpc.getBatchMintTokensMethod) == null) {
          TokenServiceGrpc.getBatchMintTokensMethod = getBatchMintTokensMethod =
              io.grpc.MethodDescriptor.<com.github.jotsmith.v1.BatchMintTokensRequest, com.github.jotsmith.v1.BatchMintTokensResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "BatchMintTokens"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  com.github.jotsmith.v1.BatchMintTokensRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  com.github.jotsmith.v1.BatchMintTokensResponse.getDefaultInstance()))
              .setSchemaDescriptor(new TokenServiceMethodDescriptorSupplier("BatchMintTokens"))
              .build();
        }
      }
    }
    return getBatchMintTokensMethod;
  }

  private static volatile io.grpc.MethodDescriptor<com.github.jotsmith.v1.WatchTokenRequest,
      com.github.jotsmith.v1.WatchTokenResponse> getWatchTokenMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "WatchToken",
      requestType = com.github.jotsmith.v1.WatchTokenRequest.class,
      responseType = com.github.jotsmith.v1.WatchTokenResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.SERVER_STREAMING)
  public static io.grpc.MethodDescriptor<com.github.jotsmith.v1.WatchTokenRequest,
      com.github.jotsmith.v1.WatchTokenResponse> getWatchTokenMethod() {
    io.grpc.MethodDescriptor<com.github.jotsmith.v1.WatchTokenRequest, com.github.jotsmith.v1.WatchTokenResponse> getWatchTokenMethod;
    if ((getWatchTokenMethod = TokenServiceGrpc.getWatchTokenMethod) == null) {
      synchronized (TokenServiceGrpc.class) {
        if ((getWatchTokenMethod = TokenServiceGrpc.getWatchTokenMethod) == null) {
          TokenServiceGrpc.getWatchTokenMethod = getWatchTokenMethod =
              io.grpc.MethodDescriptor.<com.github.jotsmith.v1.WatchTokenRequest, com.github.jotsmith.v1.WatchTokenResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.SERVER_STREAMING)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "WatchToken"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  com.github.jotsmith.v1.WatchTokenRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  com.github.jotsmith.v1.WatchTokenResponse.getDefaultInstance()))
              .setSchemaDescriptor(new TokenServiceMethodDescriptorSupplier("WatchToken"))
              .build();
        }
      }
    }
    return getWatchTokenMethod;
  }

  private static volatile io.grpc.MethodDescriptor<com.github.jotsmith.v1.ExplainTokenRequest,
      com.github.jotsmith.v1.ExplainTokenResponse> getExplainTokenMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "ExplainToken",
      requestType = com.github.jotsmith.v1.ExplainTokenRequest.class,
      responseType = com.github.jotsmith.v1.ExplainTokenResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<com.github.jotsmith.v1.ExplainTokenRequest,
      com.github.jotsmith.v1.ExplainTokenResponse> getExplainTokenMethod() {
    io.grpc.MethodDescriptor<com.github.jotsmith.v1.ExplainTokenRequest, com.github.jotsmith.v1.ExplainTokenResponse> getExplainTokenMethod;
    if ((getExplainTokenMethod = TokenServiceGrpc.getExplainTokenMethod) == null) {
      synchronized (TokenServiceGrpc.class) {
        if ((getExplainTokenMethod = TokenServiceGrpc.getExplainTokenMethod) == null) {
          TokenServiceGrpc.getExplainTokenMethod = getExplainTokenMethod =
              io.grpc.MethodDescriptor.<com.github.jotsmith.v1.ExplainTokenRequest, com.github.jotsmith.v1.ExplainTokenResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "ExplainToken"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  com.github.jotsmith.v1.ExplainTokenRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  com.github.jotsmith.v1.ExplainTokenResponse.getDefaultInstance()))
              .setSchemaDescriptor(new TokenServiceMethodDescriptorSupplier("ExplainToken"))
              .build();
        }
      }
    }
    return getExplainTokenMethod;
  }

  /**
   * Creates a new async stub that supports all call types for the service
   */
  public static TokenServiceStub newStub(io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<TokenServiceStub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<TokenServiceStub>() {
        @java.lang.Override
        public TokenServiceStub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new TokenServiceStub(channel, callOptions);
        }
      };
    return TokenServiceStub.newStub(factory, channel);
  }

  /**
   * Creates a new blocking-style stub that supports all types of calls on the service
   */
  public static TokenServiceBlockingV2Stub newBlockingV2Stub(
      io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<TokenServiceBlockingV2Stub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<TokenServiceBlockingV2Stub>() {
        @java.lang.Override
        public TokenServiceBlockingV2Stub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new TokenServiceBlockingV2Stub(channel, callOptions);
        }
      };
    return TokenServiceBlockingV2Stub.newStub(factory, channel);
  }

  /**
   * Creates a new blocking-style stub that supports unary and streaming output calls on the service
   */
  public static TokenServiceBlockingStub newBlockingStub(
      io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<TokenServiceBlockingStub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<TokenServiceBlockingStub>() {
        @java.lang.Override
        public TokenServiceBlockingStub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new TokenServiceBlockingStub(channel, callOptions);
        }
      };
    return TokenServiceBlockingStub.newStub(factory, channel);
  }

  /**
   * Creates a new ListenableFuture-style stub that supports unary calls on the service
   */
  public static TokenServiceFutureStub newFutureStub(
      io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<TokenServiceFutureStub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<TokenServiceFutureStub>() {
        @java.lang.Override
        public TokenServiceFutureStub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new TokenServiceFutureStub(channel, callOptions);
        }
      };
    return TokenServiceFutureStub.newStub(factory, channel);
  }

  /**
   * <pre>
   * TokenService mints JWTs (RFC 7519) signed with ES256 (RFC 7518 section 3.4).
   * Every failure carries a google.rpc.ErrorInfo of the domain "jotsmith"; its
   * reasons are listed, each with what to do, in docs/errors.md. A failure that
   * may pass also carries a google.rpc.RetryInfo.
   * </pre>
   */
  public interface AsyncService {

    /**
     * <pre>
     * MintToken mints one token of a profile.
     * Whoever a grant names for this profile may call it. It is safe to repeat:
     * a call that failed has minted nothing that anyone holds. The deadline of
     * the call reaches the key store.
     * Reasons: UNAUTHENTICATED, NOT_GRANTED, DISABLED, QUOTA_EXCEEDED,
     * INVALID_REQUEST, AUDIT_UNAVAILABLE, BACKEND_THROTTLED, OVERLOADED, BACKEND_UNAVAILABLE, DRAINING, NOT_READY, DEADLINE_TOO_SHORT,
     * DEADLINE_EXCEEDED, CANCELLED, CLOCK_UNTRUSTED, KEY_DISABLED, KEY_NOT_FOUND, KEY_ACCESS_DENIED,
     * KEY_UNSUITABLE, KEY_MISMATCH, PIN_INCORRECT, PIN_LOCKED,
     * SIGNATURE_INVALID, INTERNAL.
     * </pre>
     */
    default void mintToken(com.github.jotsmith.v1.MintTokenRequest request,
        io.grpc.stub.StreamObserver<com.github.jotsmith.v1.MintTokenResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getMintTokenMethod(), responseObserver);
    }

    /**
     * <pre>
     * BatchMintTokens mints up to 256 tokens and answers in the order of the
     * requests. Each is minted as MintToken would, and fails alone: its result
     * then holds the status that MintToken would have answered. The call as a
     * whole fails only where no item can be looked at: an unknown caller, an
     * empty batch or one of more than 256, a passed deadline.
     * Who may call it and the reasons are those of MintToken. Safe to repeat.
     * </pre>
     */
    default void batchMintTokens(com.github.jotsmith.v1.BatchMintTokensRequest request,
        io.grpc.stub.StreamObserver<com.github.jotsmith.v1.BatchMintTokensResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getBatchMintTokensMethod(), responseObserver);
    }

    /**
     * <pre>
     * WatchToken sends a token at once, and a new one whenever the last should be
     * replaced: at its refresh_time, and when its key, its profile or the grant
     * changes. While the key store is away the stream stays, for as long as the
     * last token is valid.
     * Who may call it and the reasons are those of MintToken, and
     * QUOTA_EXCEEDED where the caller, or all callers, watch too much already. A
     * profile whose tokens are for one use is INVALID_REQUEST. The server ends
     * the stream with DRAINING when it stops, and with the reason of MintToken
     * when there can be no new token; a connection that has grown old is closed,
     * and then the stream ends with UNAVAILABLE and no ErrorInfo. After both,
     * call again.
     * </pre>
     */
    default void watchToken(com.github.jotsmith.v1.WatchTokenRequest request,
        io.grpc.stub.StreamObserver<com.github.jotsmith.v1.WatchTokenResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getWatchTokenMethod(), responseObserver);
    }

    /**
     * <pre>
     * ExplainToken says what MintToken would mint for the same request, and which
     * rule decided each claim, or every reason why it would not. Nothing is
     * signed, and no key store is asked.
     * Whoever may call MintToken for the profile may call it. Safe to repeat.
     * Reasons: UNAUTHENTICATED, NOT_GRANTED. All others of MintToken are in the
     * answer.
     * </pre>
     */
    default void explainToken(com.github.jotsmith.v1.ExplainTokenRequest request,
        io.grpc.stub.StreamObserver<com.github.jotsmith.v1.ExplainTokenResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getExplainTokenMethod(), responseObserver);
    }
  }

  /**
   * Base class for the server implementation of the service TokenService.
   * <pre>
   * TokenService mints JWTs (RFC 7519) signed with ES256 (RFC 7518 section 3.4).
   * Every failure carries a google.rpc.ErrorInfo of the domain "jotsmith"; its
   * reasons are listed, each with what to do, in docs/errors.md. A failure that
   * may pass also carries a google.rpc.RetryInfo.
   * </pre>
   */
  public static abstract class TokenServiceImplBase
      implements io.grpc.BindableService, AsyncService {

    @java.lang.Override public final io.grpc.ServerServiceDefinition bindService() {
      return TokenServiceGrpc.bindService(this);
    }
  }

  /**
   * A stub to allow clients to do asynchronous rpc calls to service TokenService.
   * <pre>
   * TokenService mints JWTs (RFC 7519) signed with ES256 (RFC 7518 section 3.4).
   * Every failure carries a google.rpc.ErrorInfo of the domain "jotsmith"; its
   * reasons are listed, each with what to do, in docs/errors.md. A failure that
   * may pass also carries a google.rpc.RetryInfo.
   * </pre>
   */
  public static final class TokenServiceStub
      extends io.grpc.stub.AbstractAsyncStub<TokenServiceStub> {
    private TokenServiceStub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected TokenServiceStub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new TokenServiceStub(channel, callOptions);
    }

    /**
     * <pre>
     * MintToken mints one token of a profile.
     * Whoever a grant names for this profile may call it. It is safe to repeat:
     * a call that failed has minted nothing that anyone holds. The deadline of
     * the call reaches the key store.
     * Reasons: UNAUTHENTICATED, NOT_GRANTED, DISABLED, QUOTA_EXCEEDED,
     * INVALID_REQUEST, AUDIT_UNAVAILABLE, BACKEND_THROTTLED, OVERLOADED, BACKEND_UNAVAILABLE, DRAINING, NOT_READY, DEADLINE_TOO_SHORT,
     * DEADLINE_EXCEEDED, CANCELLED, CLOCK_UNTRUSTED, KEY_DISABLED, KEY_NOT_FOUND, KEY_ACCESS_DENIED,
     * KEY_UNSUITABLE, KEY_MISMATCH, PIN_INCORRECT, PIN_LOCKED,
     * SIGNATURE_INVALID, INTERNAL.
     * </pre>
     */
    public void mintToken(com.github.jotsmith.v1.MintTokenRequest request,
        io.grpc.stub.StreamObserver<com.github.jotsmith.v1.MintTokenResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getMintTokenMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * BatchMintTokens mints up to 256 tokens and answers in the order of the
     * requests. Each is minted as MintToken would, and fails alone: its result
     * then holds the status that MintToken would have answered. The call as a
     * whole fails only where no item can be looked at: an unknown caller, an
     * empty batch or one of more than 256, a passed deadline.
     * Who may call it and the reasons are those of MintToken. Safe to repeat.
     * </pre>
     */
    public void batchMintTokens(com.github.jotsmith.v1.BatchMintTokensRequest request,
        io.grpc.stub.StreamObserver<com.github.jotsmith.v1.BatchMintTokensResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getBatchMintTokensMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * WatchToken sends a token at once, and a new one whenever the last should be
     * replaced: at its refresh_time, and when its key, its profile or the grant
     * changes. While the key store is away the stream stays, for as long as the
     * last token is valid.
     * Who may call it and the reasons are those of MintToken, and
     * QUOTA_EXCEEDED where the caller, or all callers, watch too much already. A
     * profile whose tokens are for one use is INVALID_REQUEST. The server ends
     * the stream with DRAINING when it stops, and with the reason of MintToken
     * when there can be no new token; a connection that has grown old is closed,
     * and then the stream ends with UNAVAILABLE and no ErrorInfo. After both,
     * call again.
     * </pre>
     */
    public void watchToken(com.github.jotsmith.v1.WatchTokenRequest request,
        io.grpc.stub.StreamObserver<com.github.jotsmith.v1.WatchTokenResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncServerStreamingCall(
          getChannel().newCall(getWatchTokenMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * ExplainToken says what MintToken would mint for the same request, and which
     * rule decided each claim, or every reason why it would not. Nothing is
     * signed, and no key store is asked.
     * Whoever may call MintToken for the profile may call it. Safe to repeat.
     * Reasons: UNAUTHENTICATED, NOT_GRANTED. All others of MintToken are in the
     * answer.
     * </pre>
     */
    public void explainToken(com.github.jotsmith.v1.ExplainTokenRequest request,
        io.grpc.stub.StreamObserver<com.github.jotsmith.v1.ExplainTokenResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getExplainTokenMethod(), getCallOptions()), request, responseObserver);
    }
  }

  /**
   * A stub to allow clients to do synchronous rpc calls to service TokenService.
   * <pre>
   * TokenService mints JWTs (RFC 7519) signed with ES256 (RFC 7518 section 3.4).
   * Every failure carries a google.rpc.ErrorInfo of the domain "jotsmith"; its
   * reasons are listed, each with what to do, in docs/errors.md. A failure that
   * may pass also carries a google.rpc.RetryInfo.
   * </pre>
   */
  public static final class TokenServiceBlockingV2Stub
      extends io.grpc.stub.AbstractBlockingStub<TokenServiceBlockingV2Stub> {
    private TokenServiceBlockingV2Stub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected TokenServiceBlockingV2Stub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new TokenServiceBlockingV2Stub(channel, callOptions);
    }

    /**
     * <pre>
     * MintToken mints one token of a profile.
     * Whoever a grant names for this profile may call it. It is safe to repeat:
     * a call that failed has minted nothing that anyone holds. The deadline of
     * the call reaches the key store.
     * Reasons: UNAUTHENTICATED, NOT_GRANTED, DISABLED, QUOTA_EXCEEDED,
     * INVALID_REQUEST, AUDIT_UNAVAILABLE, BACKEND_THROTTLED, OVERLOADED, BACKEND_UNAVAILABLE, DRAINING, NOT_READY, DEADLINE_TOO_SHORT,
     * DEADLINE_EXCEEDED, CANCELLED, CLOCK_UNTRUSTED, KEY_DISABLED, KEY_NOT_FOUND, KEY_ACCESS_DENIED,
     * KEY_UNSUITABLE, KEY_MISMATCH, PIN_INCORRECT, PIN_LOCKED,
     * SIGNATURE_INVALID, INTERNAL.
     * </pre>
     */
    public com.github.jotsmith.v1.MintTokenResponse mintToken(com.github.jotsmith.v1.MintTokenRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getMintTokenMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * BatchMintTokens mints up to 256 tokens and answers in the order of the
     * requests. Each is minted as MintToken would, and fails alone: its result
     * then holds the status that MintToken would have answered. The call as a
     * whole fails only where no item can be looked at: an unknown caller, an
     * empty batch or one of more than 256, a passed deadline.
     * Who may call it and the reasons are those of MintToken. Safe to repeat.
     * </pre>
     */
    public com.github.jotsmith.v1.BatchMintTokensResponse batchMintTokens(com.github.jotsmith.v1.BatchMintTokensRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getBatchMintTokensMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * WatchToken sends a token at once, and a new one whenever the last should be
     * replaced: at its refresh_time, and when its key, its profile or the grant
     * changes. While the key store is away the stream stays, for as long as the
     * last token is valid.
     * Who may call it and the reasons are those of MintToken, and
     * QUOTA_EXCEEDED where the caller, or all callers, watch too much already. A
     * profile whose tokens are for one use is INVALID_REQUEST. The server ends
     * the stream with DRAINING when it stops, and with the reason of MintToken
     * when there can be no new token; a connection that has grown old is closed,
     * and then the stream ends with UNAVAILABLE and no ErrorInfo. After both,
     * call again.
     * </pre>
     */
    @io.grpc.ExperimentalApi("https://github.com/grpc/grpc-java/issues/10918")
    public io.grpc.stub.BlockingClientCall<?, com.github.jotsmith.v1.WatchTokenResponse>
        watchToken(com.github.jotsmith.v1.WatchTokenRequest request) {
      return io.grpc.stub.ClientCalls.blockingV2ServerStreamingCall(
          getChannel(), getWatchTokenMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * ExplainToken says what MintToken would mint for the same request, and which
     * rule decided each claim, or every reason why it would not. Nothing is
     * signed, and no key store is asked.
     * Whoever may call MintToken for the profile may call it. Safe to repeat.
     * Reasons: UNAUTHENTICATED, NOT_GRANTED. All others of MintToken are in the
     * answer.
     * </pre>
     */
    public com.github.jotsmith.v1.ExplainTokenResponse explainToken(com.github.jotsmith.v1.ExplainTokenRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getExplainTokenMethod(), getCallOptions(), request);
    }
  }

  /**
   * A stub to allow clients to do limited synchronous rpc calls to service TokenService.
   * <pre>
   * TokenService mints JWTs (RFC 7519) signed with ES256 (RFC 7518 section 3.4).
   * Every failure carries a google.rpc.ErrorInfo of the domain "jotsmith"; its
   * reasons are listed, each with what to do, in docs/errors.md. A failure that
   * may pass also carries a google.rpc.RetryInfo.
   * </pre>
   */
  public static final class TokenServiceBlockingStub
      extends io.grpc.stub.AbstractBlockingStub<TokenServiceBlockingStub> {
    private TokenServiceBlockingStub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected TokenServiceBlockingStub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new TokenServiceBlockingStub(channel, callOptions);
    }

    /**
     * <pre>
     * MintToken mints one token of a profile.
     * Whoever a grant names for this profile may call it. It is safe to repeat:
     * a call that failed has minted nothing that anyone holds. The deadline of
     * the call reaches the key store.
     * Reasons: UNAUTHENTICATED, NOT_GRANTED, DISABLED, QUOTA_EXCEEDED,
     * INVALID_REQUEST, AUDIT_UNAVAILABLE, BACKEND_THROTTLED, OVERLOADED, BACKEND_UNAVAILABLE, DRAINING, NOT_READY, DEADLINE_TOO_SHORT,
     * DEADLINE_EXCEEDED, CANCELLED, CLOCK_UNTRUSTED, KEY_DISABLED, KEY_NOT_FOUND, KEY_ACCESS_DENIED,
     * KEY_UNSUITABLE, KEY_MISMATCH, PIN_INCORRECT, PIN_LOCKED,
     * SIGNATURE_INVALID, INTERNAL.
     * </pre>
     */
    public com.github.jotsmith.v1.MintTokenResponse mintToken(com.github.jotsmith.v1.MintTokenRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getMintTokenMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * BatchMintTokens mints up to 256 tokens and answers in the order of the
     * requests. Each is minted as MintToken would, and fails alone: its result
     * then holds the status that MintToken would have answered. The call as a
     * whole fails only where no item can be looked at: an unknown caller, an
     * empty batch or one of more than 256, a passed deadline.
     * Who may call it and the reasons are those of MintToken. Safe to repeat.
     * </pre>
     */
    public com.github.jotsmith.v1.BatchMintTokensResponse batchMintTokens(com.github.jotsmith.v1.BatchMintTokensRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getBatchMintTokensMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * WatchToken sends a token at once, and a new one whenever the last should be
     * replaced: at its refresh_time, and when its key, its profile or the grant
     * changes. While the key store is away the stream stays, for as long as the
     * last token is valid.
     * Who may call it and the reasons are those of MintToken, and
     * QUOTA_EXCEEDED where the caller, or all callers, watch too much already. A
     * profile whose tokens are for one use is INVALID_REQUEST. The server ends
     * the stream with DRAINING when it stops, and with the reason of MintToken
     * when there can be no new token; a connection that has grown old is closed,
     * and then the stream ends with UNAVAILABLE and no ErrorInfo. After both,
     * call again.
     * </pre>
     */
    public java.util.Iterator<com.github.jotsmith.v1.WatchTokenResponse> watchToken(
        com.github.jotsmith.v1.WatchTokenRequest request) {
      return io.grpc.stub.ClientCalls.blockingServerStreamingCall(
          getChannel(), getWatchTokenMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * ExplainToken says what MintToken would mint for the same request, and which
     * rule decided each claim, or every reason why it would not. Nothing is
     * signed, and no key store is asked.
     * Whoever may call MintToken for the profile may call it. Safe to repeat.
     * Reasons: UNAUTHENTICATED, NOT_GRANTED. All others of MintToken are in the
     * answer.
     * </pre>
     */
    public com.github.jotsmith.v1.ExplainTokenResponse explainToken(com.github.jotsmith.v1.ExplainTokenRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getExplainTokenMethod(), getCallOptions(), request);
    }
  }

  /**
   * A stub to allow clients to do ListenableFuture-style rpc calls to service TokenService.
   * <pre>
   * TokenService mints JWTs (RFC 7519) signed with ES256 (RFC 7518 section 3.4).
   * Every failure carries a google.rpc.ErrorInfo of the domain "jotsmith"; its
   * reasons are listed, each with what to do, in docs/errors.md. A failure that
   * may pass also carries a google.rpc.RetryInfo.
   * </pre>
   */
  public static final class TokenServiceFutureStub
      extends io.grpc.stub.AbstractFutureStub<TokenServiceFutureStub> {
    private TokenServiceFutureStub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected TokenServiceFutureStub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new TokenServiceFutureStub(channel, callOptions);
    }

    /**
     * <pre>
     * MintToken mints one token of a profile.
     * Whoever a grant names for this profile may call it. It is safe to repeat:
     * a call that failed has minted nothing that anyone holds. The deadline of
     * the call reaches the key store.
     * Reasons: UNAUTHENTICATED, NOT_GRANTED, DISABLED, QUOTA_EXCEEDED,
     * INVALID_REQUEST, AUDIT_UNAVAILABLE, BACKEND_THROTTLED, OVERLOADED, BACKEND_UNAVAILABLE, DRAINING, NOT_READY, DEADLINE_TOO_SHORT,
     * DEADLINE_EXCEEDED, CANCELLED, CLOCK_UNTRUSTED, KEY_DISABLED, KEY_NOT_FOUND, KEY_ACCESS_DENIED,
     * KEY_UNSUITABLE, KEY_MISMATCH, PIN_INCORRECT, PIN_LOCKED,
     * SIGNATURE_INVALID, INTERNAL.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<com.github.jotsmith.v1.MintTokenResponse> mintToken(
        com.github.jotsmith.v1.MintTokenRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getMintTokenMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * BatchMintTokens mints up to 256 tokens and answers in the order of the
     * requests. Each is minted as MintToken would, and fails alone: its result
     * then holds the status that MintToken would have answered. The call as a
     * whole fails only where no item can be looked at: an unknown caller, an
     * empty batch or one of more than 256, a passed deadline.
     * Who may call it and the reasons are those of MintToken. Safe to repeat.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<com.github.jotsmith.v1.BatchMintTokensResponse> batchMintTokens(
        com.github.jotsmith.v1.BatchMintTokensRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getBatchMintTokensMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * ExplainToken says what MintToken would mint for the same request, and which
     * rule decided each claim, or every reason why it would not. Nothing is
     * signed, and no key store is asked.
     * Whoever may call MintToken for the profile may call it. Safe to repeat.
     * Reasons: UNAUTHENTICATED, NOT_GRANTED. All others of MintToken are in the
     * answer.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<com.github.jotsmith.v1.ExplainTokenResponse> explainToken(
        com.github.jotsmith.v1.ExplainTokenRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getExplainTokenMethod(), getCallOptions()), request);
    }
  }

  private static final int METHODID_MINT_TOKEN = 0;
  private static final int METHODID_BATCH_MINT_TOKENS = 1;
  private static final int METHODID_WATCH_TOKEN = 2;
  private static final int METHODID_EXPLAIN_TOKEN = 3;

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
        case METHODID_MINT_TOKEN:
          serviceImpl.mintToken((com.github.jotsmith.v1.MintTokenRequest) request,
              (io.grpc.stub.StreamObserver<com.github.jotsmith.v1.MintTokenResponse>) responseObserver);
          break;
        case METHODID_BATCH_MINT_TOKENS:
          serviceImpl.batchMintTokens((com.github.jotsmith.v1.BatchMintTokensRequest) request,
              (io.grpc.stub.StreamObserver<com.github.jotsmith.v1.BatchMintTokensResponse>) responseObserver);
          break;
        case METHODID_WATCH_TOKEN:
          serviceImpl.watchToken((com.github.jotsmith.v1.WatchTokenRequest) request,
              (io.grpc.stub.StreamObserver<com.github.jotsmith.v1.WatchTokenResponse>) responseObserver);
          break;
        case METHODID_EXPLAIN_TOKEN:
          serviceImpl.explainToken((com.github.jotsmith.v1.ExplainTokenRequest) request,
              (io.grpc.stub.StreamObserver<com.github.jotsmith.v1.ExplainTokenResponse>) responseObserver);
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
          getMintTokenMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              com.github.jotsmith.v1.MintTokenRequest,
              com.github.jotsmith.v1.MintTokenResponse>(
                service, METHODID_MINT_TOKEN)))
        .addMethod(
          getBatchMintTokensMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              com.github.jotsmith.v1.BatchMintTokensRequest,
              com.github.jotsmith.v1.BatchMintTokensResponse>(
                service, METHODID_BATCH_MINT_TOKENS)))
        .addMethod(
          getWatchTokenMethod(),
          io.grpc.stub.ServerCalls.asyncServerStreamingCall(
            new MethodHandlers<
              com.github.jotsmith.v1.WatchTokenRequest,
              com.github.jotsmith.v1.WatchTokenResponse>(
                service, METHODID_WATCH_TOKEN)))
        .addMethod(
          getExplainTokenMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              com.github.jotsmith.v1.ExplainTokenRequest,
              com.github.jotsmith.v1.ExplainTokenResponse>(
                service, METHODID_EXPLAIN_TOKEN)))
        .build();
  }

  private static abstract class TokenServiceBaseDescriptorSupplier
      implements io.grpc.protobuf.ProtoFileDescriptorSupplier, io.grpc.protobuf.ProtoServiceDescriptorSupplier {
    TokenServiceBaseDescriptorSupplier() {}

    @java.lang.Override
    public com.google.protobuf.Descriptors.FileDescriptor getFileDescriptor() {
      return com.github.jotsmith.v1.TokenServiceProto.getDescriptor();
    }

    @java.lang.Override
    public com.google.protobuf.Descriptors.ServiceDescriptor getServiceDescriptor() {
      return getFileDescriptor().findServiceByName("TokenService");
    }
  }

  private static final class TokenServiceFileDescriptorSupplier
      extends TokenServiceBaseDescriptorSupplier {
    TokenServiceFileDescriptorSupplier() {}
  }

  private static final class TokenServiceMethodDescriptorSupplier
      extends TokenServiceBaseDescriptorSupplier
      implements io.grpc.protobuf.ProtoMethodDescriptorSupplier {
    private final java.lang.String methodName;

    TokenServiceMethodDescriptorSupplier(java.lang.String methodName) {
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
      synchronized (TokenServiceGrpc.class) {
        result = serviceDescriptor;
        if (result == null) {
          serviceDescriptor = result = io.grpc.ServiceDescriptor.newBuilder(SERVICE_NAME)
              .setSchemaDescriptor(new TokenServiceFileDescriptorSupplier())
              .addMethod(getMintTokenMethod())
              .addMethod(getBatchMintTokensMethod())
              .addMethod(getWatchTokenMethod())
              .addMethod(getExplainTokenMethod())
              .build();
        }
      }
    }
    return result;
  }
}
