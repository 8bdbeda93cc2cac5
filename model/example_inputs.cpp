#include "model/example_inputs.h"

#include <functional>
#include <numeric>
#include <utility>

namespace mnm {

std::int64_t InputSpec::elements() const {
  return std::accumulate(shape.begin(), shape.end(), std::int64_t{1}, std::multiplies<>());
}

std::uint64_t InputSpec::bytes() const {
  const std::size_t element = type == InputType::kTokenIds ? sizeof(std::int64_t) : sizeof(float);
  return static_cast<std::uint64_t>(elements()) * element;
}

namespace {

constexpr ExampleWords kTokenWords = {"tokens", "sequence", "token", "word"};
constexpr ExampleWords kImageWords = {"images", "image", "image", "class"};
constexpr ExampleWords kQuestionWords = {"questions", "question", "token", "word"};
constexpr ExampleWords kTextWords = {"texts", "text", "token", "word"};

}  // namespace

const ExampleWords& words_of(InputType type) {
  return type == InputType::kPixels ? kImageWords : kTokenWords;
}

const ExampleWords& words_of(std::string_view kind) {
  for (const ExampleWords* words : {&kImageWords, &kQuestionWords, &kTextWords}) {
    if (words->kind == kind) return *words;
  }
  return kTokenWords;
}

ExampleInputs ExampleInputs::of(InputSpec each, std::int64_t count) {
  ExampleInputs inputs;
  const auto size = static_cast<std::size_t>(count * each.elements());
  if (each.type == InputType::kTokenIds) {
    inputs.tokens.resize(size);
  } else {
    inputs.pixels.resize(size);
  }
  inputs.each = std::move(each);
  inputs.count = count;
  return inputs;
}

ExampleInputs ExampleInputs::of_tokens(std::vector<std::int64_t> tokens) {
  ExampleInputs inputs;
  inputs.each.shape = {static_cast<std::int64_t>(tokens.size())};
  inputs.tokens = std::move(tokens);
  return inputs;
}

std::span<const std::byte> ExampleInputs::bytes() const {
  return each.type == InputType::kTokenIds ? std::as_bytes(std::span(tokens))
                                           : std::as_bytes(std::span(pixels));
}

std::span<std::byte> ExampleInputs::bytes() {
  return each.type == InputType::kTokenIds ? std::as_writable_bytes(std::span(tokens))
                                           : std::as_writable_bytes(std::span(pixels));
}

}  // namespace mnm
