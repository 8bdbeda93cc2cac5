// A tokenizer.json of the kind that is understood here, as data: byte-level BPE.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "text/splits.h"

namespace mnm {

enum class TokenKind : std::uint8_t {
  kUnused,   // an id of the model's that has no token
  kNormal,   // a byte, or what merges make
  kAdded,    // found in text as it stands, before all else
  kSpecial,  // likewise, and no text when decoded
};

struct Token {
  std::string text;  // a normal token in byte letters (byte_letters.h)
  TokenKind kind = TokenKind::kUnused;
  bool first = false;  // of those found as they stand: before the ones that are not
};

struct TokenizerJson {
  std::vector<Token> tokens;                                // [the model's vocabulary]
  std::unordered_map<std::string, std::int32_t> ids;        // of those in use
  std::vector<std::pair<std::string, std::string>> merges;  // the first ones first
  Split split = Split::kWords;              // means nothing where every piece is cut into its bytes
  bool ignores_merges = false;              // a piece that is a token is taken whole
  std::vector<std::int32_t> before, after;  // what the template puts around a text
  bool decodes_letters = false;             // its decoder is ByteLevel
};

// Error, with the reason alone, for a tokenizer of another kind, or one whose ids do not fit the
// vocabulary. A vocabulary of more than four million words, and a template of more than a thousand
// tokens, are Errors, too: neither takes more than its file does.
TokenizerJson parse_tokenizer_json(const nlohmann::json& tokenizer, std::int64_t vocab_size);

// Token i is byte i.
TokenizerJson byte_tokenizer();

// A checkpoint's: its tokenizer.json, or the bytes themselves for a vocabulary of 256. Nothing
// where there is no tokenizer. Error as above, and for a tokenizer.model alone.
std::optional<TokenizerJson> find_tokenizer(const std::filesystem::path& directory,
                                            std::int64_t vocab_size);

}  // namespace mnm
