# frozen_string_literal: true

module Jotsmith
  # How long to wait before the next try, in seconds, longer from time to time.
  # Internal.
  class Waits
    FIRST = 0.1
    LAST = 2.0

    def initialize
      @last = 0
    end

    # Whether nothing has been waited for yet.
    def none?
      @last.zero?
    end

    # Makes the next wait the first that there is.
    def start
      @last = FIRST / 2
    end

    # Seconds to wait after an error: at least as long as the server asked for, and
    # never the same as everybody else.
    def next(error)
      @last = (2 * @last).clamp(FIRST, LAST)
      wait = [@last, error.retry_after].max
      wait * (1 + (rand / 5))
    end
  end

  # Tries again what failed because the server was not there. Internal.
  module Retry
    # Calls the block until it succeeds, raises anything but UNAVAILABLE, or would
    # have to wait past the end of scope. RESOURCE_EXHAUSTED is not tried again: each
    # try would add to the load, or to the quota, that is the trouble.
    def self.call(scope)
      waits = Waits.new
      begin
        yield
      rescue Error => e
        raise unless e.code == :UNAVAILABLE

        unless scope.sleep(waits.next(e))
          raise scope.error if scope.cancelled?

          raise
        end
        retry
      end
    end
  end
end
