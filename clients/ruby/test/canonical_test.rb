# frozen_string_literal: true

require "scripted"

class CanonicalTest < Minitest::Test
  SAME = [
    ["", "{}", " { } ", "\t{\r\n}"],
    ['{"a":1,"b":[1,{"d":null,"c":true}]}', "{ \"b\" : [1,{\"c\":true,\"d\":null}],\n\"a\":1}"],
    ['{"a":"é"}', '{"a":"\u00e9"}', '{"\u0061":"\u00E9"}'],
    ['{"a":"😀/"}', '{"a":"\ud83d\ude00\/"}', '{"a":"\uD83D\uDE00/"}'],
    ['{"a":"\t\n\r\b\f\"\\\\"}', '{"a":"\u0009\u000a\u000d\u0008\u000c\u0022\u005c"}'],
    ['{"a":{},"b":[]}', '{"b":[ ],"a":{ }}'],
    ['{"a":"日本","z":{"y":0,"x":-1.5e+3}}', '{"z":{"x":-1.5e+3,"y":0},"a":"\u65e5\u672c"}']
  ].freeze

  # No two of them share a place.
  APART = [
    "{}", '{"a":1}', '{"a":1,}', '{"a":1,"a":1}', '{"a":2,"a":1}', '{"a":1} x', '{"a":1}{}', '{"a":"1"}', '{"a":1.0}',
    '{"a":1e0}', '{"a":1E0}', '{"a":10e-1}', '{"a":[1]}', '{"a":[[1]]}', '{"a":9007199254740993}',
    '{"a":9007199254740992}',
    '{"a":"\ud800"}', '{"a":"\udc00"}', '{"a":"\udc00\ud800"}', '{"a":"\ufffd"}', '{"A":1}', "null", "[]", '"a"', "{",
    '{"a":-0}', '{"a":0}', '{"a":01}', '{"a":+1}', '{"a":.5}', '{"a":1.}', '{"a":"\x"}', "{\"a\":\"\n\"}", "{'a':1}",
    '{"a":NaN}', '{"a":tru}', '{"a" 1}', '{"a":1 "b":2}', "[1,]", "[,1]", "{,}", "\u00a0{}", "\ufeff{}", '{"a":1}/**/',
    '{"a":"\u00"}', '{"a":"é"}', "{\"a\":\"e\u0301\"}", "?{}", "1 2", '{"a":{"b":1,"\u0062":2}}', "[" * 10_000
  ].freeze

  def test_what_differs_in_spelling_alone_is_the_same
    SAME.each do |texts|
      texts.each { |text| assert_equal form(texts[0]), form(text), text }
      refute form(texts[0]).start_with?("?"), texts[0]
    end
  end

  def test_nothing_else_shares_a_place
    seen = {}
    APART.each do |text|
      assert_nil seen[form(text)], "#{text} shares the place of #{seen[form(text)]}"
      seen[form(text)] = text
    end
  end

  def test_the_form_is_json_of_the_same_value
    (SAME.flatten + APART).each do |text|
      next if text.empty? || form(text).start_with?("?")

      assert_equal JSON.parse(text), JSON.parse(form(text)), text
    end
  end

  def test_sixteen_levels_are_read_and_no_more
    refute form("#{"[" * 17}#{"]" * 17}").start_with?("?")
    assert form("#{"[" * 18}#{"]" * 18}").start_with?("?")
  end

  private

  def form(text)
    Jotsmith::Canonical.form(text)
  end
end
