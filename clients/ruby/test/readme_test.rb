# frozen_string_literal: true

require "scripted"

class ReadmeTest < Minitest::Test
  README = File.expand_path("../README.md", __dir__)

  # What stands for the reader's own code is no Ruby.
  def test_its_examples_are_ruby
    examples = File.read(README).scan(/^```ruby\n(.*?)^```/m).flatten
    assert_operator examples.size, :>=, 4
    examples.each { |example| RubyVM::InstructionSequence.compile(example.gsub("…", "nil")) }
  end

  def test_its_methods_are_there
    calls = File.read(README).scan(/\bclient\.(\w+)/).flatten.uniq - ["rb"]
    assert_empty calls.map(&:to_sym) - Jotsmith::Client.public_instance_methods
    used = File.read(README).scan(/\b(?:token|e)\.(\w+\??)/).flatten.map(&:to_sym)
    assert_empty used - [Jotsmith::Token, Jotsmith::CallFailed].flat_map(&:public_instance_methods)
  end
end
