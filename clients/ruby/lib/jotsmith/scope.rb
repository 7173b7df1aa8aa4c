# frozen_string_literal: true

module Jotsmith
  # Gives up the calls that it was passed to, from another thread. It can be passed
  # to any number of calls, and stays cancelled. Not to be cancelled in a signal
  # handler itself, where Ruby allows no locks: start a thread there.
  class Cancellation
    def initialize
      @mutex = Mutex.new
      @cancelled = false
      @listeners = {}.compare_by_identity
    end

    # Gives up the calls under way, and those to come. A second time is nothing.
    def cancel
      listeners = @mutex.synchronize do
        @cancelled = true
        @listeners.values.tap { @listeners.clear }
      end
      listeners.each(&:call)
      nil
    end

    def cancelled?
      @cancelled
    end

    # Calls listener once when it is cancelled, at once where it is already, for as
    # long as the block runs.
    def hear(listener)
      late = @mutex.synchronize do
        @listeners[listener] = listener unless @cancelled
        @cancelled
      end
      listener.call if late
      yield
    ensure
      @mutex.synchronize { @listeners.delete(listener) }
    end
  end

  # How long something may take, and whether it is still wanted: a deadline by the
  # monotonic clock, the caller's cancellation and the client's. Internal.
  class Scope
    FOREVER = Float::INFINITY
    private_constant :FOREVER

    def self.now
      Process.clock_gettime(Process::CLOCK_MONOTONIC)
    end

    # timeout is in seconds, nil for none; closing is the client's Cancellation.
    def initialize(timeout: nil, cancellation: nil, closing: nil, deadline: nil)
      @deadline = [deadline || FOREVER, timeout ? Scope.now + timeout : FOREVER].min
      @cancellation = cancellation
      @closing = closing
    end

    # The same, but over after some seconds at the latest.
    def within(seconds)
      before(Scope.now + seconds)
    end

    # The same, but over at a time of Scope.now at the latest.
    def before(time)
      Scope.new(deadline: [@deadline, time].min, cancellation: @cancellation, closing: @closing)
    end

    # Seconds until the deadline, Float::INFINITY without one.
    def remaining
      @deadline - Scope.now
    end

    # The deadline as gRPC takes it, nil for none.
    def time
      @deadline == FOREVER ? nil : Time.now + [remaining, 0].max
    end

    # Whether the caller wants no more: it is cancelled, or its deadline has passed.
    def given_up?
      @cancellation&.cancelled? || expired?
    end

    def expired?
      remaining <= 0
    end

    def cancelled?
      (@cancellation&.cancelled? || @closing&.cancelled?) == true
    end

    # The error of what is over, nil while it is not.
    def error
      return Error.cancelled if @cancellation&.cancelled?
      return Error.cancelled("the client is closed") if @closing&.cancelled?

      Error.deadline if expired?
    end

    # Raises the error of what is over.
    def check
      ended = error
      raise ended if ended
    end

    # Calls listener when it is cancelled, for as long as the block runs.
    def hear(listener, &block)
      [@cancellation, @closing].compact.reduce(block) do |inner, source|
        -> { source.hear(listener, &inner) }
      end.call
    end

    # Waits, and returns true. Returns false at once where the deadline comes before,
    # and as soon as it is cancelled.
    def sleep(seconds)
      return false if remaining <= seconds

      mutex = Mutex.new
      woken = ConditionVariable.new
      ends = Scope.now + seconds
      hear(-> { mutex.synchronize { woken.broadcast } }) do
        mutex.synchronize do
          woken.wait(mutex, ends - Scope.now) until cancelled? || Scope.now >= ends
        end
      end
      !cancelled?
    end
  end
end
