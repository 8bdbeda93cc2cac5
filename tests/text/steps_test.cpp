// Normalizers and pre-tokenizers, each by itself.
#include <gtest/gtest.h>

#include "base/json.h"
#include "tests/support/error_of.h"
#include "tests/support/python.h"
#include "tests/support/temp_dir.h"
#include "text/byte_letters.h"
#include "text/normalizer.h"
#include "text/pre_tokenizer.h"

namespace mnm {
namespace {

using Json = nlohmann::json;
using test::contains;
using test::error_of;
using test::TempDir;

std::vector<std::string> pieces_of(const PreTokenizer& pre_tokenizer, std::string_view text) {
  Pieces pieces(text);
  pieces.apply(pre_tokenizer, true);
  std::vector<std::string> out;
  for (const std::string_view piece : pieces.all()) {
    std::string& letters = out.emplace_back(pre_tokenizer.byte_level ? "" : piece);
    for (const char c : pre_tokenizer.byte_level ? piece : "") {
      letters += byte_letter(static_cast<unsigned char>(c));
    }
  }
  return out;
}

TEST(TextSteps, AreThoseOfTheTokenizersPackage) {
  if (!test::python_has("transformers")) GTEST_SKIP() << test::kNoPython;
  const TempDir dir;
  const auto failure = [&](const std::vector<std::filesystem::path>& arguments) {
    return test::python_failure("text/steps_check.py", arguments, dir);
  };
  ASSERT_EQ(failure({"make", dir / "asked.json"}), "");
  const Json asked = read_json(dir / "asked.json");
  Json answers = {{"normalized", Json::array()}, {"pieces", Json::array()}};
  for (const Json& step : asked["normalizers"]) {
    const std::vector<NormalizerStep> normalizer = parse_normalizer(step);
    Json given = Json::array();
    for (const auto& text : asked["texts"]) {
      given.push_back(normalized(text.get<std::string>(), normalizer));
    }
    answers["normalized"].push_back(given);
  }
  for (const Json& step : asked["pre_tokenizers"]) {
    const PreTokenizer pre_tokenizer = parse_pre_tokenizer(step);
    Json given = Json::array();
    for (const auto& text : asked["texts"]) {
      given.push_back(pieces_of(pre_tokenizer, text.get<std::string>()));
    }
    answers["pieces"].push_back(given);
  }
  test::spew(dir / "answers.json", answers.dump());
  EXPECT_EQ(failure({"judge", dir / "asked.json", dir / "answers.json"}), "");
  for (const char* table : {"classes", "decompositions", "combining", "lowercase"}) {
    const std::string file = std::string(MNM_SOURCE_DIR "/text/unicode_") + table + ".inc";
    EXPECT_EQ(test::python_failure("text/unicode_tables.py", {table, file}, dir), "") << table;
  }
}

TEST(TextSteps, WhatIsNotReadIsNamed) {
  struct Case {
    const char* json;
    const char* phrase;
  };
  const Case normalizers[] = {
      {R"({"type": "BertNormalizer"})", "'BertNormalizer'"},
      {R"({"type": "Precompiled"})", "'Precompiled'"},
      {R"(7)", "normalizer ''"},
      {R"({"type": "Sequence"})", "no list"},
      {R"({"type": "Sequence", "normalizers": [{"type": "Nmt"}]})", "'Nmt'"},
      {R"({"type": "Replace", "pattern": {"String": ""}, "content": "a"})", "empty text"},
      {R"({"type": "Replace", "pattern": {"Regex": "a*"}, "content": "a"})", "nothing at all"},
  };
  for (const auto& [json, phrase] : normalizers) {
    const std::string error = error_of([&] { parse_normalizer(Json::parse(json)); });
    EXPECT_TRUE(contains(error, phrase)) << json << ": " << error;
  }
  Json nested = {{"type", "NFC"}};
  for (int i = 0; i < 10; ++i) nested = {{"type", "Sequence"}, {"normalizers", {nested}}};
  EXPECT_TRUE(contains(error_of([&] { parse_normalizer(nested); }), "nested deeper"));
  const Case pre_tokenizers[] = {
      {R"({"type": "BertPreTokenizer"})", "'BertPreTokenizer'"},
      {R"({"type": "Split", "pattern": {"String": "a"}, "behavior": "x"})", "'x'"},
      {R"({"type": "Metaspace", "replacement": ""})", "no replacement"},
      {R"({"type": "Metaspace", "replacement": "_", "prepend_scheme": "last"})", "'last'"},
      {R"({"type": "Sequence", "pretokenizers": [{"type": "ByteLevel"}, {"type": "ByteLevel"}]})",
       "after ByteLevel"},
  };
  for (const auto& [json, phrase] : pre_tokenizers) {
    const std::string error = error_of([&] { parse_pre_tokenizer(Json::parse(json)); });
    EXPECT_TRUE(contains(error, phrase)) << json << ": " << error;
  }
}

TEST(Pattern, WhatIsNotReadIsNamed) {
  const std::pair<const char*, const char*> cases[] = {
      {"\\w+", "'\\w'"},
      {"(a)\\1", "'\\1'"},
      {"a\\", "last '\\'"},
      {"(?<n>a)", "'(?'"},
      {"(?<=a)b", "'(?'"},
      {"(?!ab)c", "look ahead"},
      {"[a&&b]", "'&&'"},
      {"[[:alpha:]]", "set inside"},
      {"[a", "open '['"},
      {"[b-a]", "range"},
      {"[a-\\d]", "range"},
      {"(a", "open '('"},
      {"a)", ")"},
      {"*a", "'*'"},
      {"a**", "repetition of a repetition"},
      {"(a*)*b", "may be empty"},
      {"(?:ab)++", "possessive group"},
      {"a{", "'{'"},
      {"a{3,1}", "'{'"},
      {"a{99999999999}", "count"},
      {"a{1,2}+", "after '}'"},
      {"(?:(?:a{1000}){1000})", "longer"},
      {"\\p{Han}", "\\p{Han}"},
      {"\\p{L", "\\p{L"},
      {"\\x{110000}", "number"},
      {"\\u12", "number"},
      {"(?i:\u00e9)", "outside of ASCII"},
      {"(?i:ss)", "ligature"},
      {"a\xff", "UTF-8"},
      {"", "nothing at all"},
      {"a|", "nothing at all"},
      {"$", "nothing at all"},
  };
  for (const auto& [expression, phrase] : cases) {
    const std::string error = error_of([&] { Pattern{expression}; });
    EXPECT_TRUE(contains(error, phrase)) << expression << ": " << error;
  }
  const std::string deep = std::string(100000, '(') + "a" + std::string(100000, ')');
  EXPECT_TRUE(contains(error_of([&] { Pattern{deep}; }), "depth"));
}

// Expressions that back-tracking alone would take the square of the text for, or two to its power.
TEST(Pattern, HostileOnesTakeLinearTime) {
  std::string text(1 << 17, 'a');
  text += 'c';
  for (const char* expression :
       {"(?:a|a)+b", "(?:a+)+b", "a+$", "a++b", "a+a+a+a+b", "a+(?!a)b", "(?:a|aa|aaa)+b"}) {
    EXPECT_TRUE(Pattern(expression).matches(text).empty()) << expression;
  }
}

}  // namespace
}  // namespace mnm
