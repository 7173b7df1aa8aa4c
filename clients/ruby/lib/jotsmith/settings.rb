# frozen_string_literal: true

require "ipaddr"

module Jotsmith
  # Where connect looks for a server that nobody names.
  DEFAULT_ADDRESS = "unix:///run/jotsmith/jotsmith.sock"

  # How a Client reaches its server, from the arguments of Jotsmith.connect and, for
  # each that is not set, from the environment. Raises a SettingError. Internal.
  class Settings
    attr_reader :address, :timeout, :max_kept, :tls, :bearer, :server_name

    def initialize(address, tls_ca: nil, tls_cert: nil, tls_key: nil, tls_server_name: nil, bearer: nil,
                   bearer_file: nil, plaintext_loopback: nil, timeout: nil, max_kept: nil)
      @address = given(address) || environment("ADDRESS") || DEFAULT_ADDRESS
      @timeout = positive("timeout", timeout || 10)
      @max_kept = positive("max_kept", max_kept || 1024)
      @plaintext = plaintext_loopback.nil? ? environment("PLAINTEXT_LOOPBACK") == "true" : plaintext_loopback
      fill_tls(given(tls_ca), given(tls_cert), given(tls_key), given(tls_server_name))
      fill_bearer(given(bearer), given(bearer_file))
      check
    end

    def unix?
      address.start_with?("unix:")
    end

    def plaintext?
      @plaintext
    end

    # The address as gRPC takes it.
    def target
      return address if unix?
      return "dns:///#{address}" unless plaintext?

      # By whatever name or proxy, it goes to no other machine.
      "#{address.start_with?("[") ? "ipv6" : "ipv4"}:#{address}"
    end

    def inspect
      "#<Jotsmith::Settings #{address}>"
    end
    alias to_s inspect

    private

    def given(value)
      value.nil? || value.to_s.empty? ? nil : value.to_s
    end

    def environment(name)
      given(ENV.fetch("JOTSMITH_#{name}", nil))
    end

    def positive(name, value)
      return value if value.is_a?(Numeric) && value.positive?

      raise SettingError, "#{name} is no number above 0"
    end

    # A Unix socket takes nothing of TLS from the environment, which may be there for
    # another server.
    def fill_tls(roots, certificate, key, server_name)
      unless unix?
        roots ||= environment("TLS_CA")
        certificate, key = %w[TLS_CERT TLS_KEY].map { |name| environment(name) } if certificate.nil? && key.nil?
        server_name ||= environment("TLS_SERVER_NAME")
      end
      @tls_files = [roots, certificate, key]
      @server_name = server_name
    end

    def fill_bearer(token, path)
      raise SettingError, "bearer and bearer_file exclude each other" if token && path

      path ||= environment("BEARER_FILE") unless token
      @bearer = Bearer.new(token, path) if token || path
    end

    def check
      if plaintext? then check_plaintext
      elsif unix? then check_unix
      else
        check_tcp
      end
      bearer&.read # which is better said before anybody is called
    end

    def check_plaintext
      raise SettingError, "plaintext is for 127.0.0.1:PORT or [::1]:PORT, not for #{address.inspect}" unless loopback?
      raise SettingError, "the TLS settings and plaintext exclude each other" if any_tls?
      raise SettingError, "a bearer is not sent in plaintext" if bearer
    end

    def check_unix
      unless address.match?(%r{\Aunix:///[^\0]+\z})
        raise SettingError, "address #{address.inspect} is neither unix:///PATH nor HOST:PORT"
      end
      return unless any_tls?

      raise SettingError, "the TLS settings are for HOST:PORT; #{address} is a Unix socket, which has no TLS"
    end

    def check_tcp
      unless address.match?(%r{\A(\[[\h:.]+(%[^\]]+)?\]|[^\[\]:/\s]+):\d+\z})
        raise SettingError, "address #{address.inspect} is neither unix:///PATH nor HOST:PORT"
      end

      @tls = TlsFiles.new(*@tls_files)
      return if @tls_files[1] || bearer

      raise SettingError, "a server at HOST:PORT wants a client certificate or a token; " \
                          "set tls_cert and tls_key, or bearer_file"
    end

    def any_tls?
      (@tls_files + [server_name]).any?
    end

    def loopback?
      host = address[/\A\[([\h:.]+)\]:\d+\z/, 1] || address[/\A([\d.]+):\d+\z/, 1]
      return false unless host

      ip = IPAddr.new(host)
      ip.loopback? && !ip.ipv4_mapped?
    rescue IPAddr::Error
      false
    end
  end
end
