# frozen_string_literal: true

module Jotsmith
  # Calls a block in some seconds, unless it is stopped before. Internal.
  class Alarm
    def initialize(seconds, &block)
      @mutex = Mutex.new
      @changed = ConditionVariable.new
      @stopped = false
      @rung = false
      @thread = Thread.new { run(Scope.now + seconds, block) }
    end

    # Nothing is called any more, unless it was before.
    def stop
      @mutex.synchronize do
        @stopped = true
        @changed.broadcast
      end
    end

    def rung?
      @mutex.synchronize { @rung }
    end

    private

    def run(time, block)
      @mutex.synchronize do
        @changed.wait(@mutex, time - Scope.now) until @stopped || Scope.now >= time
        @rung = !@stopped
      end
      block.call if @rung
    end
  end

  # One watch: a token at once, and each that replaces it. Internal.
  class Watch
    # For how many seconds a stream has been quiet, at least, where its end says
    # nothing about how the server is.
    LIVED = 10
    # The server may see a deadline a little earlier than it is here; in seconds.
    LITTLE = 0.1

    # Carries an exception of the caller's block past those of the call.
    class Theirs < Exception # rubocop:disable Lint/InheritException -- nothing here is to rescue it
      attr_reader :error

      def initialize(error)
        @error = error
        super("of the caller's block")
      end
    end
    private_constant :Theirs

    # timeout is how many seconds the first token may take.
    def initialize(connection, message, timeout, scope)
      @connection = connection
      @message = V1::WatchTokenRequest.new(request: message)
      @timeout = timeout
      @scope = scope
      @last = nil
      @waits = Waits.new
    end

    # Passes each token to the block until the caller gives up. Raises the Error that
    # ends the watch, and what the block raises.
    def each(&block)
      @until = Scope.now + @timeout # when a token must have come
      loop do
        ended = once(block)
        return if over?

        ended = go_on(ended)
        next unless ended
        return if over?

        raise ended
      end
    rescue Theirs => e
      raise e.error, cause: e.error.cause
    end

    private

    # Whether the caller wants no more. Just before his deadline he is waited for.
    def over?
      @scope.sleep(@scope.remaining - 0.001) while @scope.remaining.between?(0.001, LITTLE) && !@scope.cancelled?
      @scope.remaining <= 0.001 || @scope.given_up?
    end

    # Runs one stream until it ends, and returns the error that it ended with.
    def once(block)
      @came = false
      @asked = Reading.now
      late = nil
      begin
        # The stream itself has no deadline but the caller's; what it must bring has.
        begun = ->(call) { late = Alarm.new(@until - Scope.now) { call.cancel } }
        @connection.stream(V1::TokenService::Stub, :watch_token, @message, @scope, begun:) do |answer|
          late.stop # the server says itself when an open stream has no more to bring
          receive(answer.token, block)
        end
        # A server ends a watch with a reason, and this one was cut short.
        Error.new(code: :UNAVAILABLE, text: "the server ended the watch")
      rescue Error => e
        late&.rung? ? Error.deadline : e
      end
    ensure
      late&.stop
      # Of the newest message, or of the call.
      @waits = Waits.new if @asked.age(Reading.now) >= LIVED
    end

    def receive(answer, block)
      @asked = Reading.now if @came # it came when it was made, and its life counts from about now
      @came = true
      token = Token.new(answer, @asked)
      served = token.life.margin - token.life.asked.age(Reading.now)
      @until = Scope.now + [served, @timeout].max
      # A new stream begins with the token that the old one ended with.
      same = @last && token.reveal == @last.reveal
      @last = token
      hand_out(token, block) unless same
    end

    def hand_out(token, block)
      block.call(token)
    rescue StandardError => e
      raise Theirs, e
    end

    # Waits until the next stream may begin, or returns the error that ends the watch.
    def go_on(error)
      return error unless %i[UNAVAILABLE RESOURCE_EXHAUSTED].include?(error.code)

      # The server that stops, or that closes a connection because it is old, had
      # served until then: another one, or the same, is asked at once, but not over
      # and over.
      if @came && @waits.none? && error.code == :UNAVAILABLE && ["", "DRAINING"].include?(error.reason)
        @waits.start
        return
      end
      return if @scope.before(@until).sleep(@waits.next(error))

      @scope.cancelled? ? @scope.error : error
    end
  end
end
