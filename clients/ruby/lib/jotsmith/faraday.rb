# frozen_string_literal: true

require "faraday"
require_relative "../jotsmith"

module Jotsmith # rubocop:disable Style/Documentation -- it is in jotsmith.rb
  # Puts a token into the Authorization of each request of a Faraday connection, 1 or
  # 2. Declare it after what follows redirects, tries again or encodes bodies, and
  # before the adapter:
  #
  #   require "jotsmith/faraday"
  #   api = Faraday.new("https://api.appstoreconnect.apple.com") do |f|
  #     f.request :jotsmith, client, "asc"
  #     f.adapter Faraday.default_adapter
  #   end
  #
  # Where the answer is 401 it asks for another token and repeats the request once, if
  # the server has another, the body is text and the answer is no stream. A redirect
  # to another scheme, host or port gets no token. Once there is an answer the header
  # is what it was before, so that no error and no log of answers has the token; a
  # logger that is declared after it does. A call raises Jotsmith::Error where there
  # is no token.
  class FaradayMiddleware < ::Faraday::Middleware
    HEADER = "Authorization"
    private_constant :HEADER

    # client is a Client; request are the further arguments of Client#token.
    def initialize(app, client, profile, **request)
      super(app)
      @client = client
      @profile = profile
      @request = request
    end

    def call(env)
      return @app.call(env) if elsewhere?(env)

      token = @client.token(@profile, **@request)
      body = env.request_body
      response, refusal = attempt(env, token)
      other = @client.renew(token, @profile, **@request) if refused?(response, refusal) && again?(env, body)
      return outcome(response, refusal) unless other

      begin_again(env, body)
      outcome(*attempt(env, other))
    end

    private

    # Whether a request follows a redirect away from where the program sent the first
    # one: the answer of a server must not say who gets the token.
    def elsewhere?(env)
      here = [env.url.scheme, env.url.host, env.url.port]
      first = env[:jotsmith_origin] ||= here
      first != here
    end

    # The response to a request with a token, or the error of a 401 that a middleware
    # made of it.
    def attempt(env, token)
      before = env.request_headers[HEADER]
      env.request_headers[HEADER] = "Bearer #{token.reveal}"
      response = @app.call(env)
      [response, nil]
    rescue ::Faraday::UnauthorizedError => e
      [nil, e]
    ensure
      env.parallel? && response ? response.on_complete { restore(env, before) } : restore(env, before)
    end

    def restore(env, before)
      before ? env.request_headers[HEADER] = before : env.request_headers.delete(HEADER)
    end

    def refused?(response, refusal)
      !refusal.nil? || (response.finished? && response.status == 401)
    end

    # Whether a request can be sent once more: nobody has read its body or has had
    # part of the answer.
    def again?(env, body)
      (body.nil? || body.is_a?(String)) && env.request&.on_data.nil?
    end

    def begin_again(env, body)
      env.status = nil
      env.reason_phrase = nil
      env.response = nil
      env.response_headers = nil
      env.response_body = nil
      env.request_body = body
    end

    def outcome(response, refusal)
      raise refusal if refusal

      response
    end
  end

  ::Faraday::Request.register_middleware(jotsmith: FaradayMiddleware)
end
