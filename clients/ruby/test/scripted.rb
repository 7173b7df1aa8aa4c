# frozen_string_literal: true

require "minitest/autorun"
require "tmpdir"
require "jotsmith"

# A clock that a test moves.
class FakeClock
  def initialize
    @monotonic = 1_000r
    @wall = 2_000_000_000r
  end

  def now
    Jotsmith::Reading.new(@monotonic, @wall)
  end

  # Time goes by; a machine that sleeps has its wall clock go on alone.
  def advance(seconds, asleep: false)
    @monotonic += seconds unless asleep
    @wall += seconds
  end

  attr_reader :wall
end

# What a server answers.
module Answer
  V1 = Jotsmith::V1

  module_function

  def stamp(seconds)
    nanos = (Rational(seconds) * 1_000_000_000).round
    Google::Protobuf::Timestamp.new(seconds: nanos / 1_000_000_000, nanos: nanos % 1_000_000_000)
  end

  # A token that is refreshed and ends in some seconds, nil for never.
  def token(text, now: Time.now, refresh: 400, expire: 600, **rest)
    V1::MintTokenResponse.new(
      token: text, kid: "kid", answer_time: stamp(now), issue_time: stamp(now - 60),
      refresh_time: refresh && stamp(now + refresh), expire_time: expire && stamp(now + expire), **rest
    )
  end

  # A google.rpc.Status.
  def status(code, reason = nil, message: "told", retry_after: nil, violations: [])
    details = []
    details << Google::Rpc::ErrorInfo.new(reason:, domain: "jotsmith") if reason
    details << Google::Rpc::RetryInfo.new(retry_delay: duration(retry_after)) if retry_after
    if violations.any?
      details << Google::Rpc::BadRequest.new(field_violations: violations.map do |field, description|
        Google::Rpc::BadRequest::FieldViolation.new(field:, description:)
      end)
    end
    Google::Rpc::Status.new(code: GRPC::Core::StatusCodes.const_get(code), message:,
                            details: details.map { |detail| Google::Protobuf::Any.pack(detail) })
  end

  # The error of one, as the library has it.
  def error(code, reason = nil, **rest)
    Jotsmith::Error.from_rpc_status(status(code, reason, **rest))
  end

  # The same as a server of gRPC raises it.
  def raised(code, reason = nil, **rest)
    status = status(code, reason, **rest)
    GRPC::BadStatus.new(status.code, status.message, "grpc-status-details-bin" => status.to_proto)
  end

  def duration(seconds)
    nanos = (Rational(seconds) * 1_000_000_000).round
    Google::Protobuf::Duration.new(seconds: nanos / 1_000_000_000, nanos: nanos % 1_000_000_000)
  end
end
