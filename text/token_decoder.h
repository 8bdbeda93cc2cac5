// Turns token ids into text, one by one as they come. All together give the text that the
// tokenizers package gives for all ids at once.
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

// The decoder of a tokenizer.json, as plain data. It is one of two kinds: byte letters
// (byte_level), or SentencePiece's (all that follows it).
struct DecoderSteps {
  bool byte_level = false;  // a token's letters stand for bytes (byte_letters.h)

  std::vector<std::pair<Pattern, std::string>> replaced;  // in each token, one after the other
  std::string metaspace;            // this text becomes a space; empty: there is none
  bool drops_first = false;         // in the first token, each metaspace is dropped instead
  bool byte_fallback = false;       // a token such as <0x41> is a byte (byte_tokens.h)
  std::string stripped;             // a character that is removed from the start of the text,
  std::uint64_t most_stripped = 0;  // at most so often
};

// Error for a decoder that is not read here; its message is only the reason, and the caller adds
// the file.
DecoderSteps parse_decoder(const nlohmann::json& decoder);

class TokenDecoder {
 public:
  // `json` must outlive it.
  explicit TokenDecoder(const TokenizerJson& json) : json_(json) {}

  // Takes the next id, 0 <= id < vocabulary. Returns the text that is complete now, which no later
  // id can change. Special tokens, and ids without a token, give no text.
  std::string feed(std::int64_t id);
  std::string finish();  // the text of what was not complete

 private:
  std::string flushed_bytes();
  std::string without_start(std::string text);

  const TokenizerJson& json_;
  Utf8Stream letters_;  // the bytes of byte letters
  std::string bytes_;   // the bytes of byte tokens that came one after the other
  bool first_ = true;
  std::uint64_t stripped_ = 0;
  bool started_ = false;  // the text has begun, and nothing more is removed from its start
};

}  // namespace mnm
