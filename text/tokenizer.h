// Text to token ids and back, for byte-level BPE: what the tokenizers package gives for the same
// tokenizer.json.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "text/tokenizer_json.h"

namespace mnm {

class Tokenizer {
 public:
  // Error, with the reason alone, where a byte has no token, a merge makes none, or the decoder is
  // of another kind.
  explicit Tokenizer(TokenizerJson json);

  // With what the template puts around it. Where tokens are more than single bytes the text must be
  // UTF-8: Error otherwise. O(bytes log bytes).
  std::vector<std::int64_t> encode(std::string_view text) const;

  // The bytes of a token; none for a special one, or an id without a token. 0 <= id < vocabulary.
  std::string bytes_of(std::int64_t id) const;

 private:
  struct Merge {
    std::int32_t rank = 0, id = 0;
  };
  void encode_between(std::string_view text, std::vector<std::int64_t>& out) const;
  void merge_piece(std::string_view piece, std::vector<std::int64_t>& out) const;
  void find_added(std::string_view text, bool first, std::vector<std::int64_t>& out) const;

  TokenizerJson json_;
  std::array<std::int32_t, 256> bytes_{};            // their tokens
  std::unordered_map<std::uint64_t, Merge> merges_;  // of two ids: left << 32 | right
  std::array<std::array<std::vector<std::int32_t>, 256>, 2>
      added_;  // [first?][first byte], long to short
};

}  // namespace mnm
