# frozen_string_literal: true

require "json"
require "google/protobuf/duration_pb"
require_relative "v1/token_service_pb"

module Jotsmith
  # What a token is asked for with.
  class Request
    attr_reader :profile, :claims, :ttl, :min_remaining

    # profile is the name of a profile of the server's.
    #
    # claims are those that the profile takes from its callers: a JSON object as a
    # String, which is sent byte for byte, or a Hash of strings, symbols, integers of
    # any size, finite floats, true, false, nil, and arrays and hashes of them.
    #
    # ttl is for how many seconds the token is to be valid; nil means the profile's
    # default. min_remaining is the least time in seconds that it must still be valid
    # when it is handed out; nil means the server's, a third of its life.
    def initialize(profile, claims: nil, ttl: nil, min_remaining: nil)
      @profile = profile
      @claims = claims
      @ttl = ttl
      @min_remaining = min_remaining
    end

    # A Request of what batch takes for one.
    def self.of(item)
      return item if item.is_a?(Request)

      rest = item.dup
      new(rest.delete(:profile), **rest)
    end

    # The same with another min_remaining.
    def lasting(seconds)
      Request.new(profile, claims:, ttl:, min_remaining: seconds)
    end

    # The request on the wire. Raises an Error of INVALID_REQUEST.
    def message
      V1::MintTokenRequest.new(
        profile: utf8("profile", profile.to_s), claims: claims_text,
        ttl: duration("ttl", ttl), min_remaining: duration("min_remaining", min_remaining)
      )
    end

    # Where a token is kept: requests that differ in nothing else can have the same
    # token.
    def place(message)
      [message.profile, Canonical.form(message.claims), ttl && Rational(ttl)]
    end

    private

    def claims_text
      case claims
      when nil then ""
      when String then utf8("claims", claims.dup.force_encoding(Encoding::UTF_8))
      else JSON.generate(plain(claims))
      end
    rescue JSON::JSONError => e
      raise Error.refused("claims", "cannot be written as JSON: #{e.message[0, 80]}")
    end

    # The same in values that JSON has. The json library would write of anything
    # else what it prints as, which is not what it is.
    def plain(value)
      case value
      when Hash then object(value)
      when Array then value.map { |inner| plain(inner) }
      when String then text(value)
      when Symbol then text(value.name)
      when Integer, Float, true, false, nil then value
      else raise Error.refused("claims", "cannot be written as JSON: a value is a #{value.class}")
      end
    end

    def object(members)
      members.each_with_object({}) do |(name, value), written|
        name = name(name)
        raise Error.refused("claims", "cannot be written as JSON: a name stands twice") if written.key?(name)

        written[name] = plain(value)
      end
    end

    def name(name)
      return text(name.to_s) if name.is_a?(String) || name.is_a?(Symbol)

      raise Error.refused("claims", "cannot be written as JSON: a name is a #{name.class}")
    end

    def text(value)
      value = value.encode(Encoding::UTF_8) unless value.encoding == Encoding::BINARY
      utf8("claims", value.dup.force_encoding(Encoding::UTF_8))
    rescue EncodingError
      raise Error.refused("claims", "is not valid UTF-8")
    end

    def utf8(field, value)
      value = value.encode(Encoding::UTF_8) unless value.encoding == Encoding::UTF_8
      raise Error.refused(field, "is not valid UTF-8") unless value.valid_encoding?

      value
    rescue EncodingError
      raise Error.refused(field, "is not valid UTF-8")
    end

    def duration(field, seconds)
      return if seconds.nil?

      nanos = (Rational(seconds) * 1_000_000_000).truncate
      whole, part = nanos.abs.divmod(1_000_000_000)
      sign = nanos.negative? ? -1 : 1
      Google::Protobuf::Duration.new(seconds: sign * whole, nanos: sign * part)
    rescue TypeError, ArgumentError, RangeError
      raise Error.refused(field, "is no number of seconds")
    end
  end
end
