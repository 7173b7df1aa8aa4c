# frozen_string_literal: true

require "authority"
require "local_server"

class TlsTest < Minitest::Test
  include Serving

  def setup
    super
    @authority = Authority.new
    @seen = Queue.new
    write("ca.pem", @authority.pem)
    write_client("first.example")
  end

  def test_the_client_certificate_is_read_anew
    client = connect(address, **files)
    client.token("p")
    write_client("second.example")
    client.token("p")
    write("me.pem", "half") # is being written just now
    client.token("p")
    assert_equal %w[first.example second.example second.example], Array.new(3) { @seen.pop }
  end

  def test_another_channel_cuts_no_call_off
    client = connect(address(first_takes: 0.5), **files)
    slow = Thread.new { client.explain("p").grant }
    sleep 0.1
    write_client("second.example")
    client.token("p")
    assert_equal ["second.example", "first.example"], [@seen.pop, slow.value]
  end

  def test_the_ca_is_read_anew
    other = Authority.new("other")
    write("ca.pem", other.pem)
    client = connect(address, timeout: 1, **files)
    error = assert_raises(Jotsmith::CallFailed) { client.token("p") }
    assert_equal :UNAVAILABLE, error.code
    write("ca.pem", @authority.pem)
    client.token("p")
  end

  def test_the_name_of_the_server_is_held_to
    address = address(names: "DNS:server.example")
    wrong = connect(address, timeout: 1, **files)
    assert_equal :UNAVAILABLE, assert_raises(Jotsmith::CallFailed) { wrong.token("p") }.code
    connect(address, tls_server_name: "server.example", **files).token("p")
  end

  def test_a_bearer_goes_over_tls
    connect(address(mutual: false), tls_ca: file("ca.pem"), bearer: "b").token("p")
    assert_equal "Bearer b", @seen.pop
  end

  def test_a_server_without_tls_gets_no_bearer
    plain = started(LocalServer.new("127.0.0.1:0", mint_token: ->(_, call) { @seen << call.metadata }))
    client = connect("127.0.0.1:#{plain.port}", tls_ca: file("ca.pem"), bearer: "secret", timeout: 0.5)
    error = assert_raises(Jotsmith::CallFailed) { client.token("p") }
    refute_includes error.full_message, "secret"
    assert_empty @seen
  end

  def test_plaintext_on_the_loopback_interface
    plain = started(LocalServer.new("127.0.0.1:0", mint_token: ->(*) { Answer.token("t") }))
    assert_equal "t", connect("127.0.0.1:#{plain.port}", plaintext_loopback: true).token("p").reveal
  end

  def test_call_credentials_put_a_token_into_the_calls_of_another_service
    unix = serve(mint_token: lambda { |request, _|
                               if request.profile == "svc"
                                 Answer.token("tok")
                               else
                                 raise(Answer.raised(:PERMISSION_DENIED,
                                                     "NOT_GRANTED"))
                               end
                             })
    other = address(mutual: false)
    tls = GRPC::Core::ChannelCredentials.new(@authority.pem)
    stub = Jotsmith::V1::TokenService::Stub.new(other, tls.compose(unix.call_credentials("svc")))
    stub.mint_token(Jotsmith::V1::MintTokenRequest.new)
    assert_equal "Bearer tok", @seen.pop
    refused = Jotsmith::V1::TokenService::Stub.new(other, tls.compose(unix.call_credentials("other")))
    assert_raises(GRPC::BadStatus) { refused.mint_token(Jotsmith::V1::MintTokenRequest.new) }
    assert_empty @seen
  end

  def test_call_credentials_are_not_sent_in_the_clear
    unix = serve(mint_token: ->(_, call) { (@seen << call.metadata["authorization"]) || Answer.token("tok") })
    stub = Jotsmith::V1::TokenService::Stub.new("unix://#{@dir}/s", :this_channel_is_insecure)
    assert_raises(GRPC::BadStatus) do
      stub.mint_token(Jotsmith::V1::MintTokenRequest.new, credentials: unix.call_credentials("svc"))
    end
    refute_includes Array.new(@seen.size) { @seen.pop }, "Bearer tok"
  end

  private

  def file(name)
    "#{@dir}/#{name}"
  end

  def write(name, text)
    File.write(file(name), text)
  end

  def write_client(name)
    certificate, key = @authority.issue("DNS:#{name}")
    write("me.pem", certificate)
    write("me.key", key)
  end

  def files
    { tls_ca: file("ca.pem"), tls_cert: file("me.pem"), tls_key: file("me.key") }
  end

  # The address of a server that says who called, and whose explanations say so too.
  def address(first_takes: 0, names: "IP:127.0.0.1", mutual: true)
    certificate, key = @authority.issue(names)
    credentials = GRPC::Core::ServerCredentials.new(@authority.pem, [{ private_key: key, cert_chain: certificate }],
                                                    mutual)
    server = started(LocalServer.new("127.0.0.1:0", credentials, mint_token: lambda do |_, call|
      @seen << (call.metadata["authorization"] || caller_of(call))
      Answer.token("t", refresh: nil)
    end, explain_token: lambda do |_, call|
      sleep first_takes
      Jotsmith::V1::ExplainTokenResponse.new(grant: caller_of(call))
    end))
    "127.0.0.1:#{server.port}"
  end

  def caller_of(call)
    pem = call.peer_cert.to_s
    pem.empty? ? "nobody" : OpenSSL::X509::Certificate.new(pem).subject.to_a[0][1]
  end
end
