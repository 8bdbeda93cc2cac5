// A small tokenizer of Gemma's kind: characters with bytes for those that have no token, spaces as
// U+2581, and all text between added tokens as one word.
#pragma once

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <string>

namespace mnm::test {

// tokenizer.json of 5 special tokens, 256 bytes, U+2581, the lower-case letters, and their pairs.
inline nlohmann::json gemma_tokenizer() {
  nlohmann::json vocab, added = nlohmann::json::array(), merges = nlohmann::json::array();
  const auto add = [&](const std::string& token) { vocab[token] = vocab.size(); };
  for (const char* token : {"<pad>", "<eos>", "<bos>", "<unk>", "<end_of_turn>"}) {
    added.push_back({{"id", vocab.size()},
                     {"content", token},
                     {"single_word", false},
                     {"lstrip", false},
                     {"rstrip", false},
                     {"normalized", false},
                     {"special", true}});
    add(token);
  }
  for (int byte = 0; byte < 256; ++byte) add(fmt::format("<0x{:02X}>", byte));
  add("\u2581");
  for (char a = 'a'; a <= 'z'; ++a) add(std::string(1, a));
  for (char a = 'a'; a <= 'z'; ++a) {
    for (char b = 'a'; b <= 'z'; ++b) {
      add({a, b});
      merges.push_back({std::string(1, a), std::string(1, b)});
    }
  }
  const nlohmann::json to_space = {
      {"type", "Replace"}, {"pattern", {{"String", "\u2581"}}}, {"content", " "}};
  return {
      {"version", "1.0"},
      {"added_tokens", added},
      {"normalizer", {{"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", "\u2581"}}},
      {"pre_tokenizer",
       {{"type", "Split"},
        {"pattern", {{"String", " "}}},
        {"behavior", "MergedWithPrevious"},
        {"invert", false}}},
      {"decoder",
       {{"type", "Sequence"},
        {"decoders", {to_space, {{"type", "ByteFallback"}}, {{"type", "Fuse"}}}}}},
      {"model",
       {{"type", "BPE"},
        {"byte_fallback", true},
        {"fuse_unk", true},
        {"unk_token", "<unk>"},
        {"ignore_merges", false},
        {"vocab", vocab},
        {"merges", merges}}}};
}

}  // namespace mnm::test
