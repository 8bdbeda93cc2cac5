#include "export/gguf_tokenizer.h"

#include <algorithm>
#include <optional>
#include <set>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "export/companion_files.h"
#include "export/gguf_pre_tokenizers.h"
#include "export/token_parts.h"
#include "text/added_tokens.h"
#include "text/byte_letters.h"
#include "text/byte_tokens.h"
#include "text/chat_template.h"
#include "text/json_members.h"
#include "text/normalizer.h"
#include "text/tokenizer_json.h"
#include "text/unicode_classes.h"
#include "text/utf8.h"

namespace mnm {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

enum TokenType : std::int32_t {
  kNormal = 1,
  kUnknown = 2,
  kControl = 3,
  kUserDefined = 4,
  kUnused = 5,
  kByte = 6
};

// As the one runtime that reads it calls the kind.
constexpr const char* kSentencePiece = "llama";
constexpr const char* kSpace = "\u2581";

[[noreturn]] void refuse(const std::string& reason) {
  fail(
      "gguf cannot carry the checkpoint's tokenizer: {}; --no-tokenizer writes the model without "
      "it",
      reason);
}

void add_special_ids(const Json& config, std::int64_t vocab_size, GgufFields& fields) {
  for (const char* key : {"bos_token_id", "eos_token_id", "pad_token_id"}) {
    const Json& value = member(config, key);
    const Json& id = value.is_array() && !value.empty() ? value.front() : value;
    if (!id.is_number_integer() || id.get<std::int64_t>() < 0) continue;
    if (id.get<std::int64_t>() >= vocab_size) {
      refuse(fmt::format("{} is {}, outside the vocabulary of {}", key, id.dump(), vocab_size));
    }
    const std::string name =
        std::string(key) == "pad_token_id" ? "padding_token_id" : std::string(key);
    fields.emplace_back("tokenizer.ggml." + name, id.get<std::uint32_t>());
  }
}

TokenType type_of(TokenKind kind) {
  switch (kind) {
    case TokenKind::kUnused:
      return kUnused;
    case TokenKind::kNormal:
      return kNormal;
    case TokenKind::kAdded:
      return kUserDefined;
    case TokenKind::kSpecial:
      return kControl;
  }
  return kUnused;
}

// Both kinds name their tokens alike.
GgufFields token_fields(const TokenizerJson& tokenizer, const char* model, const std::string& pre) {
  std::vector<std::string> tokens;
  std::vector<std::int32_t> types;
  for (const Token& token : tokenizer.tokens) {
    const bool unused = token.kind == TokenKind::kUnused || token.text.empty();
    tokens.push_back(unused ? fmt::format("[PAD{}]", tokens.size()) : token.text);
    types.push_back(unused ? kUnused : type_of(token.kind));
    if (unused && tokenizer.ids.contains(tokens.back())) {
      refuse(fmt::format("token '{}' has two ids", tokens.back()));
    }
    if (!tokenizer.pre_tokenizer.byte_level && byte_of_token(token.text)) types.back() = kByte;
  }
  const bool characters = !tokenizer.pre_tokenizer.byte_level;
  if (characters && tokenizer.unknown)
    types[static_cast<std::size_t>(*tokenizer.unknown)] = kUnknown;
  return {{"tokenizer.ggml.model", std::string(model)},
          {"tokenizer.ggml.pre", pre},
          {"tokenizer.ggml.tokens", std::move(tokens)},
          {"tokenizer.ggml.token_type", std::move(types)},
          {"tokenizer.ggml.add_bos_token", !tokenizer.before.empty()},
          {"tokenizer.ggml.add_eos_token", !tokenizer.after.empty()}};
}

bool is_added(const Token& token) {
  return token.kind == TokenKind::kAdded || token.kind == TokenKind::kSpecial;
}

// llama.cpp lets added tokens take up the white space after them where the model's name has this,
// and knows by their names which of them do not. It fails where these are no tokens.
constexpr const char* kStrippingName = "phi-3";

bool strips_as_phi_3(const TokenizerJson& tokenizer) {
  const std::set<std::string> exempt = {"<unk>", "<s>", "<|endoftext|>"};
  for (const Token& token : tokenizer.tokens) {
    if (!is_added(token)) continue;
    if (token.takes_left || token.takes_right == exempt.contains(token.text)) return false;
  }
  return tokenizer.ids.contains("</s>") && std::ranges::all_of(exempt, [&](const auto& text) {
           return tokenizer.ids.contains(text);
         });
}

// llama.cpp cuts a text at its added tokens as it stands there, whatever is beside them, and the
// white space stays, except after a token of a tokenizer that `strips` as Phi-3's does.
void require_own_flags(const Token& token, bool strips) {
  if (token.alone) {
    refuse(fmt::format(
        "its added token '{}' is found only if no letter touches it (single_word), and llama.cpp "
        "finds it inside of words, too",
        token.text));
  }
  if (token.takes_left || (token.takes_right && !strips)) {
    refuse(fmt::format(
        "its added token '{}' takes up the white space {}, and llama.cpp leaves that in the text",
        token.text, token.takes_left ? "before it (lstrip)" : "after it (rstrip)"));
  }
  if (strips && !token.text.empty() && is_in(code_point_at(token.text, 0).value, kSpaces)) {
    refuse(fmt::format(
        "its added token '{}' begins with white space, which the token before it takes up in "
        "llama.cpp",
        token.text));
  }
}

// Of a token that is looked for after the text is normalized and cut at the tokens that are `first`
// (normalized): llama.cpp looks for all of them in the text as it stands.
void require_same_in_raw_text(const Token& token, const TokenizerJson& tokenizer,
                              const AddedTokens& first) {
  const auto made_of = [&](std::string_view text) {
    return normalized(text, tokenizer.normalizer);
  };
  const bool changes_spaces = made_of(" ") != " ";
  if (made_of(token.text) != token.text ||
      (changes_spaces && (token.takes_right || token.text.find(kSpace) != std::string::npos))) {
    refuse(fmt::format(
        "its added token '{}' is looked for in normalized text (normalized), and llama.cpp looks "
        "for it in the text as it stands",
        token.text));
  }
  for (const TextPart& part : first.parts_of(token.text)) {
    if (part.id < 0) continue;
    refuse(fmt::format(
        "its added token '{}' is looked for after '{}', which is a part of it (normalized), and "
        "llama.cpp looks for the longer one first",
        token.text, part.text));
  }
}

void require_same_added_tokens(const TokenizerJson& tokenizer, bool strips) {
  std::vector<AddedToken> first;
  for (const Token& token : tokenizer.tokens) {
    if (is_added(token) && token.first) first.push_back({0, token.text, false, false, false});
  }
  const AddedTokens found_first(std::move(first));
  for (const Token& token : tokenizer.tokens) {
    if (!is_added(token)) continue;
    require_own_flags(token, strips);
    if (!token.first) require_same_in_raw_text(token, tokenizer, found_first);
  }
}

// Bytes without a token give none in llama.cpp.
void require_no_unknown(const TokenizerJson& tokenizer) {
  if (!tokenizer.unknown) return;
  for (int byte = 0; byte < 256; ++byte) {
    if (tokenizer.ids.contains(byte_letter(static_cast<unsigned char>(byte)))) continue;
    refuse(fmt::format(
        "it has no token for the byte {}, which becomes its unk_token, and llama.cpp leaves it out",
        byte));
  }
}

GgufFields byte_level_fields(const TokenizerJson& tokenizer) {
  require_no_unknown(tokenizer);
  for (const NormalizerStep& step : tokenizer.normalizer) {
    // llama.cpp normalizes nothing; text is in this form almost always.
    if (step.kind != NormalizerStep::Kind::kNfc) {
      refuse("it normalizes text in a way that llama.cpp does not");
    }
  }
  const std::optional<std::string> pre = gguf_pre_tokenizer(tokenizer);
  if (!pre) refuse("it splits text in a way that llama.cpp has no name for here");
  std::vector<std::string> merges;
  for (const auto& [left, right] : tokenizer.merges) {
    merges.push_back(left + " " + right);
    if (merges.back().find(' ') != left.size() || merges.back().rfind(' ') != left.size()) {
      refuse(fmt::format("its merge of '{}' and '{}' holds a space", left, right));
    }
  }
  GgufFields fields = token_fields(tokenizer, "gpt2", *pre);
  fields.emplace_back("tokenizer.ggml.merges", std::move(merges));
  return fields;
}

// Whether a space is put before a text. What else SentencePiece's front ends do, llama.cpp does,
// too.
bool adds_space(const TokenizerJson& tokenizer) {
  bool adds = false, spaces = false;
  for (const NormalizerStep& step : tokenizer.normalizer) {
    if (step.kind == NormalizerStep::Kind::kPrepend && step.text == kSpace && !spaces) {
      adds = true;
    } else if (step.kind == NormalizerStep::Kind::kReplace && step.pattern->expression() == " " &&
               step.text == kSpace) {
      spaces = true;
    } else {
      refuse("it normalizes text in a way that llama.cpp does not");
    }
  }
  for (const PreTokenizerStep& step : tokenizer.pre_tokenizer.steps) {
    using Kind = PreTokenizerStep::Kind;
    if (step.kind == Kind::kMetaspace && step.text == kSpace && !spaces) {
      adds = step.prepend != PreTokenizerStep::Prepend::kNever;
      spaces = true;
    } else if (!(spaces && step.kind == Kind::kSplit && step.pattern->expression() == " ")) {
      refuse("it splits text in a way that llama.cpp has no name for here");
    }
  }
  if (!spaces) refuse("it keeps spaces as they are, and llama.cpp does not");
  return adds;
}

// llama.cpp merges by the score of what comes out: the higher the earlier. It merges whatever pair
// makes a token, so every such pair must be a merge.
std::vector<float> scores_of(const TokenizerJson& tokenizer) {
  std::vector<float> scores(tokenizer.tokens.size(), 0);
  std::set<std::pair<std::string_view, std::string_view>> merges;
  for (std::size_t rank = tokenizer.merges.size(); rank-- > 0;) {
    const auto& [left, right] = tokenizer.merges[rank];
    merges.emplace(left, right);
    const auto made = tokenizer.ids.find(left + right);
    if (made == tokenizer.ids.end()) refuse(fmt::format("its merges make '{}', no token", left));
    scores[static_cast<std::size_t>(made->second)] = -static_cast<float>(rank);
  }
  for_each_split(tokenizer.ids, [&](const TokenSplit& split) {
    const auto& made = tokenizer.tokens[static_cast<std::size_t>(split.whole)];
    // An added token is found before anything is merged, unless it is of spaces as these are then.
    const bool added =
        made.kind != TokenKind::kNormal && made.text.find(kSpace) == std::string::npos;
    if (added || byte_of_token(made.text)) return;
    const std::string_view left = std::string_view(made.text).substr(0, split.at);
    const std::string_view right = std::string_view(made.text).substr(split.at);
    if (merges.contains(std::pair(left, right))) return;
    refuse(fmt::format("its tokens '{}' and '{}' make one that no merge makes", left, right));
  });
  return scores;
}

GgufFields sentence_piece_fields(const TokenizerJson& tokenizer) {
  if (!tokenizer.byte_fallback || tokenizer.ignores_merges) {
    refuse("it is over characters, without bytes for those that have no token");
  }
  for (int byte = 0; byte < 256; ++byte) {
    const std::string token = byte_token(static_cast<unsigned char>(byte));
    if (!tokenizer.ids.contains(token)) refuse(fmt::format("it has no token '{}'", token));
  }
  for (const Token& token : tokenizer.tokens) {
    if (token.text.find('\0') != std::string::npos) {
      refuse("a token of it holds the byte 0, at which llama.cpp ends it");
    }
  }
  const bool space = adds_space(tokenizer);
  GgufFields fields = token_fields(tokenizer, kSentencePiece, "default");
  fields.emplace_back("tokenizer.ggml.scores", scores_of(tokenizer));
  fields.emplace_back("tokenizer.ggml.add_space_prefix", space);
  return fields;
}

std::optional<TokenizerJson> tokenizer_of(const fs::path& directory, std::int64_t vocab_size) {
  try {
    return find_tokenizer(directory, vocab_size);
  } catch (const Error& error) {
    refuse(error.what());
  }
}

}  // namespace

GgufFields gguf_tokenizer(const fs::path& directory, const Json& config, std::int64_t vocab_size,
                          bool text) {
  std::optional<TokenizerJson> tokenizer;
  if (text) {
    for (const char* file : {"tokenizer.json", "tokenizer_config.json", "chat_template.jinja"}) {
      require_own_file(directory / file);
    }
    tokenizer = tokenizer_of(directory, vocab_size);
  }
  const bool has_text = tokenizer.has_value();
  GgufFields fields = {{"tokenizer.ggml.model", std::string("no_vocab")}};
  if (has_text) {
    fields = tokenizer->pre_tokenizer.byte_level ? byte_level_fields(*tokenizer)
                                                 : sentence_piece_fields(*tokenizer);
    const bool strips = strips_as_phi_3(*tokenizer);
    require_same_added_tokens(*tokenizer, strips);
    if (strips) fields.emplace_back("general.name", std::string(kStrippingName));
  }
  const std::size_t before = fields.size();
  add_special_ids(config, vocab_size, fields);
  // Where the config names no end, llama.cpp would take token 11. Zero is what text does not hold.
  const bool named =
      std::any_of(fields.begin() + static_cast<std::ptrdiff_t>(before), fields.end(),
                  [](const auto& field) { return field.first == "tokenizer.ggml.eos_token_id"; });
  if (has_text && !named) {
    fields.emplace_back("tokenizer.ggml.eos_token_id", std::uint32_t{0});
  }
  if (const auto chat = has_text ? find_chat_template(directory) : std::nullopt) {
    fields.emplace_back("tokenizer.chat_template", chat->text);
  }
  return fields;
}

}  // namespace mnm
