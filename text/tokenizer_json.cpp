#include "text/tokenizer_json.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/json.h"
#include "model/fingerprint.h"
#include "text/byte_letters.h"
#include "text/json_members.h"

namespace mnm {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr const char* kFile = "tokenizer.json";
// Sixteen times the largest that is known. A config of a few bytes says how many there are.
constexpr std::int64_t kMostWords = std::int64_t{1} << 22;

// So many tokens around a text are a prompt, and no template is one; a template that names a list
// of ids again and again would otherwise make far more of them than its file is long.
constexpr std::size_t kMostAround = 1024;
constexpr std::size_t kLongestAdded = 512;  // bytes of a token that is looked for in text

Token& add_token(TokenizerJson& out, const Json& id, const std::string& text, TokenKind kind) {
  const std::int64_t at = id.is_number_integer() ? id.get<std::int64_t>() : -1;
  if (at < 0 || std::cmp_greater_equal(at, out.tokens.size())) {
    fail("token '{}' has the id {}, outside the model's vocabulary of {}", text, id.dump(),
         out.tokens.size());
  }
  Token& token = out.tokens[static_cast<std::size_t>(at)];
  if (token.kind != TokenKind::kUnused && token.text != text) {
    fail("the id {} is of two tokens, '{}' and '{}'", at, token.text, text);
  }
  const auto [known, fresh] = out.ids.emplace(text, static_cast<std::int32_t>(at));
  if (!fresh && known->second != at) fail("token '{}' has two ids", text);
  token.text = text;
  token.kind = kind;
  return token;
}

void read_vocabulary(const Json& vocabulary, TokenizerJson& out) {
  if (!vocabulary.is_object()) fail("it has no vocab");
  for (const auto& [text, id] : vocabulary.items()) {
    add_token(out, id, text, TokenKind::kNormal).in_model = true;
  }
}

void read_added(const Json& added, TokenizerJson& out) {
  if (!added.is_null() && !added.is_array()) fail("its added_tokens are no list");
  for (const Json& json : added) {
    const std::string text = text_of(json, "content");
    if (text.size() > kLongestAdded) {
      fail("an added token has {} bytes, and at most {} are read", text.size(), kLongestAdded);
    }
    const bool special = is_set(json, "special");
    Token& token =
        add_token(out, member(json, "id"), text, special ? TokenKind::kSpecial : TokenKind::kAdded);
    // Unless it says otherwise a special token is found in the text as it was given.
    const Json& normalized = member(json, "normalized");
    token.first = normalized.is_boolean() ? !normalized.get<bool>() : special;
    token.takes_left = is_set(json, "lstrip");
    token.takes_right = is_set(json, "rstrip");
    token.alone = is_set(json, "single_word");
  }
}

void read_merges(const Json& merges, TokenizerJson& out) {
  if (!merges.is_array() && !merges.is_null()) fail("its merges are no list");
  for (const Json& merge : merges) {
    if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
      out.merges.emplace_back(merge[0].get<std::string>(), merge[1].get<std::string>());
    } else if (merge.is_string()) {
      const auto text = merge.get<std::string>();
      const std::size_t space = text.find(' ');
      out.merges.emplace_back(text.substr(0, space),
                              space == std::string::npos ? "" : text.substr(space + 1));
      if (out.merges.back().second.find(' ') != std::string::npos) {
        fail("the merge '{}' is not two tokens with a space between", text);
      }
    } else {
      fail("one of its merges is {}", merge.dump());
    }
    const auto& [left, right] = out.merges.back();
    if (left.empty() || right.empty()) {
      fail("the merge '{} {}' is not two tokens with a space between", left, right);
    }
  }
}

// The ids that stand for a special token of a template.
std::vector<std::int32_t> template_ids(const Json& step, const std::string& name,
                                       const TokenizerJson& out) {
  const Json& ids = member(member(member(step, "special_tokens"), name.c_str()), "ids");
  if (!ids.is_array() || ids.empty()) {
    const auto found = out.ids.find(name);
    if (found == out.ids.end()) fail("its template holds '{}', which is no token", name);
    return {found->second};
  }
  if (ids.size() > kMostAround) {
    fail("its template holds a token of {} ids, '{}': at most {} are read", ids.size(), name,
         kMostAround);
  }
  std::vector<std::int32_t> list;
  for (const Json& id : ids) {
    if (!id.is_number_integer() || id < 0 || id >= out.tokens.size()) {
      fail("its template holds the id {}, outside the model's vocabulary of {}", id.dump(),
           out.tokens.size());
    }
    list.push_back(id.get<std::int32_t>());
  }
  return list;
}

void read_template(const Json& tokenizer, TokenizerJson& out) {
  for (const Json* step : steps_of(member(tokenizer, "post_processor"), "processors")) {
    const std::string type = text_of(*step, "type");
    if (type == "ByteLevel") continue;
    const Json& single = member(*step, "single");
    if (type != "TemplateProcessing" || !single.is_array()) {
      fail("its post_processor is '{}'", type);
    }
    bool text_seen = false;
    for (const Json& item : single) {
      if (item.is_object() && item.contains("Sequence")) {
        if (std::exchange(text_seen, true)) fail("its template holds the text twice");
        continue;
      }
      const std::string name = text_of(member(item, "SpecialToken"), "id");
      const std::vector<std::int32_t> ids = template_ids(*step, name, out);
      std::vector<std::int32_t>& side = text_seen ? out.after : out.before;
      side.insert(side.end(), ids.begin(), ids.end());
      if (out.before.size() + out.after.size() > kMostAround) {
        fail("its template puts more than {} tokens around a text", kMostAround);
      }
    }
    if (!text_seen) fail("its template leaves the text out");
  }
}

void read_unknown(const Json& model, TokenizerJson& out) {
  out.byte_fallback = is_set(model, "byte_fallback");
  out.fuses_unknown = is_set(model, "fuse_unk");
  const std::string name = text_of(model, "unk_token");
  if (name.empty()) return;
  const auto found = out.ids.find(name);
  if (found == out.ids.end()) fail("its unk_token '{}' is no token", name);
  out.unknown = found->second;
}

}  // namespace

bool TokenizerJson::is_of_bytes() const {
  return pre_tokenizer.byte_level && merges.empty() && !ignores_merges && normalizer.empty() &&
         std::ranges::none_of(pre_tokenizer.steps, [](const PreTokenizerStep& step) {
           return step.kind != PreTokenizerStep::Kind::kSplit ||
                  step.behavior == SplitBehavior::kRemoved;
         });
}

TokenizerJson parse_tokenizer_json(const Json& tokenizer, std::int64_t vocab_size) {
  if (vocab_size > kMostWords) {
    fail("the model's vocabulary is of {} words, and a tokenizer of at most {} is read", vocab_size,
         kMostWords);
  }
  const Json& model = member(tokenizer, "model");
  const std::string type = text_of(model, "type");
  if (type != "BPE" && !(type.empty() && model.contains("merges"))) {
    fail("its model is '{}', and only BPE is read", type);
  }
  for (const char* key : {"dropout", "continuing_subword_prefix", "end_of_word_suffix"}) {
    if (is_set(model, key)) fail("its {} is set", key);
  }
  TokenizerJson out;
  out.tokens.resize(static_cast<std::size_t>(vocab_size));
  out.ignores_merges = is_set(model, "ignore_merges");
  read_vocabulary(member(model, "vocab"), out);
  read_unknown(model, out);
  read_added(member(tokenizer, "added_tokens"), out);
  read_merges(member(model, "merges"), out);
  out.normalizer = parse_normalizer(member(tokenizer, "normalizer"));
  out.pre_tokenizer = parse_pre_tokenizer(member(tokenizer, "pre_tokenizer"));
  if (out.pre_tokenizer.byte_level && out.byte_fallback) {
    fail("its byte_fallback is set, and its pre_tokenizer is ByteLevel");
  }
  read_template(tokenizer, out);
  out.decoder = parse_decoder(member(tokenizer, "decoder"));
  return out;
}

std::string vocabulary_fingerprint(const TokenizerJson& tokenizer) {
  Fingerprint of;
  for (std::size_t id = 0; id < tokenizer.tokens.size(); ++id) {
    const Token& token = tokenizer.tokens[id];
    if (token.kind == TokenKind::kUnused) continue;
    of.add(std::to_string(id));
    of.add(token.text);
  }
  for (const auto& [left, right] : tokenizer.merges) {
    of.add(left);
    of.add(right);
  }
  return of.hex();
}

TokenizerJson byte_tokenizer() {
  TokenizerJson out;
  out.tokens.resize(256);
  for (int byte = 0; byte < 256; ++byte) {
    const std::string letter = byte_letter(static_cast<unsigned char>(byte));
    add_token(out, byte, letter, TokenKind::kNormal).in_model = true;
  }
  out.pre_tokenizer.byte_level = true;
  out.decoder.byte_level = true;
  return out;
}

std::int64_t stated_vocabulary(const fs::path& directory) {
  const fs::path file = directory / "config.json";
  const Json config = fs::exists(file) ? read_json(file) : Json::object();
  const Json& stated = member(config, "vocab_size");
  return stated.is_number_integer() ? stated.get<std::int64_t>() : kMostWords;
}

std::optional<TokenizerJson> find_tokenizer(const fs::path& directory, std::int64_t vocab_size) {
  // A link to nothing is there, too: without it the model would seem to have no tokenizer.
  if (fs::exists(fs::symlink_status(directory / kFile))) {
    return parse_tokenizer_json(read_json(directory / kFile), vocab_size);
  }
  if (fs::exists(directory / "tokenizer.model")) {
    fail("it is a tokenizer.model, and only a tokenizer.json is read here");
  }
  if (vocab_size == 256) return byte_tokenizer();
  return std::nullopt;
}

}  // namespace mnm
