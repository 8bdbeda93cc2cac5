// Tasks over a tokenizer that any test can do in its head: a token is a byte, and "ab" is one too.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "dataset/task_maker.h"

namespace mnm::test {

// Token 256 begins a text, and 257 is "ab".
inline TaskTokens letter_tokens(bool begins = false) {
  TaskTokens tokens;
  tokens.vocab_size = 258;
  tokens.vocabulary = "letters";
  tokens.prefix_text = "<s>";
  tokens.encode = [begins](std::string_view text, bool around) {
    std::vector<std::int64_t> ids;
    if (begins && around) ids.push_back(256);
    for (std::size_t i = 0; i < text.size(); ++i) {
      const bool pair = text.substr(i, 2) == "ab";
      ids.push_back(pair ? 257 : static_cast<unsigned char>(text[i]));
      i += pair ? 1 : 0;
    }
    return ids;
  };
  return tokens;
}

inline TaskFile letter_task(const std::string& lines, const TaskSettings& settings) {
  return make_task(lines, "q.jsonl", letter_tokens(), settings);
}

}  // namespace mnm::test
