#include "export/gguf_tokenizer.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "model/error.h"
#include "model/files.h"
#include "text/tokenizer_json.h"

namespace mnm {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

enum TokenType : std::int32_t { kNormal = 1, kControl = 3, kUserDefined = 4, kUnused = 5 };

[[noreturn]] void refuse(const std::string& reason) {
  fail("gguf cannot carry the checkpoint's tokenizer: {}", reason);
}

// llama.cpp's names for the ways to split text, and whether it then takes whole pieces that are
// tokens.
struct SplitName {
  Split split;
  const char* name;
  bool ignores_merges;
};
constexpr SplitName kSplits[] = {{Split::kWords, "gpt-2", false},
                                 {Split::kThreeDigits, "llama-bpe", true},
                                 {Split::kOneDigit, "qwen2", false}};

std::string split_name(const TokenizerJson& tokenizer) {
  for (const SplitName& known : kSplits) {
    if (known.split == tokenizer.split && known.ignores_merges == tokenizer.ignores_merges) {
      return known.name;
    }
  }
  refuse("it splits text in a way that llama.cpp has no name for here");
}

const Json& member(const Json& object, const char* key) {
  static const Json null;
  const auto found = object.is_object() ? object.find(key) : object.end();
  return object.is_object() && found != object.end() ? *found : null;
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

void add_chat_template(const fs::path& directory, GgufFields& fields) {
  std::string text;
  if (fs::exists(directory / "chat_template.jinja")) {
    text = read_text(directory / "chat_template.jinja");
  } else if (fs::exists(directory / "tokenizer_config.json")) {
    const Json config = read_json(directory / "tokenizer_config.json");
    const Json& given = member(config, "chat_template");
    if (given.is_string()) text = given.get<std::string>();
  }
  if (!text.empty()) fields.emplace_back("tokenizer.chat_template", text);
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

GgufFields bpe_fields(const TokenizerJson& tokenizer) {
  std::vector<std::string> tokens, merges;
  std::vector<std::int32_t> types;
  for (const Token& token : tokenizer.tokens) {
    const bool unused = token.kind == TokenKind::kUnused;
    tokens.push_back(unused ? fmt::format("[PAD{}]", tokens.size()) : token.text);
    types.push_back(type_of(token.kind));
    if (unused && tokenizer.ids.contains(tokens.back())) {
      refuse(fmt::format("token '{}' has two ids", tokens.back()));
    }
  }
  for (const auto& [left, right] : tokenizer.merges) merges.push_back(left + " " + right);
  return {{"tokenizer.ggml.model", std::string("gpt2")},
          {"tokenizer.ggml.pre", split_name(tokenizer)},
          {"tokenizer.ggml.tokens", std::move(tokens)},
          {"tokenizer.ggml.token_type", std::move(types)},
          {"tokenizer.ggml.merges", std::move(merges)},
          {"tokenizer.ggml.add_bos_token", !tokenizer.before.empty()},
          {"tokenizer.ggml.add_eos_token", !tokenizer.after.empty()}};
}

std::optional<TokenizerJson> tokenizer_of(const fs::path& directory, std::int64_t vocab_size) {
  try {
    return find_tokenizer(directory, vocab_size);
  } catch (const Error& error) {
    refuse(error.what());
  }
}

}  // namespace

GgufFields gguf_tokenizer(const fs::path& directory, const Json& config, std::int64_t vocab_size) {
  const std::optional<TokenizerJson> tokenizer = tokenizer_of(directory, vocab_size);
  const bool has_text = tokenizer.has_value();
  GgufFields fields = {{"tokenizer.ggml.model", std::string("no_vocab")}};
  if (has_text) fields = bpe_fields(*tokenizer);
  const std::size_t before = fields.size();
  add_special_ids(config, vocab_size, fields);
  // Where the config names no end, llama.cpp would take token 11. Zero is what text does not hold.
  const bool named =
      std::any_of(fields.begin() + static_cast<std::ptrdiff_t>(before), fields.end(),
                  [](const auto& field) { return field.first == "tokenizer.ggml.eos_token_id"; });
  if (has_text && !named) {
    fields.emplace_back("tokenizer.ggml.eos_token_id", std::uint32_t{0});
  }
  if (has_text) add_chat_template(directory, fields);
  return fields;
}

}  // namespace mnm
