# frozen_string_literal: true

require "json"

module Jotsmith
  # A minted token. Printing it, logging it and encoding it show what it is about
  # and never the token itself, which #reveal returns.
  class Token
    # Names the key that signed it.
    attr_reader :kid
    # By the server's clock; to decide anything by them is what #remaining and #fresh?
    # are for. expire_time is nil for a token without exp, refresh_time for one that
    # is for one use.
    attr_reader :issue_time, :expire_time, :refresh_time
    # Names the configuration that the server decided under.
    attr_reader :generation
    # What VAPID's Authorization header carries as k. Most profiles leave it empty.
    attr_reader :public_key
    # The Lifetime. Internal.
    attr_reader :life

    # Makes a token of an answer to what was asked at a time. Internal.
    def initialize(answer, asked, clock = Reading)
      secret = answer.token.dup.freeze
      @reveal = -> { secret } # which no printer of instance variables looks into
      @clock = clock
      @kid = answer.kid
      @generation = answer.config_generation
      @public_key = answer.public_key
      @reused = answer.reused
      read_times(answer, asked)
      freeze
    end

    # The token in its compact serialization, for the header that it goes into and
    # for nothing else.
    def reveal
      raise TypeError, "this token was encoded, which keeps nothing of it" unless @reveal

      @reveal.call
    end

    # Whether the server had made it for an earlier request.
    def reused?
      @reused
    end

    # Whether it is for one use.
    def one_time?
      life.refresh.nil?
    end

    # Seconds for which it is still valid, counted from when it was asked for and by
    # the server's times, so that a wrong clock here changes nothing. 0 for an expired
    # token and for one without exp.
    def remaining
      life.remaining(@clock.now)
    end

    # Whether the server's refresh time has not come.
    def fresh?
      life.fresh?(@clock.now)
    end

    # What it is about, without the token.
    def to_s
      "token of key #{kid} (redacted)"
    end

    def inspect
      "#<Jotsmith::Token #{self}>"
    end

    def pretty_print(printer)
      printer.text(inspect)
    end

    def as_json(*)
      to_s
    end

    def to_json(*args)
      to_s.to_json(*args)
    end

    # YAML's.
    def encode_with(coder)
      coder.represent_scalar(nil, to_s)
    end

    # Marshal's: a live token does not belong on a disk. What is loaded has its kid
    # alone.
    def marshal_dump
      ["redacted", kid]
    end

    def marshal_load(dumped)
      @kid = dumped.last
      @life = Lifetime.new(Reading.now)
      @clock = Reading
      freeze
    end

    private

    def read_times(answer, asked)
      @issue_time = time(answer.issue_time)
      @expire_time = time(answer.expire_time)
      @refresh_time = time(answer.refresh_time)
      # Without the server's time nobody knows how long that is: it is kept by nobody.
      now = time(answer.answer_time)
      since = ->(moment) { now && moment && (moment - now) }
      @life = Lifetime.new(asked, refresh: since.call(@refresh_time), expire: since.call(@expire_time))
    end

    def time(stamp)
      stamp && Time.at(stamp.seconds, stamp.nanos, :nsec).utc.freeze
    end
  end
end
