#include "model/example_words.h"

#include <utility>

namespace mnm {

std::string in_words(std::string_view text, const ExampleWords& words) {
  const ExampleWords& tokens = words_of(InputType::kTokenIds);
  std::string result(text);
  for (const auto& [from, to] :
       {std::pair(tokens.output, words.output), std::pair(tokens.example, words.example)}) {
    for (std::size_t at = 0; (at = result.find(from, at)) != result.npos; at += to.size()) {
      result.replace(at, from.size(), to);
    }
  }
  return result;
}

}  // namespace mnm
