# frozen_string_literal: true

require "local_server"

class ClientTest < Minitest::Test
  include Serving

  def test_every_status_is_a_native_error
    said = nil
    client = serve(timeout: 0.5, mint_token: ->(*) { raise said })
    (GRPC::Core::StatusCodes.constants - [:OK]).each do |code|
      said = Answer.raised(code, "REASON", message: "tëxt", retry_after: 1.5)
      error = assert_raises(Jotsmith::Error) { client.token("p") }
      assert_equal [code, "REASON", "tëxt", 1.5], [error.code, error.reason, error.text, error.retry_after]
      assert_equal "REASON: tëxt", error.message
      assert_equal %i[UNAVAILABLE RESOURCE_EXHAUSTED DEADLINE_EXCEEDED].include?(code), error.retryable?, code
      assert_equal code == :DEADLINE_EXCEEDED, error.is_a?(Timeout::Error)
      assert_equal code == :CANCELLED, error.is_a?(Errno::ECANCELED)
      assert_kind_of Jotsmith::Error, error
    end
  end

  def test_violations_and_statuses_without_details
    said = Answer.raised(:INVALID_ARGUMENT, "INVALID_REQUEST", violations: [["ttl", "is too long"]])
    client = serve(mint_token: ->(*) { raise said })
    error = assert_raises(Jotsmith::CallFailed) { client.token("p") }
    assert_equal [{ field: "ttl", description: "is too long" }], error.violations.map(&:to_h)
    ["", "junk\xff"].each do |details|
      said = GRPC::BadStatus.new(13, "plain", "grpc-status-details-bin" => details.b)
      error = assert_raises(Jotsmith::CallFailed) { client.token("p") }
      assert_equal [:INTERNAL, "", "plain", 0, []],
                   [error.code, error.reason, error.text, error.retry_after, error.violations]
    end
  end

  def test_one_request_for_fifty_callers
    requests = Queue.new
    client = serve(mint_token: lambda do |request, _|
      requests << request
      sleep 0.1
      Answer.token("t")
    end)
    tokens = Array.new(50) { Thread.new { client.token("p", claims: { n: 2**53 }, ttl: 300) } }.map(&:value)
    assert_equal [%w[t], 1], [tokens.map(&:reveal).uniq, requests.size]
    request = requests.pop
    assert_equal ["p", "{\"n\":#{2**53}}", 300, nil],
                 [request.profile, request.claims, request.ttl.seconds, request.min_remaining]
  end

  def test_a_server_that_comes_late_is_waited_for
    calls = 0
    client = serve(mint_token: lambda do |*|
      calls += 1
      raise Answer.raised(:UNAVAILABLE, "NOT_READY", retry_after: 0.05) if calls < 3

      Answer.token("t")
    end)
    assert_equal ["t", 3], [client.token("p").reveal, calls]
  end

  def test_a_call_ends_in_time_or_when_it_is_given_up
    client = serve(mint_token: lambda do |*|
      sleep 1
      Answer.token("t")
    end, explain_token: ->(*) { sleep 1 })
    error = assert_raises(Timeout::Error) { client.explain("p", timeout: 0.1) }
    assert_equal :DEADLINE_EXCEEDED, error.code
    assert_raises(Jotsmith::CallTimedOut) { client.token("p", timeout: 0.1) }
    assert_raises(Jotsmith::CallTimedOut) { client.token("p", timeout: 0) }
    cancellation = Jotsmith::Cancellation.new
    calls = %i[token explain].map do |name|
      Thread.new { assert_raises(Jotsmith::CallCancelled) { client.public_send(name, "p", cancellation:) }.code }
    end
    sleep 0.1
    cancellation.cancel
    assert_equal %i[CANCELLED CANCELLED], calls.map(&:value)
    assert_raises(Errno::ECANCELED) { client.keys(cancellation:) }
    assert_raises(ArgumentError) { client.token("p", timeout: "soon") }
  end

  def test_a_batch_has_a_result_for_each
    answer = Jotsmith::V1::BatchMintTokensResponse.new(results: [
      { token: Answer.token("t") }, { error: Answer.status(:PERMISSION_DENIED, "NOT_GRANTED") }
    ].map { |result| Jotsmith::V1::BatchMintTokensResult.new(result) })
    asked = nil
    client = serve(batch_mint_tokens: lambda do |request, _|
      asked = request
      answer
    end)
    token, refusal = client.batch([{ profile: "a", claims: { x: 1 } }, Jotsmith::Request.new("b", ttl: 5)])
    assert_equal ["t", nil, nil, "NOT_GRANTED"], [token.token.reveal, token.error, refusal.token, refusal.error.reason]
    assert_equal [["a", '{"x":1}', nil], ["b", "", 5]], asked.requests.map { |r| [r.profile, r.claims, r.ttl&.seconds] }
    assert_equal :INTERNAL, assert_raises(Jotsmith::CallFailed) { client.batch([{ profile: "a" }]) }.code
  end

  def test_explain_and_keys_are_native
    key = OpenSSL::PKey::EC.generate("prime256v1")
    told = Jotsmith::V1::ExplainTokenResponse.new(
      grant: "g", claims: "{}", header: "{}", ttl: Answer.duration(600), limits: ["l"],
      refusals: [Answer.status(:INVALID_ARGUMENT, "INVALID_REQUEST", violations: [["claims.sub", "is missing"]])],
      decisions: [Jotsmith::V1::ClaimDecision.new(name: "aud", rule: "fixed", present: true)]
    )
    client = serve(
      explain_token: ->(*) { told },
      list_keys: lambda do |request, _|
        spki = request.profile == "p" ? key.public_to_der : "junk"
        listed = Jotsmith::V1::Key.new(kid: "k", algorithm: "ES256", spki:, jwk: "{}", profiles: ["p"])
        Jotsmith::V1::ListKeysResponse.new(keys: [listed])
      end
    )
    explained = client.explain("p")
    assert_equal ["g", 600, ["l"], "claims.sub"],
                 [explained.grant, explained.ttl, explained.limits, explained.refusals[0].violations[0].field]
    assert_equal ["aud", "fixed", "", true], explained.decisions[0].to_a
    listed = client.keys("p")[0]
    assert_equal ["k", "ES256", "{}", ["p"], key.public_to_der],
                 [listed.kid, listed.algorithm, listed.jwk, listed.profiles, listed.public_key.public_to_der]
    assert_equal :INTERNAL, assert_raises(Jotsmith::CallFailed) { client.keys }.code
  end

  def test_the_bearer_goes_with_each_call_and_its_file_is_read_anew
    seen = Queue.new
    file = "#{@dir}/id"
    File.write(file, "one\n")
    serve(mint_token: lambda do |_, call|
      seen << call.metadata["authorization"]
      Answer.token("t", refresh: nil)
    end)
    client = connect("unix://#{@dir}/s", bearer_file: file)
    client.token("p")
    File.write(file, "two \r\n")
    client.token("p")
    File.delete(file)
    error = assert_raises(Jotsmith::CallFailed) { client.token("p") }
    connect("unix://#{@dir}/s", bearer: "three").token("p")
    connect("unix://#{@dir}/s").token("p")
    assert_equal ["Bearer one", "Bearer two", "Bearer three", nil], Array.new(4) { seen.pop }
    assert_equal [:UNAUTHENTICATED, true], [error.code, error.text.include?("bearer file")]
  end

  def test_a_closed_client_says_so
    client = serve(mint_token: ->(*) { sleep 1 }, explain_token: ->(*) { sleep 1 })
    calls = %i[token explain].map do |name|
      Thread.new { assert_raises(Jotsmith::CallCancelled) { client.public_send(name, "p") }.code }
    end
    sleep 0.1
    client.close
    assert_equal %i[CANCELLED CANCELLED], calls.map(&:value)
    %i[token explain keys].each do |name|
      assert_equal :CANCELLED, assert_raises(Jotsmith::CallCancelled) { client.public_send(name, "p") }.code
    end
    client.close
  end

  def test_connect_closes_what_it_passed_to_a_block
    kept = Jotsmith.connect("unix:///s") { |client| client }
    assert_raises(Jotsmith::CallCancelled) { kept.token("p") }
  end
end
