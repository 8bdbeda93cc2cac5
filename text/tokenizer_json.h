// A tokenizer.json as plain data. Two kinds are read: byte-pair encoding over byte letters (GPT-2
// and its successors), and over characters (SentencePiece's, as in Llama 2 and Gemma).
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/seeded_hash.h"
#include "text/normalizer.h"
#include "text/pre_tokenizer.h"
#include "text/token_decoder.h"

namespace mnm {

enum class TokenKind : std::uint8_t {
  kUnused,   // an id of the model that has no token
  kNormal,   // a byte, a character, or what merges make
  kAdded,    // an added token (added_tokens.h)
  kSpecial,  // an added token that gives no text when it is decoded
};

struct Token {
  // If the vocabulary is byte-level, a normal token is spelled in byte letters (byte_letters.h).
  std::string text;
  TokenKind kind = TokenKind::kUnused;
  bool in_model = false;  // it is in the "vocab" of the file's model, which merges work with
  // Of added tokens:
  bool first = false;  // it is found before the text is normalized; the others are found after it
  bool takes_left = false, takes_right = false, alone = false;  // added_tokens.h
};

using TokenIds = std::unordered_map<std::string, std::int32_t, SeededHash>;  // text -> id

struct TokenizerJson {
  std::vector<Token> tokens;  // [the model's vocabulary]
  TokenIds ids;
  std::vector<std::pair<std::string, std::string>> merges;  // by rank: the first is merged first
  std::vector<NormalizerStep> normalizer;
  PreTokenizer pre_tokenizer;  // without effect if is_of_bytes()
  DecoderSteps decoder;
  bool ignores_merges = false;  // a piece that is a token is taken whole, without merging
  bool byte_fallback = false;   // a character without a token becomes byte tokens (byte_tokens.h)
  std::optional<std::int32_t> unknown = {};  // else it becomes this token; if none, it is left out
  bool fuses_unknown = false;                // several unknown characters in a row become one token
  std::vector<std::int32_t> before, after;   // what the template puts around a text

  // Whether all tokens are single bytes. Then any bytes are a text.
  bool is_of_bytes() const;
};

// Error for a tokenizer of another kind, or one whose ids do not fit the vocabulary. The message is
// only the reason, and the caller adds the file. A vocabulary of more than four million tokens and
// a template of more than a thousand are also Errors, so that neither takes more memory than its
// file.
TokenizerJson parse_tokenizer_json(const nlohmann::json& tokenizer, std::int64_t vocab_size);

// Of its tokens, their ids and its merges. Equal tokenizers have equal ones, however the file is
// laid out and whatever the model's vocabulary is padded to.
std::string vocabulary_fingerprint(const TokenizerJson& tokenizer);

// The tokenizer of bytes: token i is byte i.
TokenizerJson byte_tokenizer();

// The vocab_size of a checkpoint's config.json, or, if there is none, the largest that is read.
std::int64_t stated_vocabulary(const std::filesystem::path& directory);

// The tokenizer of a checkpoint: its tokenizer.json, or the bytes themselves for a vocabulary of
// 256. Nothing if there is none. Error as above, and if there is only a tokenizer.model.
std::optional<TokenizerJson> find_tokenizer(const std::filesystem::path& directory,
                                            std::int64_t vocab_size);

}  // namespace mnm
