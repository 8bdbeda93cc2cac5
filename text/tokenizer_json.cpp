#include "text/tokenizer_json.h"

#include <algorithm>

#include "model/error.h"
#include "model/files.h"
#include "text/byte_letters.h"

namespace mnm {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr const char* kFile = "tokenizer.json";

const Json& member(const Json& object, const char* key) {
  static const Json null;
  const auto found = object.is_object() ? object.find(key) : object.end();
  return object.is_object() && found != object.end() ? *found : null;
}
std::string text_of(const Json& object, const char* key) {
  const Json& value = member(object, key);
  return value.is_string() ? value.get<std::string>() : "";
}
bool is_set(const Json& object, const char* key) {
  const Json& value = member(object, key);
  return !value.is_null() && value != Json(false) && value != Json("") && value != Json(0);
}

// Its own steps where it is a Sequence, else itself.
std::vector<Json> steps(const Json& node, const char* key) {
  if (node.is_null()) return {};
  if (text_of(node, "type") != "Sequence") return {node};
  const Json& list = member(node, key);
  return list.is_array() ? list.get<std::vector<Json>>() : std::vector<Json>{};
}

void add_token(TokenizerJson& out, const Json& id, const std::string& text, TokenKind kind) {
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
}

void read_added(const Json& added, TokenizerJson& out) {
  if (!added.is_null() && !added.is_array()) fail("its added_tokens are no list");
  for (const Json& token : added) {
    const std::string text = text_of(token, "content");
    for (const char* key : {"lstrip", "rstrip", "single_word"}) {
      if (is_set(token, key)) fail("{} is set for its token '{}'", key, text);
    }
    const bool special = is_set(token, "special");
    add_token(out, member(token, "id"), text, special ? TokenKind::kSpecial : TokenKind::kAdded);
    // Unless it says otherwise a special token is found in the text as it was given.
    const Json& normalized = member(token, "normalized");
    out.tokens[member(token, "id").get<std::size_t>()].first =
        normalized.is_boolean() ? !normalized.get<bool>() : special;
  }
}

void read_merges(const Json& merges, TokenizerJson& out) {
  for (const Json& merge : merges) {
    if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
      out.merges.emplace_back(merge[0].get<std::string>(), merge[1].get<std::string>());
    } else if (merge.is_string()) {
      const auto text = merge.get<std::string>();
      const std::size_t space = text.find(' ');
      out.merges.emplace_back(text.substr(0, space),
                              space == std::string::npos ? "" : text.substr(space + 1));
    } else {
      fail("one of its merges is {}", merge.dump());
    }
    const auto& [left, right] = out.merges.back();
    if (left.empty() || right.empty() || std::ranges::count(left + right, ' ') != 0) {
      fail("the merge '{} {}' is not two tokens with a space between", left, right);
    }
  }
}

void read_split(const Json& pre_tokenizer, TokenizerJson& out) {
  const std::vector<Json> all = steps(pre_tokenizer, "pretokenizers");
  if (all.empty() || all.size() > 2 || text_of(all.back(), "type") != "ByteLevel") {
    fail("its pre_tokenizer is none of the byte-level ones that are known here");
  }
  for (const Json& step : all) {
    // Left out, it is on.
    const Json& space = member(step, "add_prefix_space");
    if (text_of(step, "type") == "ByteLevel" && !(space == Json(false))) {
      fail("it puts a space before the text");
    }
  }
  // Where there is nothing to merge, every split gives the same bytes.
  if (out.merges.empty() && !out.ignores_merges) return;
  const Json& own = member(all.back(), "use_regex");
  std::string pattern;
  bool known = true;
  if (all.size() == 2) {
    const Json& split = all.front();
    pattern = text_of(member(split, "pattern"), "Regex");
    known = text_of(split, "type") == "Split" && text_of(split, "behavior") == "Isolated" &&
            !is_set(split, "invert") && !pattern.empty();
  }
  const bool own_pattern = own.is_null() || own == Json(true);
  const std::optional<Split> split = split_of(pattern);
  if (!known || !split || own_pattern != (all.size() == 1)) {
    fail("it splits text in a way that is not known here");
  }
  out.split = *split;
}

// Sixteen times the largest that is known. A config of a few bytes says how many there are.
constexpr std::int64_t kMostWords = std::int64_t{1} << 22;

// So many tokens around a text are a prompt, and no template is one; a template that names a list
// of ids again and again would otherwise make far more of them than its file is long.
constexpr std::size_t kMostAround = 1024;

void read_template(const Json& tokenizer, TokenizerJson& out) {
  for (const Json& step : steps(member(tokenizer, "post_processor"), "processors")) {
    const std::string type = text_of(step, "type");
    if (type == "ByteLevel") continue;
    const Json& single = member(step, "single");
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
      const Json& ids = member(member(member(step, "special_tokens"), name.c_str()), "ids");
      std::vector<std::int32_t>& side = text_seen ? out.after : out.before;
      if (ids.is_array() && !ids.empty()) {
        if (ids.size() > kMostAround) fail("its template holds a token of {} ids", ids.size());
        for (const Json& id : ids) {
          if (!id.is_number_integer() || id < 0 || id >= out.tokens.size()) {
            fail("its template holds the id {}, outside the model's vocabulary of {}", id.dump(),
                 out.tokens.size());
          }
          side.push_back(id.get<std::int32_t>());
        }
      } else if (const auto found = out.ids.find(name); found != out.ids.end()) {
        side.push_back(found->second);
      } else {
        fail("its template holds '{}', which is no token", name);
      }
      if (out.before.size() + out.after.size() > kMostAround) {
        fail("its template puts more than {} tokens around a text", kMostAround);
      }
    }
    if (!text_seen) fail("its template leaves the text out");
  }
}

}  // namespace

TokenizerJson parse_tokenizer_json(const Json& tokenizer, std::int64_t vocab_size) {
  if (vocab_size > kMostWords) {
    fail("the model's vocabulary is of {} words, and a tokenizer of at most {} is read", vocab_size,
         kMostWords);
  }
  const Json& model = member(tokenizer, "model");
  const std::string type = text_of(model, "type");
  if (type != "BPE" && !(type.empty() && model.contains("merges"))) {
    fail("its model is '{}', and only byte-level BPE is read", type);
  }
  if (is_set(model, "byte_fallback")) {
    fail("it is a SentencePiece vocabulary (byte_fallback), and only byte-level BPE is read");
  }
  for (const char* key : {"dropout", "continuing_subword_prefix", "end_of_word_suffix"}) {
    if (is_set(model, key)) fail("its {} is set", key);
  }
  if (!member(tokenizer, "normalizer").is_null()) fail("it has a normalizer");
  if (!member(model, "vocab").is_object()) fail("it has no vocab");
  TokenizerJson out;
  out.tokens.resize(static_cast<std::size_t>(vocab_size));
  out.ignores_merges = is_set(model, "ignore_merges");
  for (const auto& [token, id] : member(model, "vocab").items()) {
    add_token(out, id, token, TokenKind::kNormal);
  }
  read_added(member(tokenizer, "added_tokens"), out);
  read_merges(member(model, "merges"), out);
  read_split(member(tokenizer, "pre_tokenizer"), out);
  read_template(tokenizer, out);
  out.decodes_letters = text_of(member(tokenizer, "decoder"), "type") == "ByteLevel";
  return out;
}

TokenizerJson byte_tokenizer() {
  TokenizerJson out;
  out.tokens.resize(256);
  for (int byte = 0; byte < 256; ++byte) {
    add_token(out, byte, byte_letter(static_cast<unsigned char>(byte)), TokenKind::kNormal);
  }
  out.decodes_letters = true;
  return out;
}

std::optional<TokenizerJson> find_tokenizer(const fs::path& directory, std::int64_t vocab_size) {
  if (fs::exists(directory / kFile)) {
    return parse_tokenizer_json(read_json(directory / kFile), vocab_size);
  }
  if (fs::exists(directory / "tokenizer.model")) {
    fail("it is a tokenizer.model, and only a tokenizer.json is read here");
  }
  if (vocab_size == 256) return byte_tokenizer();
  return std::nullopt;
}

}  // namespace mnm
