# frozen_string_literal: true

require "scripted"

class KeeperTest < Minitest::Test
  # A server whose tokens live ten minutes. It answers while it is open.
  class Server
    attr_accessor :fail, :refresh, :expire, :same
    attr_reader :last

    def initialize(clock)
      @clock = clock
      @refresh = 400
      @expire = 600
      @mutex = Mutex.new
      @opened = ConditionVariable.new
      @open = true
      @calls = 0
    end

    def calls
      @mutex.synchronize { @calls }
    end

    def close
      @mutex.synchronize { @open = false }
    end

    def open
      @mutex.synchronize do
        @open = true
        @opened.broadcast
      end
    end

    def ask(message, scope)
      number = @mutex.synchronize do
        @last = message
        @calls += 1
      end
      wait(scope)
      raise self.fail.clone if self.fail

      Answer.token("token-#{same ? 1 : number}", now: Time.at(@clock.wall), refresh:, expire:)
    end

    private

    def wait(scope)
      scope.hear(-> { @mutex.synchronize { @opened.broadcast } }) do
        @mutex.synchronize do
          until @open
            scope.check
            remaining = scope.remaining
            @opened.wait(@mutex, remaining.infinite? ? nil : remaining)
          end
        end
      end
    end
  end

  def setup
    @clock = FakeClock.new
    @server = Server.new(@clock)
    @closing = Jotsmith::Cancellation.new
    @keeper = keeper
  end

  def teardown
    @closing.cancel
    @keeper.close
  end

  def test_a_token_is_kept_until_its_refresh_time
    must "token-1"
    @clock.advance(399.999r)
    must "token-1"
    @clock.advance(0.001r)
    must "token-2"
    assert_equal 2, @server.calls
  end

  def test_an_old_token_serves_while_the_server_is_away_and_never_past_its_margin
    must "token-1"
    @server.fail = Answer.error(:UNAVAILABLE, "DRAINING", retry_after: 5)
    @clock.advance(400)
    must "token-1"
    asked = @server.calls
    @clock.advance(4)
    must "token-1"
    assert_equal asked, @server.calls, "the server said when to come again"
    @clock.advance(1)
    must "token-1"
    assert_equal asked + 1, @server.calls
    @clock.advance(94.999r)
    must "token-1"
    @clock.advance(0.001r)
    error = must_fail "DRAINING"
    assert_equal [true, 5], [error.retryable?, error.retry_after]
    @server.fail = nil
    must "token-#{@server.calls + 1}"
  end

  def test_all_that_is_away_keeps_the_old_token
    { UNAVAILABLE: 1, RESOURCE_EXHAUSTED: 2, DEADLINE_EXCEEDED: 3 }.each_key do |code|
      @keeper.invalidate("p")
      @server.fail = nil
      old = ask.reveal
      @clock.advance(401)
      @server.fail = Answer.error(code, "AWAY")
      must old
      @clock.advance(0.9r)
      asked = @server.calls
      must old
      assert_equal asked, @server.calls, "a second at least"
    end
  end

  def test_a_refused_renewal_is_not_ignored
    %i[PERMISSION_DENIED FAILED_PRECONDITION UNAUTHENTICATED INTERNAL].each do |code|
      @server.fail = nil
      ask
      @clock.advance(401)
      @server.fail = Answer.error(code, "SAID_NO")
      must_fail "SAID_NO"
      @server.fail = Answer.error(:UNAVAILABLE, "AWAY")
      must_fail "AWAY" # the old one is gone
    end
  end

  def test_a_wrong_request_forgets_nothing
    must "token-1"
    @clock.advance(401)
    @server.fail = Answer.error(:INVALID_ARGUMENT, "INVALID_REQUEST")
    must_fail "INVALID_REQUEST"
    @server.fail = Answer.error(:UNAVAILABLE, "AWAY")
    must "token-1"
  end

  def test_a_silent_server_delays_an_old_token_by_a_second_at_most
    must "token-1"
    @clock.advance(401)
    @server.close
    assert_includes 1..5, took { must "token-1" }
    @clock.advance(2)
    assert_includes 0.29..0.59, took { must "token-1", scope: Jotsmith::Scope.new(timeout: 0.6) }
  end

  def test_a_hundred_callers_are_one_request
    @server.close
    callers = Array.new(100) { Thread.new { ask(request(claims: { "b" => 1, a: "é" })).reveal } }
    sleep 0.01 until callers.all?(&:stop?)
    @server.open
    assert_equal ["token-1"], callers.map(&:value).uniq
    must "token-1", request(claims: '{ "a":"é", "b":1 }')
    assert_equal 1, @server.calls
  end

  def test_no_two_callers_get_a_token_that_is_for_one_use
    @server.refresh = nil
    @server.close
    callers = Array.new(20) { Thread.new { ask } }
    sleep 0.01 until callers.all?(&:stop?)
    @server.open
    tokens = callers.map(&:value) << ask
    assert_equal 21, tokens.map(&:reveal).uniq.size
    assert_equal 21, @server.calls
    assert tokens.all?(&:one_time?)
    @server.refresh = 400 # another configuration
    must "token-22"
    must "token-22"
  end

  def test_once_tokens_are_for_one_use_each_caller_asks_for_his_own
    @server.refresh = nil
    ask
    @server.close
    callers = Array.new(5) { Thread.new { ask } }
    sleep 0.01 until callers.all?(&:stop?)
    assert_equal 6, @server.calls
    @server.open
    callers.each(&:value)
  end

  def test_a_token_without_end_has_no_margin
    @server.expire = nil
    must "token-1"
    @server.fail = Answer.error(:UNAVAILABLE, "AWAY")
    @clock.advance(399)
    must "token-1"
    @clock.advance(1)
    must_fail "AWAY"
  end

  def test_min_remaining_is_kept
    long = request(min_remaining: 540)
    must "token-1"
    must "token-1", long
    @clock.advance(61)
    must "token-2", long
    assert_equal 540, @server.last.min_remaining.seconds
    @clock.advance(120)
    @server.fail = Answer.error(:UNAVAILABLE, "AWAY")
    must "token-2"
    must_fail "AWAY", long # the old one has less
    @keeper.invalidate("p")
    @server.fail = nil
    @server.expire = nil
    must "token-4", long
    must "token-5", long # nobody knows how long it lasts
  end

  def test_a_caller_who_gives_up_stops_nobody_else
    @server.close
    cancellation = Jotsmith::Cancellation.new
    first = Thread.new { reason { ask(scope: Jotsmith::Scope.new(cancellation:)) } }
    sleep 0.01 until first.stop?
    second = Thread.new { ask.reveal }
    sleep 0.01 until second.stop?
    cancellation.cancel
    assert_equal "CANCELLED", first.value
    killed = Thread.new { ask }
    sleep 0.01 until killed.stop?
    killed.kill.join
    @server.open
    assert_equal "token-1", second.value
    assert_equal 1, @server.calls
  end

  def test_a_call_has_a_deadline
    @keeper = keeper(timeout: 1)
    @server.close
    assert_includes 1..5, took { must_fail "DEADLINE_EXCEEDED" }
    error = nil
    soon = Jotsmith::Scope.new(timeout: 0.1)
    assert_includes 0.09..0.9, took { error = must_fail("DEADLINE_EXCEEDED", scope: soon) }
    assert_kind_of Timeout::Error, error
    assert_equal [:DEADLINE_EXCEEDED, true], [error.code, error.retryable?]
  end

  def test_what_is_kept_is_bounded
    @keeper = keeper(most: 1024)
    1030.times { |n| must "token-#{n + 1}", request(claims: { n: }) }
    assert_equal 1024, @keeper.size
    must "token-7", request(claims: { n: 6 })
    must "token-1031", request("q") # in the place of the eighth
    must "token-7", request(claims: { n: 6 })
    must "token-1032", request(claims: { n: 7 })
    @server.fail = Answer.error(:PERMISSION_DENIED, "NOT_GRANTED")
    100.times { |n| must_fail "NOT_GRANTED", request("x#{n}") }
    assert_equal 1023, @keeper.size, "what was refused has no places"
  end

  def test_invalidate_forgets_what_is_under_way_too
    @server.close
    first = Thread.new { ask.reveal }
    sleep 0.01 until @server.calls == 1
    @keeper.invalidate("p")
    second = Thread.new { ask.reveal }
    sleep 0.01 until @server.calls == 2
    @server.open
    assert_equal %w[token-1 token-2], [first.value, second.value]
    must "token-2"
    @keeper.invalidate("other")
    must "token-2"
    @keeper.invalidate("p")
    must "token-3"
  end

  def test_a_refused_token_is_made_anew_once_it_is_old_enough
    first = ask
    assert_equal "token-2", renew(first).reveal
    assert_nil @server.last.min_remaining
    second = renew(first) # of another caller: what is kept now
    assert_equal ["token-2", 2], [second.reveal, @server.calls]
    @clock.advance(60)
    assert_equal "token-3", renew(second).reveal
    assert_equal 545, @server.last.min_remaining.seconds
  end

  def test_where_no_longer_life_may_be_asked_for_the_server_is_asked_plainly
    first = ask
    @clock.advance(60)
    @keeper = keeper(ask: lambda do |message, scope|
      raise Answer.error(:INVALID_ARGUMENT, "INVALID_REQUEST") if message.min_remaining

      @server.ask(message, scope)
    end)
    assert_equal "token-2", renew(first).reveal
  end

  def test_there_is_no_other_token_where_the_server_has_the_same_or_none
    @server.same = true
    assert_nil renew(ask)
    @keeper.invalidate("p")
    @server.fail = Answer.error(:PERMISSION_DENIED, "NOT_GRANTED")
    assert_nil renew(Jotsmith::Token.new(Answer.token("t"), @clock.now, @clock))
    @server.refresh = nil
    @server.fail = nil
    @keeper.invalidate("p")
    once = ask
    asked = @server.calls
    assert_nil renew(once)
    assert_equal asked, @server.calls
  end

  def test_a_close_ends_what_is_under_way
    @server.close
    waiting = Thread.new { reason { ask } }
    sleep 0.01 until @server.calls == 1 && waiting.stop?
    @closing.cancel
    @keeper.close
    assert_equal "CANCELLED", waiting.value
    must_fail "CANCELLED"
  end

  # The threads of the flights are not in a forked process.
  def test_a_forked_process_asks_for_itself
    @server.close
    waiting = Thread.new { ask.reveal }
    sleep 0.01 until @server.calls == 1
    reader, writer = IO.pipe
    child = fork do
      @server = Server.new(@clock)
      @keeper.instance_variable_set(:@ask, @server.method(:ask))
      writer.write(ask(scope: Jotsmith::Scope.new(timeout: 5)).reveal)
      writer.close
      exit!(0)
    end
    writer.close
    assert_equal "token-1", reader.read
    Process.wait(child)
    @server.open
    waiting.value
  end

  private

  def keeper(timeout: 10, most: 8, ask: @server.method(:ask))
    Jotsmith::Keeper.new(ask, timeout:, most:, closing: @closing, clock: @clock)
  end

  def request(profile = "p", **rest)
    Jotsmith::Request.new(profile, **rest)
  end

  # A call's own limits, with the client's end.
  def ask(request = request("p"), scope: Jotsmith::Scope.new(closing: @closing))
    @keeper.token(request, scope)
  end

  def renew(token)
    @keeper.renew(request("p"), token, Jotsmith::Scope.new)
  end

  def must(want, request = request("p"), **rest)
    assert_equal want, ask(request, **rest).reveal
  end

  def must_fail(want, request = request("p"), **rest)
    error = assert_raises(Jotsmith::Error) { ask(request, **rest) }
    assert_equal want, error.reason
    error
  end

  def reason
    yield
  rescue Jotsmith::Error => e
    e.reason
  end

  def took
    start = Jotsmith::Scope.now
    yield
    Jotsmith::Scope.now - start
  end
end
