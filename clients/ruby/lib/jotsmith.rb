# frozen_string_literal: true

require_relative "jotsmith/version"
require_relative "jotsmith/error"
require_relative "jotsmith/scope"
require_relative "jotsmith/retry"
require_relative "jotsmith/lifetime"
require_relative "jotsmith/canonical"
require_relative "jotsmith/request"
require_relative "jotsmith/token"
require_relative "jotsmith/credentials"
require_relative "jotsmith/settings"
require_relative "jotsmith/connection"
require_relative "jotsmith/keeper"
require_relative "jotsmith/watch"
require_relative "jotsmith/answers"
require_relative "jotsmith/client"

# Gets JWTs from a Jotsmith server, so that the program that needs one holds no
# private key.
#
#   client = Jotsmith.connect # the address in JOTSMITH_ADDRESS
#   header = "Bearer #{client.token("asc").reveal}"
#
# A Client keeps a token until the server says that a new one is due, asks once
# however many wait, and outlives a server that is away for a while. What it does
# exactly, in this language and all others, is in docs/clients.md.
module Jotsmith
  # A Client of the server at an address, `unix:///PATH` or `HOST:PORT`; nil means
  # what JOTSMITH_ADDRESS says, and DEFAULT_ADDRESS where that is empty too. Nobody is
  # called yet: the first call makes the connection, and every later one mends it.
  # With a block the client is passed to it, and closed after it.
  #
  # Settings, each from the environment where it is nil and a variable is named:
  #
  # tls_ca::             PEM file of the CAs of the server (JOTSMITH_TLS_CA); without
  #                      it, the system's
  # tls_cert, tls_key::  PEM files of the client certificate and its key
  #                      (JOTSMITH_TLS_CERT, JOTSMITH_TLS_KEY)
  # tls_server_name::    the name in the server's certificate, if it is not HOST
  #                      (JOTSMITH_TLS_SERVER_NAME)
  # bearer::             a token that makes the caller known
  # bearer_file::        a file with one, read again for each call
  #                      (JOTSMITH_BEARER_FILE)
  # plaintext_loopback:: true for a server at 127.0.0.1:PORT or [::1]:PORT that has no
  #                      TLS there (JOTSMITH_PLAINTEXT_LOOPBACK)
  # timeout::            how many seconds a call takes at most, all tries together; 10
  # max_kept::           how many requests have their tokens kept; 1024
  #
  # Raises a SettingError about the settings and files.
  def self.connect(address = nil, **settings)
    client = Client.new(Settings.new(address, **settings))
    return client unless block_given?

    begin
      yield client
    ensure
      client.close
    end
  end
end
