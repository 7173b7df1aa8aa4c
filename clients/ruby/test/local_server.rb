# frozen_string_literal: true

require "scripted"

# A server of gRPC in this process whose answers a test says.
class LocalServer
  V1 = Jotsmith::V1

  # Each rpc is answered by the proc of its name, with the request and the call.
  class Tokens < V1::TokenService::Service
    def initialize(answers)
      super()
      @answers = answers
    end

    def mint_token(request, call)
      @answers.fetch(:mint_token).call(request, call)
    end

    def batch_mint_tokens(request, call)
      @answers.fetch(:batch_mint_tokens).call(request, call)
    end

    def watch_token(request, call)
      @answers.fetch(:watch_token).call(request, call)
    end

    def explain_token(request, call)
      @answers.fetch(:explain_token).call(request, call)
    end
  end

  # The same for keys.
  class Keys < V1::KeyService::Service
    def initialize(answers)
      super()
      @answers = answers
    end

    def list_keys(request, call)
      @answers.fetch(:list_keys).call(request, call)
    end
  end

  attr_reader :port

  def initialize(address, credentials = :this_port_is_insecure, **answers)
    @server = GRPC::RpcServer.new(pool_size: 20, poll_period: 0.1)
    @port = @server.add_http2_port(address, credentials)
    @server.handle(Tokens.new(answers))
    @server.handle(Keys.new(answers))
    @thread = Thread.new { @server.run }
    @server.wait_till_running
  end

  def stop
    @server.stop
    @thread.join
  end
end

# Tests with servers, which end with them.
module Serving
  def setup
    super
    @dir = Dir.mktmpdir("jot")
    @ending = []
  end

  def teardown
    @ending.reverse_each(&:call)
    FileUtils.rm_rf(@dir)
    super
  end

  # A server on a Unix socket, and a client of it.
  def serve(timeout: 2, bearer: nil, **answers)
    address = "unix://#{@dir}/s"
    started(LocalServer.new(address, **answers))
    connect(address, timeout:, bearer:)
  end

  def started(server)
    @ending << server.method(:stop)
    server
  end

  def connect(address, **settings)
    client = Jotsmith.connect(address, **settings)
    @ending << client.method(:close)
    client
  end
end
