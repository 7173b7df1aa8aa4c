# frozen_string_literal: true

require "openssl"

# A certificate authority, and what it issues.
class Authority
  attr_reader :pem

  def initialize(name = "authority")
    @key = OpenSSL::PKey::EC.generate("prime256v1")
    @certificate = certificate(name, @key)
    @certificate.issuer = @certificate.subject
    extend_with(@certificate, "basicConstraints" => "critical,CA:TRUE", "keyUsage" => "critical,keyCertSign")
    @certificate.sign(@key, "SHA256")
    @pem = @certificate.to_pem
  end

  # The PEM texts of a certificate for some names, as in "DNS:me.example", and of its
  # key.
  def issue(names)
    key = OpenSSL::PKey::EC.generate("prime256v1")
    issued = certificate(names[/:([^,]+)/, 1], key)
    issued.issuer = @certificate.subject
    extend_with(issued, "subjectAltName" => names)
    issued.sign(@key, "SHA256")
    [issued.to_pem, key.private_to_pem]
  end

  private

  def certificate(name, key)
    certificate = OpenSSL::X509::Certificate.new
    certificate.version = 2
    certificate.serial = rand(1 << 64)
    certificate.subject = OpenSSL::X509::Name.new([["CN", name]])
    certificate.public_key = key
    certificate.not_before = Time.now - 60
    certificate.not_after = Time.now + 3600
    certificate
  end

  def extend_with(certificate, extensions)
    factory = OpenSSL::X509::ExtensionFactory.new(@certificate || certificate, certificate)
    extensions.each do |name, value|
      certificate.add_extension(factory.create_extension(name, value.delete_prefix("critical,"),
                                                         value.start_with?("critical")))
    end
  end
end
