# frozen_string_literal: true

require "json"
require "strscan"

module Jotsmith
  # The same text for JSON values that differ in white space, the order of names or
  # the spelling of strings alone. Whatever a server may refuse, as it does a name
  # that stands twice, is only itself: a token kept for one request must not answer
  # another that would have got an error. The json library tells neither names that
  # stand twice nor how a number was spelled, hence a scanner. Internal.
  class Canonical
    # How deep claims can be; the server refuses what is deeper.
    DEEPEST = 16
    SPACE = /[ \t\n\r]*/
    NUMBER = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/
    STRING = %r{"(?:[^"\\\u0000-\u001f]|\\["\\/bfnrt]|\\u[0-9a-fA-F]{4})*+"}
    HIGH_AND_LOW = /\\u([dD][89abAB]\h{2})\\u([dD][c-fC-F]\h{2})/
    ESCAPE = %r{\\(?:u(\h{4})|(["\\/bfnrt]))}
    LITERAL = /true|false|null/
    private_constant :DEEPEST, :SPACE, :NUMBER, :STRING, :HIGH_AND_LOW, :ESCAPE, :LITERAL

    # The canonical form of a text in valid UTF-8.
    def self.form(text)
      return "{}" if text.empty?

      new(text).whole || "?#{text}" # which no canonical form begins with
    end

    def initialize(text)
      @scanner = StringScanner.new(text)
    end

    # The canonical form, or nil where there is none.
    def whole
      catch(:none) do
        form = value(0)
        @scanner.eos? ? form : nil
      end
    end

    private

    def value(depth)
      throw :none if depth > DEEPEST
      @scanner.skip(SPACE)
      form = read(depth)
      @scanner.skip(SPACE)
      form
    end

    def read(depth)
      if @scanner.skip(/\{/) then object(depth)
      elsif @scanner.skip(/\[/) then array(depth)
      elsif @scanner.check(/"/) then JSON.generate(string)
      else
        @scanner.scan(NUMBER) || @scanner.scan(LITERAL) || throw(:none)
      end
    end

    def array(depth)
      items = []
      list(/\]/) { items << value(depth + 1) }
      "[#{items.join(",")}]"
    end

    def object(depth)
      members = {}
      list(/\}/) do
        @scanner.skip(SPACE)
        name = string
        @scanner.skip(SPACE)
        throw :none if members.key?(name) || !@scanner.skip(/:/)
        members[name] = value(depth + 1)
      end
      "{#{members.sort.map { |name, form| "#{JSON.generate(name)}:#{form}" }.join(",")}}"
    end

    # Reads what the block reads, with commas between, up to an end.
    def list(ending)
      @scanner.skip(SPACE)
      return if @scanner.skip(ending)

      loop do
        yield
        @scanner.skip(SPACE)
        return if @scanner.skip(ending)

        throw :none unless @scanner.skip(/,/)
      end
    end

    # The text that a string spells.
    def string
      spelled = @scanner.scan(STRING) || throw(:none)
      spelled = spelled[1..-2]
      spelled.include?("\\") ? unescape(spelled) : spelled
    end

    def unescape(spelled)
      text = +""
      scanner = StringScanner.new(spelled)
      until scanner.eos?
        text << if scanner.scan(HIGH_AND_LOW) then pair(scanner[1].hex, scanner[2].hex)
                elsif scanner.scan(ESCAPE) then scanner[1] ? single(scanner[1].hex) : plain(scanner[2])
                else
                  scanner.scan(/[^\\]+/)
                end
      end
      text
    end

    def pair(high, low)
      [0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00)].pack("U")
    end

    # A lone surrogate is no text.
    def single(point)
      throw :none if point.between?(0xd800, 0xdfff)
      [point].pack("U")
    end

    def plain(letter)
      { "b" => "\b", "f" => "\f", "n" => "\n", "r" => "\r", "t" => "\t" }.fetch(letter, letter)
    end
  end
end
