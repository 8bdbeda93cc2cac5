// What a model reads of an example, and the inputs of some examples as plain data.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace mnm {

enum class InputType : std::uint8_t {
  kTokenIds,  // int64, each below NestedModel::vocab_size
  kPixels,    // f32, normalised
};

// What the input of one example is.
struct InputSpec {
  InputType type = InputType::kTokenIds;
  std::vector<std::int64_t> shape;  // kTokenIds: [tokens]; kPixels: [channels, height, width]

  std::int64_t elements() const;
  std::uint64_t bytes() const;  // of all elements
  bool operator==(const InputSpec&) const = default;
};

// What people call the parts of such examples.
struct ExampleWords {
  std::string_view kind;     // as the store calls them: "tokens"
  std::string_view example;  // "sequence"
  std::string_view output;   // what the model has an output for: "token"
  std::string_view choice;   // what an output chooses: "word"
};
const ExampleWords& words_of(InputType type);
const ExampleWords& words_of(std::string_view kind);  // of tokens if the kind is not known

// The inputs of `count` examples, one after the other.
struct ExampleInputs {
  InputSpec each;
  std::int64_t count = 1;
  std::vector<std::int64_t> tokens;  // of kTokenIds, [count * each.elements()]; else empty
  std::vector<float> pixels;         // of kPixels, likewise

  // Makes room for them.
  static ExampleInputs of(InputSpec each, std::int64_t count);
  // One sequence.
  static ExampleInputs of_tokens(std::vector<std::int64_t> tokens);

  std::span<const std::byte> bytes() const;
  std::span<std::byte> bytes();
};

}  // namespace mnm
