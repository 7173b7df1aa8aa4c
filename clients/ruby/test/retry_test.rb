# frozen_string_literal: true

require "scripted"

class RetryTest < Minitest::Test
  # Takes no time to sleep.
  class FakeScope < Jotsmith::Scope
    attr_reader :slept

    def initialize(limit)
      super()
      @limit = limit
      @slept = []
    end

    def sleep(seconds)
      return false if @slept.sum + seconds >= @limit

      @slept << seconds
      true
    end
  end

  def test_the_waits_grow_and_are_never_the_same
    waits = Jotsmith::Waits.new
    error = Answer.error(:UNAVAILABLE)
    [0.1, 0.2, 0.4, 0.8, 1.6, 2, 2].each do |least|
      assert_includes least..(least * 1.2), waits.next(error)
    end
    assert_includes 7..8.4, waits.next(Answer.error(:UNAVAILABLE, "R", retry_after: 7))
    assert_operator Array.new(10) { waits.next(error) }.uniq.size, :>, 1
  end

  def test_unavailable_is_tried_again_when_the_server_says
    scope = FakeScope.new(60)
    calls = 0
    answer = Jotsmith::Retry.call(scope) do
      calls += 1
      raise Answer.error(:UNAVAILABLE, "NOT_READY", retry_after: 2) if calls < 3

      :answer
    end
    assert_equal [:answer, 3], [answer, calls]
    scope.slept.each { |wait| assert_includes 2..2.4, wait }
  end

  def test_nothing_is_waited_for_that_comes_too_late
    scope = FakeScope.new(1)
    error = assert_raises(Jotsmith::CallFailed) do
      Jotsmith::Retry.call(scope) { raise Answer.error(:UNAVAILABLE, "NOT_READY", retry_after: 2) }
    end
    assert_equal ["NOT_READY", 2, []], [error.reason, error.retry_after, scope.slept]
  end

  def test_no_other_error_is_tried_again
    %i[RESOURCE_EXHAUSTED INTERNAL PERMISSION_DENIED DEADLINE_EXCEEDED].each do |code|
      calls = 0
      error = assert_raises(Jotsmith::Error) do
        Jotsmith::Retry.call(FakeScope.new(60)) do
          calls += 1
          raise Answer.error(code, "R", retry_after: 1)
        end
      end
      assert_equal [code, 1], [error.code, calls]
    end
  end

  def test_a_wait_ends_when_it_is_given_up
    cancellation = Jotsmith::Cancellation.new
    scope = Jotsmith::Scope.new(cancellation:)
    waiting = Thread.new do
      Jotsmith::Retry.call(scope) { raise Answer.error(:UNAVAILABLE, "R", retry_after: 60) }
    rescue Jotsmith::Error => e
      e.code
    end
    sleep 0.01 until waiting.stop?
    cancellation.cancel
    assert_equal :CANCELLED, waiting.value
  end
end
