# frozen_string_literal: true

module Jotsmith
  VERSION = "0.1.0"
end
