// Turns text into token ids and back, by byte-pair encoding. The ids and texts are those that the
// tokenizers package gives for the same tokenizer.json.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/progress.h"
#include "text/added_tokens.h"
#include "text/bpe.h"
#include "text/token_decoder.h"
#include "text/tokenizer_json.h"

namespace mnm {

// Whether the special tokens that the tokenizer's template puts around a text are added.
enum class Template : bool { kLeaveOut, kApply };

class Tokenizer {
 public:
  // Error if a merge names something that is no token, or makes something that is none. The message
  // is only the reason, and the caller adds the file.
  explicit Tokenizer(TokenizerJson json);

  // Error if the text is not UTF-8, unless all tokens are single bytes. O(bytes log bytes).
  // `progress` is to stop it: it is asked after the text is normalized, after it is cut into pieces
  // and, of a long text, while these are merged. How far it says this is, is rough.
  std::vector<std::int64_t> encode(std::string_view text, Template around = Template::kApply,
                                   const ProgressSink& progress = {}) const;

  // The most bytes of a text that one token stands for: a text of n tokens has at most n times as
  // many. Nothing if a token takes up the white space beside it, or if a byte has no token. Nothing
  // either if a step may make a text shorter: of the normalizer, all but Prepend and such literal
  // replacements as do not; of the pre-tokenizer, a split that removes what it finds.
  std::optional<std::size_t> longest_token() const { return longest_; }

  // The decoder must not outlive this tokenizer.
  TokenDecoder decoder() const { return TokenDecoder(json_); }

  const TokenizerJson& json() const { return json_; }

 private:
  class Told;
  void encode_between(std::string_view text, bool first, Told& told,
                      std::vector<std::int64_t>& out) const;
  void encode_pieces(const Pieces& pieces, Told& told, std::vector<std::int64_t>& out) const;
  void encode_piece(std::string_view piece, Told& told, std::vector<std::int64_t>& out) const;
  std::vector<std::int32_t> symbols_of_bytes(std::string_view piece) const;
  std::vector<std::int32_t> symbols_of_characters(std::string_view piece) const;
  std::int32_t model_id(const std::string& text) const;  // -1: none
  std::optional<std::size_t> find_longest() const;

  TokenizerJson json_;
  AddedTokens added_first_, added_;  // those found before the text is normalized, and after it
  BytePairMerges merges_;
  std::array<std::int32_t, 256> bytes_{};                  // byte -> its token; -1: it has none
  std::unordered_map<char32_t, std::int32_t> characters_;  // character -> its token
  std::optional<std::size_t> longest_;
};

}  // namespace mnm
