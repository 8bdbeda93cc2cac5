// Token ids to text, one by one as they come: what the tokenizers package gives for all of them.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/pattern.h"
#include "text/utf8.h"

namespace mnm {

struct TokenizerJson;

// A tokenizer.json's decoder, as data: byte letters, or SentencePiece's way.
struct DecoderSteps {
  bool byte_level = false;  // the bytes that the letters stand for (byte_letters.h)

  std::vector<std::pair<Pattern, std::string>> replaced;  // in each token
  std::string metaspace;                                  // becomes a space; empty: none
  bool drops_first = false;                               // of the first token, each metaspace goes
  bool byte_fallback = false;                             // <0x41> is a byte
  std::string stripped;                                   // a character, at the start of all
  std::uint64_t most_stripped = 0;                        // so many at most
};

// Error, with the reason alone, for a decoder that is not read.
DecoderSteps parse_decoder(const nlohmann::json& decoder);

class TokenDecoder {
 public:
  // `json` must outlive it.
  explicit TokenDecoder(const TokenizerJson& json) : json_(json) {}

  // What is complete. Special tokens and ids without a token are no text. 0 <= id < vocabulary.
  std::string feed(std::int64_t id);
  std::string finish();  // what was left waiting

 private:
  std::string flushed_bytes();
  std::string without_start(std::string text);

  const TokenizerJson& json_;
  Utf8Stream letters_;  // of byte letters
  std::string bytes_;   // a run of byte tokens
  bool first_ = true;
  std::uint64_t stripped_ = 0;
  bool started_ = false;  // nothing more is stripped
};

}  // namespace mnm
