# frozen_string_literal: true

require "logger"
require "pp" # rubocop:disable Lint/RedundantRequireStatement -- pretty_inspect comes with it alone
require "stringio"
require "yaml"
require "scripted"

class TokenTest < Minitest::Test
  SECRET = "eyJ.secret.sig"

  def setup
    @token = Jotsmith::Token.new(Answer.token(SECRET), Jotsmith::Reading.now)
  end

  def test_a_token_is_never_printed
    log = StringIO.new
    logger = Logger.new(log)
    logger.info(@token)
    logger.info("token #{@token}")
    holders = [@token, [@token], { @token => @token }, Struct.new(:inner).new(@token), Jotsmith::Result.new(@token)]
    texts = holders.flat_map do |holder|
      [holder.to_s, holder.inspect, holder.pretty_inspect, format("%s %p", holder, holder), holder.to_json, # rubocop:disable Style/FormatStringToken
       YAML.dump(holder)]
    end
    texts += [log.string, JSON.generate(@token), JSON.pretty_generate([@token]), Marshal.dump([@token]), @token.as_json,
              @token.instance_variables.map { |name| @token.instance_variable_get(name).inspect }.join]
    texts.each do |text|
      refute_includes text, "secret"
      assert_match(/redacted|kid|Proc/, text)
    end
    assert_equal SECRET, @token.reveal
  end

  def test_what_was_encoded_reveals_nothing
    loaded = Marshal.load(Marshal.dump(@token))
    assert_equal ["kid", 0, false], [loaded.kid, loaded.remaining, loaded.fresh?]
    assert_raises(TypeError) { loaded.reveal }
    assert_equal "token of key kid (redacted)", YAML.load(YAML.dump(@token))
  end

  def test_what_holds_credentials_does_not_print_them
    bearer = Jotsmith::Bearer.new("secret", nil)
    material = Jotsmith::TlsFiles::Material.new("secret", "secret", "secret")
    client = Jotsmith.connect("unix:///s", bearer: "secret")
    [bearer, material, client, Jotsmith::Settings.new("unix:///s", bearer: "secret")].each do |holder|
      [holder.to_s, holder.inspect, [holder].inspect].each { |text| refute_includes text, "secret" }
    end
  end

  def test_it_says_what_the_server_said
    assert_equal %w[kid 2030-01-01T00:10:00Z], at(Time.utc(2030)).then { |t| [t.kid, t.expire_time.strftime("%FT%TZ")] }
    once = Jotsmith::Token.new(Answer.token("t", refresh: nil, reused: true), Jotsmith::Reading.now)
    assert_equal [true, true, nil, false], [once.one_time?, once.reused?, once.refresh_time, once.fresh?]
  end

  private

  def at(time)
    Jotsmith::Token.new(Answer.token("t", now: time), Jotsmith::Reading.now)
  end
end
