# frozen_string_literal: true

require "timeout"
require "grpc"
require "google/protobuf/well_known_types"
require "google/rpc/status_pb"
require "google/rpc/error_details_pb"

module Jotsmith
  # What is wrong with one field of a request: the field, as in "ttl" or
  # "claims.sub", and a description.
  Violation = Struct.new(:field, :description)

  # A wrong setting of Jotsmith.connect, or a file that cannot be read. It is raised
  # before anybody is called.
  class SettingError < ArgumentError; end

  # Why there is no answer. Every error of a call is one; `rescue Jotsmith::Error`
  # finds them all. It is a module so that the errors of a deadline and of a call that
  # was given up can be what Ruby has for them too, Timeout::Error and
  # Errno::ECANCELED.
  module Error
    # gRPC's code by name, a Symbol as in :UNAVAILABLE.
    attr_reader :code
    # The server's reason, one of docs/errors.md. Empty where it was not reached.
    attr_reader :reason
    # For people, without the reason that #message begins with. It holds no token
    # and no value of a claim.
    attr_reader :text
    # Seconds after which the server asks to be asked again; 0 where it did not say.
    attr_reader :retry_after
    # An Array of Violation, of INVALID_REQUEST.
    attr_reader :violations

    CODES = GRPC::Core::StatusCodes.constants
                                   .to_h { |name| [GRPC::Core::StatusCodes.const_get(name), name] }.freeze
    RETRYABLE = %i[UNAVAILABLE RESOURCE_EXHAUSTED DEADLINE_EXCEEDED].freeze
    private_constant :CODES, :RETRYABLE

    # Makes an error; what is raised is made by Error.new.
    def initialize(code:, text:, reason: "", retry_after: 0, violations: [])
      @code = code
      @reason = reason
      @text = text
      @retry_after = retry_after
      @violations = violations.freeze
      super()
    end

    # The reason and the text, which is the message too.
    def to_s
      "#{reason.empty? ? code : reason}: #{text}"
    end

    # Says that the same call may succeed later.
    def retryable?
      RETRYABLE.include?(code)
    end

    class << self
      # An error of the class that its code asks for.
      def new(code:, **rest)
        type = { DEADLINE_EXCEEDED: CallTimedOut, CANCELLED: CallCancelled }.fetch(code, CallFailed)
        type.new(code:, **rest)
      end

      # The error that a status of the server's or of gRPC's says; details are the
      # encoded google.rpc.Status, or nil.
      def from_status(code, text, details = nil)
        from_details(code, text, decode(details))
      end

      # The error that a google.rpc.Status says.
      def from_rpc_status(status)
        from_details(status.code, status.message, status.details)
      end

      # The error of a gRPC call.
      def from_grpc(bad)
        from_status(bad.code, bad.details, bad.metadata["grpc-status-details-bin"])
      end

      # The error of a call whose time is over.
      def deadline
        new(code: :DEADLINE_EXCEEDED, reason: "DEADLINE_EXCEEDED", text: "the deadline has passed")
      end

      # The error of a call that was given up.
      def cancelled(text = "the call was given up")
        new(code: :CANCELLED, reason: "CANCELLED", text:)
      end

      # The error of a request that is not sent.
      def refused(field, description)
        new(code: :INVALID_ARGUMENT, reason: "INVALID_REQUEST", text: "request refused: #{field} #{description}",
            violations: [Violation.new(field, description)])
      end

      private

      def from_details(code, text, details)
        facts = {}
        details.each { |detail| read(detail, facts) }
        new(code: CODES.fetch(code, :UNKNOWN), text: printable(text), **facts)
      end

      def read(detail, facts)
        if (info = unpack(detail, Google::Rpc::ErrorInfo))
          facts[:reason] = info.reason
        elsif (info = unpack(detail, Google::Rpc::RetryInfo))
          delay = info.retry_delay
          facts[:retry_after] = delay ? [delay.seconds + (delay.nanos / 1e9), 0].max : 0
        elsif (info = unpack(detail, Google::Rpc::BadRequest))
          facts[:violations] = info.field_violations.map { |v| Violation.new(v.field, v.description) }
        end
      end

      def unpack(detail, type)
        detail.is(type) ? detail.unpack(type) : nil
      rescue Google::Protobuf::ParseError
        nil
      end

      def decode(details)
        details ? Google::Rpc::Status.decode(details).details : []
      rescue Google::Protobuf::ParseError
        []
      end

      # gRPC's texts have no encoding of their own.
      def printable(text)
        text.to_s.dup.force_encoding(Encoding::UTF_8).scrub
      end
    end
  end

  # Any error of a call but the following.
  class CallFailed < StandardError
    include Error
  end

  # The error of a deadline that has passed, here or at the server.
  class CallTimedOut < Timeout::Error
    include Error
  end

  # The error of a call that was given up.
  class CallCancelled < Errno::ECANCELED
    include Error
  end
end
