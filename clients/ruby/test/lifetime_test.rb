# frozen_string_literal: true

require "scripted"

class LifetimeTest < Minitest::Test
  def setup
    @clock = FakeClock.new
  end

  def test_a_token_is_fresh_until_its_refresh_time_and_usable_up_to_its_margin
    life = Jotsmith::Lifetime.new(@clock.now, refresh: 400, expire: 600)
    at(399.999) { assert life.fresh?(@clock.now) }
    at(400) { refute life.fresh?(@clock.now) }
    at(499.999) { assert life.usable?(@clock.now) }
    at(500) { refute life.usable?(@clock.now) }
    assert_equal 500, life.margin
  end

  def test_a_token_without_end_has_no_margin
    life = Jotsmith::Lifetime.new(@clock.now, refresh: 400)
    at(399.999) { assert life.usable?(@clock.now) }
    at(400) { refute life.usable?(@clock.now) }
    refute life.fresh?(@clock.now, 1)
    assert_equal 0, life.remaining(@clock.now)
  end

  def test_a_token_without_refresh_is_never_fresh
    life = Jotsmith::Lifetime.new(@clock.now, expire: 600)
    refute life.fresh?(@clock.now)
    refute life.usable?(@clock.now)
    assert_equal 600, life.remaining(@clock.now)
  end

  def test_a_refresh_after_the_end_has_no_margin
    assert_equal 700, Jotsmith::Lifetime.new(@clock.now, refresh: 700, expire: 600).margin
  end

  def test_what_is_asked_for_must_be_left
    life = Jotsmith::Lifetime.new(@clock.now, refresh: 400, expire: 600)
    at(59) { assert life.fresh?(@clock.now, 540) }
    at(61) { refute life.fresh?(@clock.now, 540) }
    at(61) { refute life.usable?(@clock.now, 540) }
  end

  # A laptop's monotonic clock stands still while it sleeps, and a wall clock is set.
  def test_age_is_the_longer_of_both_clocks
    start = @clock.now
    @clock.advance(3600, asleep: true)
    assert_equal 3600, start.age(@clock.now)
    set_back = Jotsmith::Reading.new(start.monotonic + 60, start.wall - 86_400)
    assert_equal 60, start.age(set_back)
  end

  def test_the_clock_here_may_be_wrong
    [0, 34, -34, 86_400, -86_400].each do |skew|
      token = Jotsmith::Token.new(Answer.token("t", now: Time.at(@clock.wall + skew)), @clock.now, @clock)
      assert_in_delta 600, token.remaining, 1e-6
      assert token.fresh?
      @clock.advance(401)
      refute token.fresh?
      assert_in_delta 199, token.remaining, 1e-6
      @clock.advance(3600)
      assert_equal 0, token.remaining
    end
  end

  def test_without_the_servers_time_a_life_is_not_made_up
    answer = Answer.token("t")
    answer.answer_time = nil
    token = Jotsmith::Token.new(answer, Jotsmith::Reading.now)
    refute token.fresh?
    assert token.one_time?
    assert_equal 0, token.remaining
  end

  private

  def at(seconds)
    before = @clock
    @clock = FakeClock.new
    @clock.advance(Rational(seconds.to_s))
    yield
  ensure
    @clock = before
  end
end
