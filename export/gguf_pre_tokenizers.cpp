#include "export/gguf_pre_tokenizers.h"

#include <algorithm>
#include <string_view>
#include <vector>

namespace mnm {
namespace {

// The expressions as the public tokenizer.json files spell them.
#define MNM_CONTRACTIONS "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define MNM_SPACES R"(|\s*[\r\n]+|\s+(?!\S)|\s+)"
constexpr std::string_view kByThree =
    MNM_CONTRACTIONS R"(|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*)" MNM_SPACES;
constexpr std::string_view kByOne =
    MNM_CONTRACTIONS R"(|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*)" MNM_SPACES;
// As OpenAI's cl100k is written elsewhere: what is possessive in it changes no match.
constexpr std::string_view kByThreeToo =
    R"('(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+)";
constexpr std::string_view kSeed =
    MNM_CONTRACTIONS R"(|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+)" MNM_SPACES;
constexpr std::string_view kQwen35 = MNM_CONTRACTIONS
    R"(|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*)" MNM_SPACES;
#define MNM_FIRST R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}])"
#define MNM_THEN R"([\p{Ll}\p{Lm}\p{Lo}\p{M}])"
constexpr std::string_view kO200k =
    MNM_FIRST "*" MNM_THEN "+" MNM_CONTRACTIONS "?|" MNM_FIRST "+" MNM_THEN "*" MNM_CONTRACTIONS
              R"(?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*)" MNM_SPACES;
constexpr std::string_view kTekken = MNM_FIRST "*" MNM_THEN "+|" MNM_FIRST "+" MNM_THEN
                                               R"(*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*)" MNM_SPACES;
constexpr std::string_view kDeepSeek3 =
    R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+)"
    R"(| ?[\p{P}\p{S}]+[\r\n]*)" MNM_SPACES;
#undef MNM_CONTRACTIONS
#undef MNM_SPACES
#undef MNM_FIRST
#undef MNM_THEN
constexpr std::string_view kBreaks = R"([\r\n])";
constexpr std::string_view kChinese = "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+";
constexpr std::string_view kDigits = "Digits", kByteLevel = "ByteLevel";

struct Known {
  const char* name;
  std::vector<std::string_view> expressions;
  bool ignores_merges;
};

const std::vector<Known>& known() {
  static const std::vector<Known> all = {
      {"gpt-2", {kByteLevel}, false},
      {"llama-bpe", {kByThree}, true},
      {"dbrx", {kByThree}, false},
      {"dbrx", {kByThreeToo}, false},
      {"seed-coder", {kSeed}, false},
      {"qwen2", {kByOne}, false},
      {"qwen35", {kQwen35}, false},
      {"smollm", {kDigits, kByteLevel}, false},
      {"gpt-4o", {kO200k}, false},
      {"tekken", {kTekken}, true},
      {"deepseek-coder", {kBreaks, R"(\s?\p{L}+)", R"(\s?\p{P}+)", kChinese, kDigits}, false},
      {"deepseek-v3",
       {R"(\p{N}{1,3})", "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+", kDeepSeek3},
       false},
  };
  return all;
}

// With escapes for ends of lines, which some files hold as they are.
std::string expression_of(const PreTokenizerStep& step) {
  const std::string& text = step.pattern->expression();
  if (text == kByteLevelExpression) return std::string(kByteLevel);
  if (text == kDigitExpression) return std::string(kDigits);
  std::string escaped;
  for (const char c : text) {
    if (c == '\r') {
      escaped += "\\r";
    } else if (c == '\n') {
      escaped += "\\n";
    } else {
      escaped += c;
    }
  }
  return escaped;
}

// DeepSeek-LLM lists its letters one by one, two thousand characters of them.
bool is_deepseek_llm(const std::vector<std::string>& expressions) {
  const auto lists = [](std::string_view text, std::string_view first, std::string_view last) {
    return text.starts_with(first) && text.ends_with(last);
  };
  return expressions.size() == 6 && expressions[0] == kBreaks &&
         lists(expressions[1], "\\s?[A-Za-z\u00b5\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u01ba",
               "\U000118df\U0001e900-\U0001e943]+") &&
         lists(expressions[2], "\\s?[!-/:-~", "\u3000-\u3002]+") && expressions[3] == "\\s+$" &&
         expressions[4] == kChinese && expressions[5] == kDigits;
}

}  // namespace

std::optional<std::string> gguf_pre_tokenizer(const TokenizerJson& tokenizer) {
  std::vector<std::string> expressions;
  for (const PreTokenizerStep& step : tokenizer.pre_tokenizer.steps) {
    if (step.kind != PreTokenizerStep::Kind::kSplit || step.inverted ||
        step.behavior != SplitBehavior::kIsolated) {
      return std::nullopt;
    }
    expressions.push_back(expression_of(step));
  }
  if (tokenizer.is_of_bytes()) return "gpt-2";  // every way gives the same bytes
  for (const Known& row : known()) {
    if (std::ranges::equal(row.expressions, expressions) &&
        row.ignores_merges == tokenizer.ignores_merges) {
      return row.name;
    }
  }
  if (is_deepseek_llm(expressions) && !tokenizer.ignores_merges) return "deepseek-llm";
  return std::nullopt;
}

}  // namespace mnm
