# frozen_string_literal: true

require "local_server"

class WatchTest < Minitest::Test
  include Serving

  # What a stream brings, and the error it ends with; nil stays until the client goes.
  Stream = Struct.new(:tokens, :ending)

  def test_a_watch_follows_a_server_that_stops
    draining = Answer.raised(:UNAVAILABLE, "DRAINING", retry_after: 0.5)
    tokens = []
    scripted(Stream.new(%w[a b], draining), Stream.new(%w[b], draining), Stream.new([], draining), Stream.new(%w[b c]))
      .watch("p") do |token|
      tokens << token.reveal
      break if token.reveal == "c"
    end
    assert_equal [%w[a b c], 4], [tokens, @began.size]
    assert_operator @began[1] - @began[0], :<, 0.5, "at once"
    assert_operator @began[2] - @began[1], :>=, 0.5, "a server that stops over and over is not asked over and over"
  end

  def test_a_watch_ends_when_it_is_refused
    tokens = []
    error = assert_raises(Jotsmith::CallFailed) do
      scripted(Stream.new(%w[a], Answer.raised(:FAILED_PRECONDITION, "DISABLED"))).watch("p") do |token|
        tokens << token.reveal
      end
    end
    assert_equal ["DISABLED", %w[a], 1], [error.reason, tokens, @began.size]
  end

  def test_a_first_token_must_come_in_time
    client = scripted(Stream.new([]), timeout: 0.3)
    start = Jotsmith::Scope.now
    error = assert_raises(Jotsmith::CallTimedOut) { client.watch("p") { flunk } }
    assert_equal "DEADLINE_EXCEEDED", error.reason
    assert_includes 0.29..2, Jotsmith::Scope.now - start
    nobody = connect("unix://#{@dir}/nobody", timeout: 0.3)
    assert_equal :UNAVAILABLE, assert_raises(Jotsmith::CallFailed) { nobody.watch("p") { flunk } }.code
  end

  def test_a_quiet_stream_outlives_the_timeout
    tokens = scripted(Stream.new(%w[a]), timeout: 0.5).watch("p", timeout: 1.2).map(&:reveal)
    assert_equal %w[a], tokens
  end

  def test_a_watch_that_is_given_up_ends_without_an_error
    cancellation = Jotsmith::Cancellation.new
    client = scripted(Stream.new(%w[a]), Stream.new(%w[a]), Stream.new(%w[a]))
    watching = Thread.new { client.watch("p", cancellation:).map(&:reveal) }
    sleep 0.01 until @began.size == 1
    sleep 0.1
    cancellation.cancel
    assert_equal %w[a], watching.value
    assert_equal %w[a], client.watch("p", timeout: 0.2).map(&:reveal)
    assert_equal %w[a], client.watch("p").first(1).map(&:reveal)
  end

  def test_a_closed_client_ends_its_watches_with_an_error
    client = scripted(Stream.new(%w[a]))
    watching = Thread.new { assert_raises(Jotsmith::CallCancelled) { client.watch("p") { nil } }.code }
    sleep 0.01 until @began.size == 1
    sleep 0.1
    client.close
    assert_equal :CANCELLED, watching.value
  end

  def test_an_error_of_the_block_is_its_own
    client = scripted(Stream.new(%w[a]), Stream.new(%w[a]), Stream.new(%w[a]))
    [Answer.error(:UNAVAILABLE), GRPC::Unavailable.new("x"), ArgumentError.new("x")].each do |theirs|
      assert_same theirs, assert_raises(theirs.class) { client.watch("p") { raise theirs } }
    end
    assert_equal 3, @began.size
  end

  def test_a_quota_is_waited_for
    client = scripted(Stream.new([], Answer.raised(:RESOURCE_EXHAUSTED, "QUOTA_EXCEEDED", retry_after: 0.2)),
                      Stream.new(%w[a]))
    assert_equal %w[a], client.watch("p").first(1).map(&:reveal)
    assert_operator @began[1] - @began[0], :>=, 0.2
  end

  def test_a_server_that_stays_away_ends_it_past_the_margin_and_the_timeout
    away = Answer.raised(:UNAVAILABLE, "BACKEND_UNAVAILABLE", retry_after: 0.1)
    streams = [Stream.new(%w[a], away)] + Array.new(20) { Stream.new([], away) }
    client = scripted(*streams, timeout: 0.5, refresh: 0.1, expire: 0.2)
    start = Jotsmith::Scope.now
    error = assert_raises(Jotsmith::CallFailed) { client.watch("p") { nil } }
    assert_equal "BACKEND_UNAVAILABLE", error.reason
    assert_includes 0.19..2, Jotsmith::Scope.now - start
  end

  private

  # A client of a server that answers each watch with the next stream.
  def scripted(*streams, timeout: 2, **life)
    @began = []
    serve(timeout:, watch_token: lambda do |_, call|
      @began << Jotsmith::Scope.now
      stream = streams.shift
      Enumerator.new do |answers|
        stream.tokens.each { |text| answers << Jotsmith::V1::WatchTokenResponse.new(token: Answer.token(text, **life)) }
        raise stream.ending if stream.ending

        sleep 0.02 until call.cancelled? || @over
      end
    end)
  end

  def teardown
    @over = true
    super
  end
end
