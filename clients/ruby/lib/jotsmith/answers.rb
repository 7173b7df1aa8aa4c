# frozen_string_literal: true

module Jotsmith
  # The outcome of one request of a batch: a token, or an error.
  Result = Struct.new(:token, :error)

  # What a token would be, or why there would be none. grant is the name of the grant
  # that lets the caller have it; refusals are all reasons why token would raise, as
  # errors; header and claims are JSON texts, whose random values are examples; ttl
  # is for how many seconds it would be valid, nil where it would not expire; limits
  # are the profile's, in words.
  Explanation = Struct.new(:grant, :refusals, :header, :claims, :decisions, :ttl, :limits, :generation,
                           keyword_init: true)

  # Where one header parameter or claim comes from: its name, the rule, the document
  # that demands the rule, and whether it would be present.
  Decision = Struct.new(:name, :rule, :doc, :present)

  # The public half of a key that signs tokens. public_key is an OpenSSL::PKey::EC,
  # jwk a JSON text, profiles are those that the caller may mint.
  Key = Struct.new(:kid, :algorithm, :public_key, :jwk, :profiles)

  # Makes them of what the server says. Internal.
  module Answers
    module_function

    def results(answer, asked, expected)
      unless answer.results.size == expected
        raise Error.new(code: :INTERNAL, text: "#{answer.results.size} results for #{expected} requests")
      end

      answer.results.map do |result|
        if result.token
          Result.new(Token.new(result.token, asked), nil)
        else
          Result.new(nil, Error.from_rpc_status(result.error || Google::Rpc::Status.new(code: 13)))
        end
      end
    end

    def explanation(answer)
      Explanation.new(
        grant: answer.grant, header: answer.header, claims: answer.claims, limits: answer.limits.to_a,
        refusals: answer.refusals.map { |status| Error.from_rpc_status(status) },
        decisions: decisions(answer), ttl: seconds(answer.ttl), generation: answer.config_generation
      )
    end

    def decisions(answer)
      answer.decisions.map { |d| Decision.new(d.name, d.rule, d.doc, d.present) }
    end

    # Whole seconds, which a ttl is, stay an Integer.
    def seconds(duration)
      return if duration.nil?

      duration.nanos.zero? ? duration.seconds : duration.to_f
    end

    def keys(answer)
      answer.keys.map do |key|
        Key.new(key.kid, key.algorithm, OpenSSL::PKey::EC.new(key.spki), key.jwk, key.profiles.to_a)
      rescue OpenSSL::PKey::PKeyError
        raise Error.new(code: :INTERNAL, text: "the server's key #{key.kid} is no ECDSA key")
      end
    end
  end
end
