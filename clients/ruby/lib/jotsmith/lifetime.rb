# frozen_string_literal: true

module Jotsmith
  # A moment by both clocks of this machine, in seconds. Internal.
  class Reading
    attr_reader :monotonic, :wall

    def initialize(monotonic, wall)
      @monotonic = monotonic
      @wall = wall
    end

    def self.now
      new(Process.clock_gettime(Process::CLOCK_MONOTONIC), Process.clock_gettime(Process::CLOCK_REALTIME))
    end

    # How long before now it was. The monotonic clock cannot be set, and stands still
    # while a laptop sleeps; the other runs on, and can be set. The longer of the two
    # is never too short, unless a clock is set back in its sleep.
    def age(now)
      [now.monotonic - monotonic, now.wall - wall].max
    end
  end

  # How long a token lasts, in seconds of the server's since it was asked for, which
  # was before the server answered. nil for a refresh or an end that there is not.
  # Internal.
  class Lifetime
    attr_reader :asked, :refresh, :expire

    def initialize(asked, refresh: nil, expire: nil)
      @asked = asked
      @refresh = refresh
      @expire = expire
    end

    # Whether the token is the one to have, with at_least of its life left; nil asks
    # for nothing.
    def fresh?(now, at_least = nil)
      !refresh.nil? && asked.age(now) < refresh && lasts?(now, at_least)
    end

    # How long a token may be used that the server should have replaced but cannot:
    # to the middle of the time between its refresh and its end. Of a token without
    # end nobody knows how long its consumer takes it, so it has none.
    def margin
      return refresh || 0 if refresh.nil? || expire.nil?

      refresh + ([expire - refresh, 0].max / 2)
    end

    # Whether the token may stand in while the server is away.
    def usable?(now, at_least = nil)
      !refresh.nil? && asked.age(now) < margin && lasts?(now, at_least)
    end

    # Seconds until its end, 0 for one that has passed and where there is none.
    def remaining(now)
      expire ? [expire - asked.age(now), 0].max : 0
    end

    private

    def lasts?(now, at_least)
      at_least.nil? || at_least <= 0 || (!expire.nil? && expire - asked.age(now) >= at_least)
    end
  end
end
