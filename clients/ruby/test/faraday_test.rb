# frozen_string_literal: true

require "faraday_middleware"
require "webrick"
require "jotsmith/faraday"
require "local_server"

class FaradayTest < Minitest::Test
  include Serving

  # An API that says which Authorization came, and refuses the tokens it is told to.
  class Api
    attr_reader :url, :requests
    attr_accessor :refused

    def initialize
      @requests = []
      @refused = []
      @server = WEBrick::HTTPServer.new(Port: 0, BindAddress: "127.0.0.1", AccessLog: [],
                                        Logger: WEBrick::Log.new(File::NULL))
      @server.mount_proc("/") { |request, response| answer(request, response) }
      @url = "http://127.0.0.1:#{@server.config[:Port]}"
      @thread = Thread.new { @server.start }
    end

    def stop
      @server.shutdown
      @thread.join
    end

    def redirect(path, to)
      @server.mount_proc(path) do |request, response|
        @requests << [request.path, request["Authorization"], nil]
        response.set_redirect(WEBrick::HTTPStatus::Found, to)
      end
    end

    private

    def answer(request, response)
      body = request.request_method == "GET" ? nil : request.body
      @requests << [request.path, request["Authorization"], body]
      response.status = 401 if refused.include?(request["Authorization"]&.delete_prefix("Bearer "))
      response.body = "#{response.status} #{request["Authorization"]} #{body}"
    end
  end

  def setup
    super
    @minted = 0
    @min_remaining = []
    @reuse = true
    @fail = nil
    @client = serve(mint_token: lambda do |request, _|
      raise @fail if @fail

      @min_remaining << request.min_remaining&.seconds
      Answer.token("t#{@minted += 1}", refresh: @reuse ? 400 : nil)
    end)
    @api = Api.new
    @ending << @api.method(:stop)
  end

  def test_each_request_has_a_token
    2.times { assert_equal "200 Bearer t1 ", web.get("/").body }
    assert_equal "200 Bearer t2 ", web(claims: { a: 1 }).get("/").body
  end

  def test_a_401_is_repeated_once_with_another_token
    @api.refused = ["t1"]
    response = web.post("/", "body")
    assert_equal [200, "200 Bearer t2 body"], [response.status, response.body]
    assert_equal [["/", "Bearer t1", "body"], ["/", "Bearer t2", "body"]], @api.requests
    assert_equal [nil, nil], @min_remaining, "a young token was not refused for its age"
    @api.refused = %w[t2 t3]
    assert_equal [401, 4], [web.get("/").status, @api.requests.size]
  end

  def test_another_callers_renewal_is_taken
    @api.refused = ["t1"]
    token = @client.token("p")
    assert_equal "t2", @client.renew(token, "p").reveal
    assert_equal "t2", @client.renew(token, "p").reveal
    assert_equal 2, @minted
  end

  def test_a_401_stands_where_there_is_no_other_token
    @client.token("p")
    @api.refused = ["t1"]
    @fail = Answer.raised(:PERMISSION_DENIED, "NOT_GRANTED")
    response = web.get("/")
    assert_equal [401, "401 Bearer t1 "], [response.status, response.body]
  end

  def test_a_401_of_a_token_that_is_for_one_use_stands
    @reuse = false
    @api.refused = %w[t1 t2]
    assert_equal [401, 1], [web.get("/").status, @api.requests.size]
  end

  def test_a_body_that_cannot_be_sent_again_is_sent_once
    @api.refused = ["t1"]
    assert_equal [401, 1], [web.post("/", StringIO.new("body")) do |r|
                              r.headers["Content-Length"] = "4"
                            end.status, @api.requests.size]
  end

  def test_a_middleware_that_raises_on_401_is_understood
    @api.refused = ["t1"]
    assert_equal "200 Bearer t2 ", raising.get("/").body
    @api.refused = %w[t2 t3]
    error = assert_raises(Faraday::UnauthorizedError) { raising.get("/") }
    assert_nil error.response[:request][:headers]["Authorization"]
  end

  def test_a_redirect_elsewhere_gets_no_token
    elsewhere = Api.new
    @ending << elsewhere.method(:stop)
    @api.redirect("/stay", "/here")
    @api.redirect("/away", "#{elsewhere.url}/there")
    elsewhere.redirect("/there", "#{@api.url}/back")
    assert_equal "200 Bearer t1 ", following.get("/stay").body
    assert_equal "200 Bearer t1 ", following.get("/away").body, "back where it began"
    assert_equal [["/there", nil, nil]], elsewhere.requests
  end

  def test_the_program_has_its_request_as_it_was
    response = web.get("/")
    assert_nil response.env.request_headers["Authorization"]
    response = web.get("/", nil, "Authorization" => "its own")
    assert_equal ["200 Bearer t1 ", "its own"], [response.body, response.env.request_headers["Authorization"]]
  end

  def test_without_a_token_there_is_no_request
    @fail = Answer.raised(:PERMISSION_DENIED, "NOT_GRANTED")
    assert_equal "NOT_GRANTED", assert_raises(Jotsmith::CallFailed) { web.get("/") }.reason
    assert_empty @api.requests
  end

  private

  def web(**request)
    Faraday.new(@api.url) do |f|
      f.request :jotsmith, @client, "p", **request
      f.adapter :net_http
    end
  end

  def raising
    Faraday.new(@api.url) do |f|
      f.request :jotsmith, @client, "p"
      f.response :raise_error
      f.adapter :net_http
    end
  end

  # One that keeps the Authorization that it has on a redirect.
  def following
    Faraday.new(@api.url) do |f|
      f.use FaradayMiddleware::FollowRedirects, clear_authorization_header: false
      f.request :jotsmith, @client, "p"
      f.adapter :net_http
    end
  end
end
