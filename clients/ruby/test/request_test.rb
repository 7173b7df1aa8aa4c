# frozen_string_literal: true

require "bigdecimal"
require "scripted"

class RequestTest < Minitest::Test
  def test_a_text_goes_to_the_wire_byte_for_byte
    texts = ["", "{}", '{"n": 9007199254740991}', '{"n":1e2,"n":1.0}', "no json", '{"a":"\ud800"}', " {\n}"]
    [nil, *texts].each do |claims|
      assert_equal claims.to_s, sent(claims)
      assert_equal claims.to_s, sent(claims.b) if claims
    end
  end

  def test_values_are_encoded_exactly
    {
      { "z" => 9_007_199_254_740_993, a: "é\u2028<&>/" } => "{\"z\":9007199254740993,\"a\":\"é\u2028<&>/\"}",
      { n: -(10**30) } => "{\"n\":-#{10**30}}",
      { f: 0.1, t: true, x: nil, s: :sym } => '{"f":0.1,"t":true,"x":null,"s":"sym"}',
      { list: [1, [2, { deep: 3 }]] } => '{"list":[1,[2,{"deep":3}]]}',
      { latin: "\xE9".dup.force_encoding("ISO-8859-1") } => '{"latin":"é"}',
      { one: 1.0 } => '{"one":1.0}',
      {} => "{}"
    }.each { |claims, text| assert_equal text, sent(claims) }
  end

  def test_what_is_no_json_is_refused_and_not_sent
    [
      { a: Float::NAN }, { a: Float::INFINITY }, { a: Object.new }, { a: 1r }, { a: BigDecimal("0.1") },
      { a: Time.now }, { 1 => 2 }, { a: "\xff" }, { a: "\xff".b }, { a: 1, "a" => 2 }, "{\"a\":\"\xff\"}",
      "{\"a\":\"\xe9\"}".dup.force_encoding("ISO-8859-1")
    ].each do |claims|
      assert_refused("claims") { sent(claims) }
    end
    assert_refused("profile") { Jotsmith::Request.new("\xff").message }
  end

  def test_durations_are_exact
    { 300 => [300, 0], 0.5 => [0, 500_000_000], -1 => [-1, 0], -1.5 => [-1, -500_000_000], 1r / 3 => [0, 333_333_333] }
      .each do |seconds, (whole, nanos)|
      ttl = Jotsmith::Request.new("p", ttl: seconds).message.ttl
      assert_equal [whole, nanos], [ttl.seconds, ttl.nanos]
    end
    assert_nil Jotsmith::Request.new("p").message.ttl
    ["x", Float::NAN, 10**40, Object.new].each do |wrong|
      assert_refused("ttl") { Jotsmith::Request.new("p", ttl: wrong).message }
      assert_refused("min_remaining") { Jotsmith::Request.new("p", min_remaining: wrong).message }
    end
  end

  def test_a_place_is_profile_ttl_and_claims
    place = ->(*args, **rest) { Jotsmith::Request.new(*args, **rest).then { |r| r.place(r.message) } }
    assert_equal place.call("p", claims: { b: 1, a: "é" }, ttl: 60),
                 place.call("p", claims: '{ "a":"\u00e9", "b":1 }', ttl: 60.0)
    assert_equal place.call("p"), place.call(:p, claims: {}, min_remaining: 5)
    refute_equal place.call("p"), place.call("q")
    refute_equal place.call("p"), place.call("p", ttl: 60)
    refute_equal place.call("p", claims: { n: 1 }), place.call("p", claims: { n: 1.0 })
  end

  private

  def sent(claims)
    Jotsmith::Request.new("p", claims:).message.claims
  end

  def assert_refused(field, &)
    error = assert_raises(Jotsmith::CallFailed, &)
    assert_equal [:INVALID_ARGUMENT, "INVALID_REQUEST", field], [error.code, error.reason, error.violations[0].field]
    refute error.retryable?
  end
end
