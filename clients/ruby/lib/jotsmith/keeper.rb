# frozen_string_literal: true

module Jotsmith
  # Keeps tokens. Safe for concurrent use. Internal.
  class Keeper
    # For how many seconds whoever could have the old token waits for the new one.
    PATIENCE = 1
    # For how many seconds the server is left alone, at least, after it could not
    # renew a token that still serves.
    PAUSE = 1
    # The age in seconds from which a token is made anew because its consumer refused
    # it. A younger one was not refused for its age.
    YOUNGEST = 15

    # What is known of one place. one_time says that its tokens are for one use, as
    # far as is known; failed is the Reading when the server could not renew the
    # token, pause for how long it is left alone then.
    Kept = Struct.new(:at, :token, :one_time, :flights, :failed, :pause)

    # One call that several wait for. taken says that a token for one use has its
    # user.
    Flight = Struct.new(:changed, :done, :token, :error, :taken)
    private_constant :Kept, :Flight

    # ask is called with a request on the wire and a Scope, and returns the answer or
    # raises an Error. timeout is in seconds, most how many places there are; closing
    # ends the flights.
    def initialize(ask, timeout:, most:, closing:, clock: Reading)
      @ask = ask
      @timeout = timeout
      @most = most
      @closing = closing
      @clock = clock
      @process = Process.pid
      @mutex = Mutex.new
      @places = {} # the one that was asked for last at its end
      @threads = {} # of the flights
    end

    # A kept token or a new one. Raises an Error.
    def token(request, scope)
      message = request.message
      place = request.place(message)
      entry, old, flight = @mutex.synchronize { look(request, message, place, scope) }
      return old if flight.nil? && old
      return alone(message, entry, scope) unless flight

      await(request, flight, old, scope) { alone(message, entry, scope) }
    end

    # Another token than one that its consumer has refused, or nil where there is
    # none. The server makes a new one instead of the same only where its profile lets
    # callers ask for a longer life.
    def renew(request, refused, scope)
      return if refused.one_time?

      place = request.place(request.message)
      @mutex.synchronize do
        # Another's renewal has come between, or is under way and is joined.
        entry = @places[place]
        drop(entry) if entry&.token && entry.token.reveal == refused.reveal
      end
      other = renewed(request, longer(request, refused), scope)
      other unless other.reveal == refused.reveal
    rescue Error
      nil
    end

    # Forgets the places of a profile.
    def invalidate(profile)
      @mutex.synchronize { @places.delete_if { |(name, *), _| name == profile } }
    end

    # How many places are taken.
    def size
      @mutex.synchronize { @places.size }
    end

    # Waits for the flights, which closing has ended.
    def close
      threads = @mutex.synchronize { @threads.keys }
      threads.each(&:join) if @process == Process.pid
    end

    private

    # The place, what serves as its token, and the flight to wait for. The mutex is
    # held.
    def look(request, message, place, scope)
      scope.check
      land_elsewhere unless @process == Process.pid
      entry = entry(place)
      now = @clock.now
      life = entry.token&.life
      least = request.min_remaining
      old = entry.token if life&.usable?(now, least)
      return [entry, old, nil] if old && (life.fresh?(now, least) || left_alone?(entry, now))
      return [entry, nil, nil] if entry.one_time

      [entry, old, entry.flights[least] ||= start(message, entry, least)]
    end

    def left_alone?(entry, now)
      entry.pause.positive? && entry.failed.age(now) < entry.pause
    end

    # Waits for a flight. The old token, where there is one, is what the caller gets
    # while the server is away. Of a token that is for one use, all but one of those
    # who waited ask alone, which is the block.
    def await(request, flight, old, scope)
      patient = old ? scope.within([PATIENCE, scope.remaining / 2].min) : scope
      unless landed?(flight, patient)
        return old if old && !scope.cancelled?

        raise scope.error
      end
      if flight.error
        return old if old && flight.error.retryable? && old.life.usable?(@clock.now, request.min_remaining)

        raise own(flight.error)
      end
      mine?(flight) ? flight.token : yield
    end

    # The same error, as each of those who wait raises it.
    def own(error)
      error.clone.tap { |copy| copy.set_backtrace(caller(3)) }
    end

    # Waits until a flight is done, and says whether it is.
    def landed?(flight, scope)
      scope.hear(-> { @mutex.synchronize { flight.changed.broadcast } }) do
        @mutex.synchronize do
          until flight.done || scope.error
            remaining = scope.remaining
            flight.changed.wait(@mutex, remaining.infinite? ? nil : remaining)
          end
          flight.done
        end
      end
    end

    def mine?(flight)
      return true unless flight.token.one_time?

      @mutex.synchronize do
        free = !flight.taken
        flight.taken = true
        free
      end
    end

    # Starts a flight. It goes on without whoever came first, and ends with the
    # timeout or the client. The mutex is held.
    def start(message, entry, least)
      flight = Flight.new(ConditionVariable.new, false)
      @threads[Thread.new { fly(flight, message, entry, least) }] = true
      flight
    end

    def fly(flight, message, entry, least)
      asked = @clock.now
      answer = @ask.call(message, Scope.new(timeout: @timeout, closing: @closing))
      flight.token = Token.new(answer, asked, @clock)
    rescue Error => e
      flight.error = e
    ensure
      @mutex.synchronize { land(flight, entry, least) }
    end

    def land(flight, entry, least)
      # A program may kill a thread.
      flight.error ||= Error.cancelled unless flight.token
      @threads.delete(Thread.current)
      entry.flights.delete(least)
      keep(entry, flight.token, flight.error)
      flight.done = true
      flight.changed.broadcast
    end

    # Asks for a token that nobody else gets.
    def alone(message, entry, scope)
      asked = @clock.now
      token = Token.new(@ask.call(message, scope.within(@timeout)), asked, @clock)
      @mutex.synchronize { keep(entry, token, nil) }
      token
    end

    # Takes up what the server answered. A refusal is as good as an answer: the token
    # before it is not handed out any more. The mutex is held.
    def keep(entry, token, error)
      return take_up(entry, token) if token

      if error.retryable?
        entry.failed = @clock.now
        entry.pause = [error.retry_after, PAUSE].max
      elsif !%i[INVALID_ARGUMENT CANCELLED].include?(error.code) # wrong, or nobody asked any more
        entry.token = nil
      end
      drop(entry) if entry.token.nil? && entry.flights.empty?
    end

    def take_up(entry, token)
      entry.one_time = token.one_time?
      entry.token = entry.one_time ? nil : token
      entry.pause = 0
    end

    # The place's, new where there is none; then the one that was not asked for the
    # longest goes where there are too many. The mutex is held.
    def entry(place)
      entry = @places.delete(place)
      @places.shift if entry.nil? && @places.size >= @most
      @places[place] = entry || Kept.new(place, nil, false, {}, nil, 0)
    end

    # Forgets a place. Its flights find their way to those who wait, and nobody else.
    # The mutex is held.
    def drop(entry)
      @places.delete(entry.at) if @places[entry.at].equal?(entry)
    end

    # A forked process has the tokens of the one before, and none of its threads.
    def land_elsewhere
      @process = Process.pid
      @threads.clear
      @places.each_value { |entry| entry.flights.clear }
    end

    def longer(request, refused)
      life = refused.life
      now = @clock.now
      return request unless life.expire && life.asked.age(now) >= YOUNGEST

      request.lasting([request.min_remaining || 0, life.remaining(now).floor + 5].max)
    end

    def renewed(request, longer, scope)
      token(longer, scope)
    rescue Error => e
      raise if e.code != :INVALID_ARGUMENT || longer.equal?(request)

      token(request, scope)
    end
  end
end
