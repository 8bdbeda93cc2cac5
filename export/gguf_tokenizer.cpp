#include "export/gguf_tokenizer.h"

#include <algorithm>
#include <set>
#include <utility>

#include "model/error.h"
#include "model/files.h"

namespace mnm {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr const char* kFile = "tokenizer.json";
enum TokenType : std::int32_t { kNormal = 1, kControl = 3, kUserDefined = 4, kUnused = 5 };

[[noreturn]] void refuse(const std::string& reason) {
  fail("gguf cannot carry the checkpoint's tokenizer: {}", reason);
}

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

// How text is split before merges, by the names that llama.cpp has for it.
struct Split {
  const char* name;
  const char* pattern;  // of the Split before ByteLevel; empty: ByteLevel's own
  bool ignores_merges;  // whether llama.cpp takes whole words that are tokens
};
constexpr Split kSplits[] = {
    {"gpt-2", "", false},
    {"llama-bpe",
     R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)",
     true},
    {"qwen2",
     R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)",
     false},
};

std::string split_name(const Json& tokenizer, bool has_merges) {
  const std::vector<Json> all = steps(member(tokenizer, "pre_tokenizer"), "pretokenizers");
  const Json* last = all.empty() ? nullptr : &all.back();
  if (last == nullptr || text_of(*last, "type") != "ByteLevel" || all.size() > 2) {
    refuse("its pre_tokenizer is none of the byte-level ones that llama.cpp knows");
  }
  if (is_set(*last, "add_prefix_space")) refuse("it puts a space before the text");
  if (!has_merges) return kSplits[0].name;  // every split gives the same bytes
  std::string pattern;
  const Json& own = member(*last, "use_regex");
  const bool own_regex = own.is_null() || own == Json(true);
  if (all.size() == 2) pattern = text_of(member(all.front(), "pattern"), "Regex");
  for (const Split& split : kSplits) {
    const bool alone = *split.pattern == '\0';
    if (alone != own_regex || alone != (all.size() == 1) || pattern != split.pattern) continue;
    if (is_set(member(tokenizer, "model"), "ignore_merges") != split.ignores_merges) continue;
    return split.name;
  }
  refuse("it splits text in a way that llama.cpp has no name for here");
}

struct Vocabulary {
  std::vector<std::string> tokens;
  std::vector<std::int32_t> types;

  explicit Vocabulary(std::int64_t size) {
    for (std::int64_t id = 0; id < size; ++id) {
      tokens.push_back(fmt::format("[PAD{}]", id));
      types.push_back(kUnused);
    }
  }
  void set(const Json& id, const std::string& token, TokenType type) {
    const std::int64_t at = id.is_number_integer() ? id.get<std::int64_t>() : -1;
    if (at < 0 || std::cmp_greater_equal(at, tokens.size())) {
      refuse(fmt::format("token '{}' has the id {}, outside the model's vocabulary of {}", token,
                         id.dump(), tokens.size()));
    }
    const auto i = static_cast<std::size_t>(at);
    if (types[i] != kUnused && tokens[i] != token) {
      refuse(fmt::format("the id {} is of two tokens, '{}' and '{}'", at, tokens[i], token));
    }
    tokens[i] = token;
    types[i] = type;
  }
  void require_distinct() const {
    std::set<std::string> seen;
    for (const std::string& token : tokens) {
      if (!seen.insert(token).second) refuse(fmt::format("token '{}' has two ids", token));
    }
  }
};

std::vector<std::string> merges_of(const Json& model) {
  std::vector<std::string> merges;
  for (const Json& merge : member(model, "merges")) {
    if (merge.is_string()) {
      merges.push_back(merge.get<std::string>());
    } else if (merge.is_array() && merge.size() == 2 && merge[0].is_string() &&
               merge[1].is_string()) {
      merges.push_back(merge[0].get<std::string>() + " " + merge[1].get<std::string>());
    } else {
      refuse(fmt::format("one of its merges is {}", merge.dump()));
    }
    if (std::ranges::count(merges.back(), ' ') != 1) {
      refuse(fmt::format("the merge '{}' is not two tokens with a space between", merges.back()));
    }
  }
  return merges;
}

// Whether the template puts a special token before, or after, the text.
std::pair<bool, bool> framed(const Json& tokenizer) {
  for (const Json& step : steps(member(tokenizer, "post_processor"), "processors")) {
    const Json& single = member(step, "single");
    if (text_of(step, "type") != "TemplateProcessing" || !single.is_array() || single.empty()) {
      continue;
    }
    return {single.front().contains("SpecialToken"), single.back().contains("SpecialToken")};
  }
  return {false, false};
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
    text = text_of(read_json(directory / "tokenizer_config.json"), "chat_template");
  }
  if (!text.empty()) fields.emplace_back("tokenizer.chat_template", text);
}

GgufFields bpe_fields(const std::string& split, Vocabulary vocabulary,
                      std::vector<std::string> merges, std::pair<bool, bool> frame) {
  vocabulary.require_distinct();
  return {{"tokenizer.ggml.model", std::string("gpt2")},
          {"tokenizer.ggml.pre", split},
          {"tokenizer.ggml.tokens", std::move(vocabulary.tokens)},
          {"tokenizer.ggml.token_type", std::move(vocabulary.types)},
          {"tokenizer.ggml.merges", std::move(merges)},
          {"tokenizer.ggml.add_bos_token", frame.first},
          {"tokenizer.ggml.add_eos_token", frame.second}};
}

GgufFields read_tokenizer(const Json& tokenizer, std::int64_t vocab_size) {
  const Json& model = member(tokenizer, "model");
  const std::string type = text_of(model, "type");
  if (type != "BPE" && !(type.empty() && model.contains("merges"))) {
    refuse(fmt::format("its model is '{}', and only byte-level BPE is carried", type));
  }
  if (is_set(model, "byte_fallback")) {
    refuse("it is a SentencePiece vocabulary (byte_fallback), and only byte-level BPE is carried");
  }
  for (const char* key : {"dropout", "continuing_subword_prefix", "end_of_word_suffix"}) {
    if (is_set(model, key)) refuse(fmt::format("its {} is set", key));
  }
  if (!member(tokenizer, "normalizer").is_null()) refuse("it has a normalizer");
  if (!member(model, "vocab").is_object()) refuse("it has no vocab");
  Vocabulary vocabulary(vocab_size);
  for (const auto& [token, id] : member(model, "vocab").items()) vocabulary.set(id, token, kNormal);
  for (const Json& token : member(tokenizer, "added_tokens")) {
    vocabulary.set(member(token, "id"), text_of(token, "content"),
                   is_set(token, "special") ? kControl : kUserDefined);
  }
  std::vector<std::string> merges = merges_of(model);
  const std::string split = split_name(tokenizer, !merges.empty());
  return bpe_fields(split, std::move(vocabulary), std::move(merges), framed(tokenizer));
}

GgufFields byte_fields() {
  Vocabulary vocabulary(256);
  for (int byte = 0; byte < 256; ++byte) {
    vocabulary.set(byte, byte_letter(static_cast<unsigned char>(byte)), kNormal);
  }
  return bpe_fields(kSplits[0].name, std::move(vocabulary), {}, {false, false});
}

}  // namespace

std::string byte_letter(unsigned char byte) {
  // Printable Latin-1 stands for itself; the others are numbered from U+0100 on, in order.
  const auto printable = [](unsigned b) {
    return (b >= 0x21 && b <= 0x7e) || (b >= 0xa1 && b <= 0xac) || b >= 0xae;
  };
  unsigned code = byte;
  if (!printable(byte)) {
    code = 0x100;
    for (unsigned b = 0; b < byte; ++b) code += printable(b) ? 0 : 1;
  }
  if (code < 0x80) return {static_cast<char>(code)};
  return {static_cast<char>(0xc0 | (code >> 6)), static_cast<char>(0x80 | (code & 0x3f))};
}

GgufFields gguf_tokenizer(const fs::path& directory, const Json& config, std::int64_t vocab_size) {
  GgufFields fields;
  bool has_text = true;
  if (fs::exists(directory / kFile)) {
    fields = read_tokenizer(read_json(directory / kFile), vocab_size);
  } else if (fs::exists(directory / "tokenizer.model")) {
    refuse("it is a tokenizer.model, and only a tokenizer.json is read here");
  } else if (vocab_size == 256) {
    fields = byte_fields();
  } else {
    has_text = false;
    fields = {{"tokenizer.ggml.model", std::string("no_vocab")}};
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
  if (has_text) add_chat_template(directory, fields);
  return fields;
}

}  // namespace mnm
