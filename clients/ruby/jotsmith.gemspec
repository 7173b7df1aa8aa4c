# frozen_string_literal: true

require_relative "lib/jotsmith/version"

Gem::Specification.new do |spec|
  spec.name = "jotsmith"
  spec.version = Jotsmith::VERSION
  spec.summary = "Tokens of a Jotsmith server, always fresh"
  spec.description = "Gets JWTs from a Jotsmith server, keeps them until a new one is due, " \
                     "and puts them into the requests of Faraday and gRPC."
  spec.authors = ["The Jotsmith authors"]
  spec.homepage = "https://github.com/jotsmith/jotsmith/tree/main/clients/ruby"
  spec.license = "Apache-2.0"
  spec.metadata = {
    "source_code_uri" => "https://github.com/jotsmith/jotsmith",
    "documentation_uri" => "https://github.com/jotsmith/jotsmith/blob/main/docs/clients.md",
    "rubygems_mfa_required" => "true"
  }
  spec.required_ruby_version = ">= 3.1"
  spec.files = Dir.chdir(__dir__) { Dir["lib/**/*.rb", "README.md", "LICENSE"] }

  # The generated code is of protoc 3.21, which google-protobuf reads up to 3.
  spec.add_runtime_dependency "googleapis-common-protos-types", ">= 1.4", "< 2"
  spec.add_runtime_dependency "google-protobuf", ">= 3.21", "< 4"
  spec.add_runtime_dependency "grpc", ">= 1.51", "< 2"
  # For jotsmith/faraday alone, and there whoever requires it has it:
  # faraday >= 1.1, < 3.
end
