// Text to token ids and back, by byte-pair encoding: what the tokenizers package gives for the same
// tokenizer.json.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "text/added_tokens.h"
#include "text/byte_pair_merges.h"
#include "text/token_decoder.h"
#include "text/tokenizer_json.h"

namespace mnm {

enum class Template : bool { kLeaveOut, kApply };  // what it puts around a text

class Tokenizer {
 public:
  // Error, with the reason alone, where a merge makes no token or names none.
  explicit Tokenizer(TokenizerJson json);

  // Where tokens are more than single bytes the text must be UTF-8: Error otherwise.
  // O(bytes log bytes).
  std::vector<std::int64_t> encode(std::string_view text, Template around = Template::kApply) const;

  // Must not outlive this.
  TokenDecoder decoder() const { return TokenDecoder(json_); }

  const TokenizerJson& json() const { return json_; }

 private:
  void encode_between(std::string_view text, bool first, std::vector<std::int64_t>& out) const;
  void encode_pieces(const Pieces& pieces, std::vector<std::int64_t>& out) const;
  void encode_piece(std::string_view piece, std::vector<std::int64_t>& out) const;
  std::vector<std::int32_t> symbols_of_bytes(std::string_view piece) const;
  std::vector<std::int32_t> symbols_of_characters(std::string_view piece) const;
  std::int32_t model_id(const std::string& text) const;  // -1: none

  TokenizerJson json_;
  AddedTokens added_first_, added_;  // found before normalizing, and after it
  BytePairMerges merges_;
  std::array<std::int32_t, 256> bytes_{};                  // their tokens; -1: none
  std::unordered_map<char32_t, std::int32_t> characters_;  // with a token of their own
};

}  // namespace mnm
