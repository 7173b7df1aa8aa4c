# frozen_string_literal: true

module Jotsmith
  # Gets tokens from a server. Safe for concurrent use; a program needs one for each
  # server. Close it when done.
  #
  # Each call takes `timeout`, the caller's own limit in seconds, which counts where
  # it is less than the client's, and `cancellation`, a Cancellation that gives the
  # call up. Each raises an Error.
  class Client
    # Jotsmith.connect is the way to one.
    def initialize(settings)
      @timeout = settings.timeout
      @closing = Cancellation.new
      @connection = Connection.new(settings)
      @keeper = Keeper.new(method(:mint), timeout: settings.timeout, most: settings.max_kept, closing: @closing)
    end

    # A Token of a profile: the one that is kept, until its refresh time, or a new one.
    # The server is asked once however many ask for it. While it is away the old token
    # is returned as long as that has its margin. A token that is for one use is never
    # kept, and no two callers get the same.
    #
    # claims, ttl and min_remaining are those of Request.
    def token(profile, claims: nil, ttl: nil, min_remaining: nil, timeout: nil, cancellation: nil)
      request = Request.new(profile, claims:, ttl:, min_remaining:)
      @keeper.token(request, scope(timeout, cancellation))
    end

    # Asks for up to 256 tokens at once and returns a Result for each, in their order.
    # A request is a Request or a Hash of its arguments, as in {profile: "asc"}.
    # Nothing of it is kept.
    def batch(requests, timeout: nil, cancellation: nil)
      message = V1::BatchMintTokensRequest.new(requests: requests.map { |item| Request.of(item).message })
      asked = nil
      answer = call(V1::TokenService::Stub, :batch_mint_tokens, message, scope(timeout, cancellation)) do
        asked = Reading.now
      end
      Answers.results(answer, asked, requests.size)
    end

    # Passes a token to the block at once, and each that replaces it, until the caller
    # breaks off, or timeout or cancellation end it, which is no error. Without a block
    # it returns an Enumerator of them. Where the server stops or the connection ends,
    # it goes on with another at once, and then with longer and longer waits. It raises
    # when the server refuses, when no first token comes within the client's timeout,
    # or when the server stays away until the last token has passed its margin.
    def watch(profile, claims: nil, ttl: nil, min_remaining: nil, timeout: nil, cancellation: nil, &block)
      request = Request.new(profile, claims:, ttl:, min_remaining:)
      unless block
        return Enumerator.new do |tokens|
          watch_each(request, timeout, cancellation) { |token| tokens << token }
        end
      end

      watch_each(request, timeout, cancellation, &block)
    end

    # An Explanation of what token would get from the server. Nothing is signed or
    # kept.
    def explain(profile, claims: nil, ttl: nil, min_remaining: nil, timeout: nil, cancellation: nil)
      request = Request.new(profile, claims:, ttl:, min_remaining:)
      message = V1::ExplainTokenRequest.new(request: request.message)
      Answers.explanation(call(V1::TokenService::Stub, :explain_token, message, scope(timeout, cancellation)))
    end

    # The keys of the profiles that the caller may mint, of one profile alone where it
    # is said, each a Key.
    def keys(profile = "", timeout: nil, cancellation: nil)
      message = V1::ListKeysRequest.new(profile: profile.to_s)
      Answers.keys(call(V1::KeyService::Stub, :list_keys, message, scope(timeout, cancellation)))
    end

    # Forgets the tokens of a profile, those of calls under way too. The next token
    # asks the server, which may answer with the same one.
    def invalidate(profile)
      @keeper.invalidate(profile.to_s)
    end

    # Another token than one that its consumer refused with 401, or nil where there is
    # none. For what plugs a client into an HTTP library.
    def renew(refused, profile, claims: nil, ttl: nil, min_remaining: nil, timeout: nil, cancellation: nil)
      request = Request.new(profile, claims:, ttl:, min_remaining:)
      @keeper.renew(request, refused, scope(timeout, cancellation))
    end

    # Credentials for the calls of another gRPC service: they put a token into the
    # `authorization` of each call. gRPC sends them over TLS alone.
    #
    #   Stub.new("host:443", GRPC::Core::ChannelCredentials.new.compose(client.call_credentials("svc")))
    def call_credentials(profile, **request)
      GRPC::Core::CallCredentials.new(
        ->(_) { { authorization: "Bearer #{token(profile, **request).reveal}" } }
      )
    end

    # Ends what is under way and the connection. A second time is nothing.
    def close
      @closing.cancel
      @keeper.close
      @connection.close
    end

    def inspect
      "#<Jotsmith::Client #{@connection}>"
    end
    alias to_s inspect

    private

    def scope(timeout, cancellation)
      unless timeout.nil? || timeout.is_a?(Numeric)
        raise ArgumentError, "timeout is no number of seconds: #{timeout.inspect}"
      end

      Scope.new(timeout:, cancellation:, closing: @closing)
    end

    # One call within the client's timeout, again while it is UNAVAILABLE. The block is
    # called before each try.
    def call(service, name, message, scope)
      scope = scope.within(@timeout)
      Retry.call(scope) do
        yield if block_given?
        @connection.call(service, name, message, scope)
      end
    end

    def mint(message, scope)
      Retry.call(scope) { @connection.call(V1::TokenService::Stub, :mint_token, message, scope) }
    end

    def watch_each(request, timeout, cancellation, &)
      Watch.new(@connection, request.message, @timeout, scope(timeout, cancellation)).each(&)
    end
  end
end
