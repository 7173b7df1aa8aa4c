# frozen_string_literal: true

require "grpc"
require_relative "v1/token_service_services_pb"
require_relative "v1/key_service_services_pb"
require_relative "v1/profile_service_services_pb"

module Jotsmith
  # The way to the server: gRPC's channel, made by the first call. gRPC of Ruby takes
  # the TLS files' contents once for each channel, so each call looks at the files,
  # and where they have changed makes another channel. Calls that run stay where they
  # are. Safe for concurrent use. Internal.
  class Connection
    # What gRPC is told. It tries nothing again by itself, takes nothing from DNS but
    # addresses, and shares its connections with no other channel, whose files may
    # differ.
    OPTIONS = {
      "grpc.primary_user_agent" => "jotsmith-ruby/#{VERSION}",
      "grpc.enable_retries" => 0,
      "grpc.service_config_disable_resolution" => 1,
      "grpc.use_local_subchannel_pool" => 1,
      "grpc.keepalive_time_ms" => 45_000,
      "grpc.keepalive_timeout_ms" => 10_000,
      "grpc.http2.max_pings_without_data" => 0,
      "grpc.initial_reconnect_backoff_ms" => 100,
      "grpc.min_reconnect_backoff_ms" => 5_000,
      "grpc.max_reconnect_backoff_ms" => 5_000
    }.freeze
    private_constant :OPTIONS

    # One channel, and how many calls are on it.
    Line = Struct.new(:channel, :material, :process, :calls, :retired) do
      def stub(service)
        service.new("", nil, channel_override: channel)
      end
    end
    private_constant :Line

    def initialize(settings)
      @settings = settings
      @mutex = Mutex.new
      @line = nil
    end

    # Makes one call and returns its answer. Raises an Error.
    def call(service, name, request, scope)
      operate(service, name, request, scope, &:execute)
    end

    # Makes one call whose answers are each passed to the block, until the server or
    # scope ends it. The call is passed to begun first, as what can be cancelled.
    # Raises an Error.
    def stream(service, name, request, scope, begun:, &block)
      operate(service, name, request, scope) do |operation|
        begun.call(operation)
        operation.execute.each(&block)
      end
    end

    # Ends the connection. Calls that run have been given up before.
    def close
      @mutex.synchronize { retire }
    end

    def inspect
      "#<Jotsmith::Connection #{@settings.address}>"
    end
    alias to_s inspect

    private

    def operate(service, name, request, scope)
      scope.check
      metadata = identity
      on_line do |line|
        operation = line.stub(service).public_send(name, request, deadline: scope.time, metadata:,
                                                                  return_op: true)
        scope.hear(-> { operation.cancel }) { yield operation }
      ensure
        operation&.cancel
      end
    rescue GRPC::BadStatus => e
      raise scope.error if scope.cancelled?

      raise Error.from_grpc(e)
    rescue GRPC::Core::CallError # which is all that a stream has that ends before its first answer
      raise scope.error || Error.new(code: :UNAVAILABLE, text: "the call ended before the server answered")
    rescue Error
      raise
    rescue StandardError => e # gRPC's own, whose text might say what the call carried
      raise Error.new(code: :INTERNAL, text: e.class.name)
    end

    # What a call carries. It goes over TLS or a Unix socket: Settings see to that.
    def identity
      @settings.bearer ? { "authorization" => "Bearer #{@settings.bearer.read}" } : {}
    rescue SettingError => e
      raise Error.new(code: :UNAUTHENTICATED, text: e.message)
    end

    def on_line
      line = take
      yield line
    ensure
      give_back(line) if line
    end

    def take
      @mutex.synchronize do
        material = @settings.tls&.now
        retire unless @line && @line.material == material && @line.process == Process.pid
        @line ||= Line.new(channel(material), material, Process.pid, 0, false)
        @line.calls += 1
        @line
      end
    end

    def give_back(line)
      @mutex.synchronize do
        line.calls -= 1
        line.channel.close if line.retired && line.calls.zero?
      end
    end

    # Lets go of the channel, which ends with the last of its calls. That of another
    # process is not ours to close.
    def retire
      return unless @line

      @line.retired = true
      @line.channel.close if @line.calls.zero? && @line.process == Process.pid
      @line = nil
    end

    def channel(material)
      GRPC::Core::Channel.new(@settings.target, options, credentials(material))
    rescue RuntimeError => e
      raise unless e.message.include?("fork")

      # gRPC before 1.57 cannot be used in a process and in what is forked from it.
      raise Error.new(code: :FAILED_PRECONDITION, text: "#{e.message}: make no call before the process forks")
    end

    def options
      options = OPTIONS.dup
      options["grpc.ssl_target_name_override"] = @settings.server_name if @settings.server_name
      options["grpc.enable_http_proxy"] = 0 unless @settings.tls
      options
    end

    def credentials(material)
      return :this_channel_is_insecure unless material

      GRPC::Core::ChannelCredentials.new(material.roots, material.key, material.certificate)
    end
  end
end
