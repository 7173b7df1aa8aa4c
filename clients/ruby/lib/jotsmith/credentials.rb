# frozen_string_literal: true

require "openssl"

module Jotsmith
  # The PEM files of a TLS connection. Internal.
  class TlsFiles
    # What the files hold: PEM texts, nil for what there is not.
    Material = Struct.new(:roots, :certificate, :key) do
      # A private key does not belong into a message.
      def inspect
        "#<Jotsmith::TlsFiles::Material (redacted)>"
      end
      alias_method :to_s, :inspect
    end

    # Where systems keep the CAs that they trust. gRPC would take those that its gem
    # brought.
    SYSTEM_ROOTS = [
      OpenSSL::X509::DEFAULT_CERT_FILE,
      "/etc/ssl/certs/ca-certificates.crt",
      "/etc/pki/tls/certs/ca-bundle.crt",
      "/etc/ssl/ca-bundle.pem",
      "/etc/ssl/cert.pem"
    ].freeze
    private_constant :SYSTEM_ROOTS

    # Reads the files. Raises a SettingError where they cannot be.
    def initialize(roots, certificate, key)
      @roots = roots
      @certificate = certificate
      @key = key
      raise SettingError, "a client certificate and its key go together" if certificate.nil? != key.nil?

      @last = read
    end

    # What the files hold now. What cannot be read, because it is being written just
    # now, leaves what was read before.
    def now
      @last = read
    rescue SettingError
      @last
    end

    private

    def read
      material = Material.new(@roots ? text("CA of the server", @roots) : system_roots)
      if @certificate
        material.certificate = text("client certificate", @certificate)
        material.key = text("client certificate", @key)
      end
      check(material) unless material == @last
      material
    end

    def text(what, path)
      File.binread(path)
    rescue SystemCallError, IOError => e
      raise SettingError, "#{what}: #{e.message}"
    end

    def system_roots
      path = [ENV.fetch("SSL_CERT_FILE", nil), *SYSTEM_ROOTS].compact.find { |file| File.file?(file) }
      path && File.binread(path)
    rescue SystemCallError
      nil
    end

    def check(material)
      if @roots && certificates(material.roots).empty?
        raise SettingError, "CA of the server: #{@roots} holds no PEM certificate"
      end
      return unless material.certificate

      certificate = certificates(material.certificate).first
      raise SettingError, "client certificate: #{@certificate} holds no PEM certificate" unless certificate
      return if certificate.check_private_key(OpenSSL::PKey.read(material.key, ""))

      raise SettingError, "client certificate: #{@key} is not the key of #{@certificate}"
    rescue OpenSSL::PKey::PKeyError
      raise SettingError, "client certificate: #{@key} holds no PEM key"
    end

    def certificates(pem)
      OpenSSL::X509::Certificate.load(pem)
    rescue OpenSSL::X509::CertificateError
      []
    end
  end

  # A token that makes the caller known: a text, or a file, which whoever wrote it
  # may replace at any time, as Kubernetes does. Internal.
  class Bearer
    # The longest token that the server reads, in bytes.
    LONGEST = 8 << 10

    def initialize(token, path)
      @token = -> { token }
      @path = path
    end

    # The token as it is now. Raises a SettingError.
    def read
      token = @path ? from_file : @token.call
      return token if token.match?(/\A[!-~]+\z/)

      raise SettingError, @path ? "bearer file: #{@path} does not hold a token alone" : "bearer: not a token alone"
    end

    def inspect
      "#<Jotsmith::Bearer #{@path} (redacted)>"
    end
    alias to_s inspect

    private

    def from_file
      # A pipe could be read only once.
      raise SettingError, "bearer file: #{@path} is not a regular file" unless File.stat(@path).file?

      data = File.binread(@path, LONGEST + 2)
      raise SettingError, "bearer file: #{@path} is longer than a token can be" if data && data.bytesize > LONGEST + 1

      data.to_s.rstrip
    rescue SystemCallError, IOError => e
      raise SettingError, "bearer file: #{e.message}"
    end
  end
end
