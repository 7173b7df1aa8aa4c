# frozen_string_literal: true

require "authority"
require "scripted"

class SettingsTest < Minitest::Test
  def setup
    @dir = Dir.mktmpdir("jot")
    @before = ENV.to_h
    ENV.delete_if { |name, _| name.start_with?("JOTSMITH_") }
    authority = Authority.new
    certificate, key = authority.issue("DNS:me.example")
    _, @other = authority.issue("DNS:other.example")
    { "junk" => "two words", "ca.pem" => authority.pem, "me.pem" => certificate, "me.key" => key, "other.key" => @other,
      "long" => "x" * 8194, "longest" => "#{"x" * 8192}\n", "empty" => "" }.each do |name, text|
      File.write(file(name),
                 text)
    end
    File.mkfifo(file("pipe"))
  end

  def teardown
    ENV.replace(@before)
    FileUtils.rm_rf(@dir)
  end

  def test_connect_says_what_is_wrong
    ca = { tls_ca: file("ca.pem") }
    [
      ["nowhere", "neither unix:///PATH nor HOST:PORT", {}],
      ["host:", "neither unix:///PATH nor HOST:PORT", {}],
      ["https://host:1", "neither unix:///PATH nor HOST:PORT", {}],
      ["unix:relative", "neither unix:///PATH nor HOST:PORT", {}],
      ["host:1", "client certificate or a token", {}],
      ["host:1", "client certificate or a token", ca],
      ["unix:///s", "no TLS", { tls_ca: file("junk") }],
      ["unix:///s", "no TLS", { tls_server_name: "name" }],
      ["host:1", "no PEM certificate", { tls_ca: file("junk") }],
      ["host:1", "No such file", { tls_ca: file("none") }],
      ["host:1", "go together", { tls_cert: file("me.pem") }],
      ["host:1", "go together", { tls_key: file("me.key") }],
      ["host:1", "client certificate: ", { tls_cert: file("junk"), tls_key: file("me.key") }],
      ["host:1", "holds no PEM key", { tls_cert: file("me.pem"), tls_key: file("junk") }],
      ["host:1", "is not the key of", { tls_cert: file("me.pem"), tls_key: file("other.key") }],
      ["host:1", "a token alone", { **ca, bearer_file: file("junk") }],
      ["host:1", "a token alone", { **ca, bearer_file: file("empty") }],
      ["host:1", "longer than a token can be", { **ca, bearer_file: file("long") }],
      ["host:1", "not a regular file", { **ca, bearer_file: @dir }],
      ["host:1", "not a regular file", { **ca, bearer_file: file("pipe") }],
      ["host:1", "No such file", { **ca, bearer_file: file("none") }],
      ["unix:///s", "not a token alone", { bearer: "a b" }],
      ["unix:///s", "not a token alone", { bearer: "a\n" }],
      ["unix:///s", "exclude each other", { bearer: "a", bearer_file: file("longest") }],
      ["localhost:1", "not for", { plaintext_loopback: true }],
      ["10.0.0.1:1", "not for", { plaintext_loopback: true }],
      ["[::ffff:127.0.0.1]:1", "not for", { plaintext_loopback: true }],
      ["unix:///s", "not for", { plaintext_loopback: true }],
      ["127.0.0.1:1", "exclude each other", { plaintext_loopback: true, **ca }],
      ["127.0.0.1:1", "not sent in plaintext", { plaintext_loopback: true, bearer: "t" }],
      ["unix:///s", "timeout is no number above 0", { timeout: 0 }],
      ["unix:///s", "max_kept is no number above 0", { max_kept: "many" }]
    ].each do |address, want, settings|
      error = assert_raises(Jotsmith::SettingError, "#{address} #{settings}") { Jotsmith.connect(address, **settings) }
      assert_includes error.message, want
    end
  end

  def test_what_is_right_calls_nobody
    tls = { tls_ca: file("ca.pem"), tls_cert: file("me.pem"), tls_key: file("me.key") }
    [["unix:///s", {}], ["unix:///s", { bearer: "t" }], ["host.example:1", tls], ["[::1]:8443", tls],
     ["host:1", { bearer_file: file("longest") }], ["127.0.0.1:1", { plaintext_loopback: true }],
     ["[::1]:1", { plaintext_loopback: true }], ["unix:///s", { tls_ca: "", bearer: "", timeout: 0.5 }]]
      .each { |address, settings| Jotsmith.connect(address, **settings).close }
  end

  def test_the_environment_says_what_nobody_else_does
    assert_equal "unix:///run/jotsmith/jotsmith.sock", Jotsmith::Settings.new(nil).address
    ENV["JOTSMITH_ADDRESS"] = "unix:///of/the/environment"
    ENV["JOTSMITH_TLS_CA"] = "/of/another/server" # which does not concern a Unix socket
    assert_equal "unix:///of/the/environment", Jotsmith::Settings.new(nil).address
    assert_equal "unix:///s", Jotsmith::Settings.new("unix:///s").address
    assert_includes wrong("host:1"), "/of/another/server"
    ENV["JOTSMITH_TLS_CA"] = ""
    ENV["JOTSMITH_TLS_CERT"] = file("me.pem")
    ENV["JOTSMITH_TLS_KEY"] = file("other.key")
    assert_includes wrong("host:1"), "is not the key of"
    Jotsmith::Settings.new("host:1", tls_cert: file("me.pem"), tls_key: file("me.key"))
    ENV["JOTSMITH_TLS_KEY"] = file("me.key")
    ENV["JOTSMITH_TLS_SERVER_NAME"] = "name"
    assert_equal "name", Jotsmith::Settings.new("host:1").server_name
    ENV["JOTSMITH_BEARER_FILE"] = "/no/such/bearer"
    assert_includes wrong("unix:///s"), "/no/such/bearer"
    assert_equal "t", Jotsmith::Settings.new("unix:///s", bearer: "t").bearer.read
  end

  def test_plaintext_of_the_environment
    ENV["JOTSMITH_PLAINTEXT_LOOPBACK"] = "true"
    assert_predicate Jotsmith::Settings.new("127.0.0.1:1"), :plaintext?
    assert_includes wrong("host:1"), "not for"
    assert_includes wrong("127.0.0.1:1", plaintext_loopback: false), "client certificate or a token"
    ENV["JOTSMITH_PLAINTEXT_LOOPBACK"] = "1"
    assert_includes wrong("127.0.0.1:1"), "client certificate or a token"
  end

  def test_targets_go_through_no_proxy_and_no_other_name
    assert_equal "ipv4:127.0.0.1:1", Jotsmith::Settings.new("127.0.0.1:1", plaintext_loopback: true).target
    assert_equal "ipv6:[::1]:1", Jotsmith::Settings.new("[::1]:1", plaintext_loopback: true).target
    assert_equal "dns:///host:1", Jotsmith::Settings.new("host:1", bearer: "t").target
    assert_equal "unix:///s", Jotsmith::Settings.new("unix:///s").target
  end

  private

  def file(name)
    "#{@dir}/#{name}"
  end

  def wrong(*args, **settings)
    assert_raises(Jotsmith::SettingError) { Jotsmith::Settings.new(*args, **settings) }.message
  end
end
