// A tokenizer.json of the kinds that are understood here, as data: byte-pair encoding over byte
// letters (GPT-2 and its heirs) or over characters (SentencePiece's, as Llama 2 and Gemma have it).
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "text/normalizer.h"
#include "text/pre_tokenizer.h"
#include "text/token_decoder.h"

namespace mnm {

enum class TokenKind : std::uint8_t {
  kUnused,   // an id of the model's that has no token
  kNormal,   // a byte or character, or what merges make
  kAdded,    // found in text as it stands, before all else
  kSpecial,  // likewise, and no text when decoded
};

struct Token {
  std::string text;  // a normal token of a byte-level vocabulary in byte letters (byte_letters.h)
  TokenKind kind = TokenKind::kUnused;
  bool in_model = false;  // of the model's own vocabulary, which merges work with
  // Of those found as they stand:
  bool first = false;  // before normalizing, and before the ones that are not
  bool takes_left = false, takes_right = false, alone = false;  // added_tokens.h
};

struct TokenizerJson {
  std::vector<Token> tokens;                                // [the model's vocabulary]
  std::unordered_map<std::string, std::int32_t> ids;        // of those in use
  std::vector<std::pair<std::string, std::string>> merges;  // the first ones first
  std::vector<NormalizerStep> normalizer;
  PreTokenizer pre_tokenizer;  // means nothing where every piece is cut into its bytes
  DecoderSteps decoder;
  bool ignores_merges = false;               // a piece that is a token is taken whole
  bool byte_fallback = false;                // what has no token becomes byte tokens
  std::optional<std::int32_t> unknown = {};  // what becomes of the rest; else it is left out
  bool fuses_unknown = false;                // several in a row become one
  std::vector<std::int32_t> before, after;   // what the template puts around a text

  // Its tokens are single bytes, so that any bytes are text.
  bool is_of_bytes() const;
};

// Error, with only the reason, for a tokenizer of another kind, or one whose ids do not fit the
// vocabulary. A vocabulary of more than four million words and a template of more than a thousand
// tokens are also Errors, so that neither takes more memory than its file.
TokenizerJson parse_tokenizer_json(const nlohmann::json& tokenizer, std::int64_t vocab_size);

// The tokenizer of bytes: token i is byte i.
TokenizerJson byte_tokenizer();

// The tokenizer of a checkpoint: its tokenizer.json, or the bytes themselves for a vocabulary of
// 256. Nothing if there is none. Error as above, and if there is only a tokenizer.model.
std::optional<TokenizerJson> find_tokenizer(const std::filesystem::path& directory,
                                            std::int64_t vocab_size);

}  // namespace mnm
