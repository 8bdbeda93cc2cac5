#include "text/tokenizer.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <limits>
#include <random>
#include <set>
#include <utility>

#include "base/json.h"
#include "tests/support/cpu_seconds.h"
#include "tests/support/error_of.h"
#include "tests/support/gemma_tokenizer.h"
#include "tests/support/python.h"
#include "tests/support/temp_dir.h"
#include "text/byte_tokens.h"

namespace mnm {
namespace {

namespace fs = std::filesystem;
using test::contains;
using test::error_of;
using test::spew;
using test::TempDir;

std::string decoded(const Tokenizer& tokenizer, const std::vector<std::int64_t>& ids) {
  TokenDecoder decoder = tokenizer.decoder();
  std::string text;
  for (const std::int64_t id : ids) text += decoder.feed(id);
  return text + decoder.finish();
}

TEST(Tokenizer, IsThatOfTheTokenizersPackage) {
  if (!test::python_has("transformers")) GTEST_SKIP() << test::kNoPython;
  const TempDir dir;
  const fs::path root = dir / "cases", reference = MNM_SOURCE_DIR "/data/reference";
  const auto failure = [&](const std::string& script, const std::vector<fs::path>& arguments) {
    return test::python_failure("text/" + script, arguments, dir);
  };
  fs::create_directory(root);
  ASSERT_EQ(failure("tokenizer_check.py", {"make", root, reference / "held_out.txt", reference}),
            "");
  int cases = 0;
  std::set<std::string> bounded;  // those whose longest token is known
  for (const auto& entry : fs::directory_iterator(root)) {
    if (!entry.is_directory()) continue;
    const std::string name = entry.path().filename().string();
    const nlohmann::json facts = read_json(root / (name + ".texts"));
    const Tokenizer tokenizer(
        find_tokenizer(entry.path(), facts["vocabulary"].get<std::int64_t>()).value());
    nlohmann::json answers = nlohmann::json::array();
    for (const nlohmann::json& text : facts["texts"]) {
      const auto ids = tokenizer.encode(text.get<std::string>());
      if (const auto longest = tokenizer.longest_token()) {
        EXPECT_LE(text.get<std::string>().size(), ids.size() * *longest) << name;
        bounded.insert(name);
      }
      std::vector<std::int64_t> part;
      for (std::size_t i = 1; i < ids.size(); i += 2) part.push_back(ids[i]);
      answers.push_back(
          {{"ids", ids}, {"text", decoded(tokenizer, ids)}, {"part", decoded(tokenizer, part)}});
    }
    spew(root / (name + ".ids"), answers.dump());
    ++cases;
  }
  EXPECT_EQ(cases, 19 + 12);  // and FLAG_KINDS
  EXPECT_GE(bounded.size(), 3u);
  EXPECT_EQ(failure("tokenizer_check.py", {"judge", root}), "");
}

TEST(Tokenizer, BytesAreTokensWhateverTheyAre) {
  const Tokenizer tokenizer(byte_tokenizer());
  std::string all;
  for (int b = 0; b < 256; ++b) all += static_cast<char>(b);
  const auto ids = tokenizer.encode(all);
  ASSERT_EQ(ids.size(), 256u);
  for (std::size_t i = 0; i < 256; ++i) {
    EXPECT_EQ(ids[i], static_cast<std::int64_t>(i));
  }
  EXPECT_EQ(decoded(tokenizer, {0xc3, 0xa9, 0xff, 'a', 0xc3}), "\u00e9\ufffda\ufffd");
  EXPECT_TRUE(tokenizer.encode("").empty());
}

// A long piece must not take the square of its length.
TEST(Tokenizer, LongPiecesAreMergedInTime) {
  TokenizerJson json = byte_tokenizer();
  json.tokens.resize(260);
  std::string token = "a";
  for (std::int32_t id = 256; id < 260; ++id) {
    json.merges.emplace_back(token, token);
    token += token;
    json.tokens[static_cast<std::size_t>(id)] = {token, TokenKind::kNormal, true};
    json.ids[token] = id;
  }
  const Tokenizer tokenizer(json);
  const auto ids = tokenizer.encode(std::string(1 << 20, 'a') + "aaaaa");
  ASSERT_EQ(ids.size(), (1u << 16) + 2);
  EXPECT_EQ(ids[0], 259);
  EXPECT_EQ(ids.back(), 'a');
}

// All text between two of Gemma's added tokens is one word: a quadratic step would take 16 times as
// long for 4 times the text. (bench/gemma_words.py has the time itself, with Gemma's sizes.)
TEST(Tokenizer, AWordOfGemmasKindGrowsByLittleMoreThanItsLength) {
  const nlohmann::json json = test::gemma_tokenizer();
  const Tokenizer tokenizer(parse_tokenizer_json(json, std::ssize(json["model"]["vocab"])));
  std::mt19937 random(1);
  std::string text;
  while (text.size() < 1u << 20)
    text += random() % 6 == 0 ? ' ' : static_cast<char>('a' + random() % 26);
  const auto cost = [&](std::size_t bytes) {
    const std::string part = text.substr(0, bytes);
    double least = std::numeric_limits<double>::infinity();
    for (int round = 0; round < 3; ++round) {
      least = std::min(least, test::cpu_seconds([&] {
                         const auto ids = tokenizer.encode(part);
                         EXPECT_LT(ids.size(), bytes);
                       }));
    }
    return least;
  };
  EXPECT_LT(cost(1 << 20), 8 * cost(1 << 18));
}

// Of many pieces, and of one long one.
TEST(Tokenizer, ALongTextIsGivenUpWhenItIsNotWanted) {
  std::string words;
  while (words.size() < (1u << 16)) words += fmt::format("w{} ", words.size());
  for (const bool cut : {false, true}) {
    TokenizerJson json = byte_tokenizer();
    json.merges.emplace_back("a", "a");
    json.tokens.push_back({"aa", TokenKind::kNormal, true});
    json.ids["aa"] = 256;
    if (cut) {
      json.pre_tokenizer.steps.push_back(
          {PreTokenizerStep::Kind::kSplit, Pattern(kByteLevelExpression)});
    }
    const Tokenizer tokenizer(json);
    const std::string text = cut ? words : std::string(1 << 16, 'a');
    double done = 0;
    int asked = 0;
    const auto ids = tokenizer.encode(text, Template::kApply, [&](const Progress& progress) {
      EXPECT_GE(progress.done, done);
      EXPECT_LE(progress.done, progress.total);
      done = progress.done;
      return ++asked > 0;
    });
    EXPECT_EQ(ids, tokenizer.encode(text));
    EXPECT_GT(asked, 8) << cut;
    for (const int last : {1, 2, 3, 8}) {
      asked = 0;
      EXPECT_THROW(
          tokenizer.encode(text, Template::kApply, [&](const Progress&) { return ++asked < last; }),
          Stopped);
      EXPECT_EQ(asked, last);
    }
  }
}

TEST(Tokenizer, KnowsTheMostBytesOfAToken) {
  using Kind = NormalizerStep::Kind;
  const auto longest = [](const TokenizerJson& json) { return Tokenizer(json).longest_token(); };
  const auto with = [&](TokenizerJson json, const NormalizerStep& step) {
    json.normalizer.push_back(step);
    return longest(json);
  };
  const auto added = [](TokenizerJson json, bool first) {
    json.tokens.push_back({"<a b>", TokenKind::kSpecial, false, first});
    return json;
  };
  const auto token = [](TokenizerJson& json, const std::string& text) {
    json.ids[text] = static_cast<std::int32_t>(json.tokens.size());
    json.tokens.push_back({text, TokenKind::kNormal, true});
  };
  const TokenizerJson bytes = byte_tokenizer();
  EXPECT_EQ(longest(bytes), 1u);
  EXPECT_EQ(longest(added(bytes, true)), 5u);
  TokenizerJson merged = bytes;  // of three spaces, which are six bytes as letters
  for (const char* text : {"ĠĠ", "ĠĠĠ"}) token(merged, text);
  merged.merges = {{"Ġ", "Ġ"}, {"ĠĠ", "Ġ"}};
  EXPECT_EQ(longest(merged), 3u);

  // SentencePiece's: spaces become three bytes before tokens are looked for.
  TokenizerJson characters;
  for (int byte = 0; byte < 256; ++byte) {
    token(characters, byte_token(static_cast<unsigned char>(byte)));
  }
  characters.byte_fallback = true;
  characters.normalizer = {{Kind::kPrepend, "▁"}, {Kind::kReplace, "▁", Pattern::literal(" ")}};
  EXPECT_EQ(longest(characters), 6u);                 // <0x00>, of one byte
  EXPECT_EQ(longest(added(characters, false)), 10u);  // ▁<a▁b>

  // No number where a text becomes shorter by more than its tokens say.
  for (const auto& [left, right] : {std::pair(true, false), {false, true}}) {
    TokenizerJson takes = added(bytes, true);
    takes.tokens.back().takes_left = left;
    takes.tokens.back().takes_right = right;
    EXPECT_FALSE(longest(takes)) << left;
  }
  TokenizerJson lacks = bytes;
  lacks.ids.erase("a");
  EXPECT_FALSE(longest(lacks));
  characters.byte_fallback = false;
  EXPECT_FALSE(longest(characters));
  for (const Kind kind : {Kind::kNfc, Kind::kNfkd, Kind::kLowercase, Kind::kStrip}) {
    EXPECT_FALSE(with(merged, {kind}));
  }
  EXPECT_FALSE(with(merged, {Kind::kReplace, "ab", Pattern::literal("abc")}));
  EXPECT_FALSE(with(merged, {Kind::kReplace, "long enough", Pattern("a+")}));
  EXPECT_TRUE(with(merged, {Kind::kReplace, "abc", Pattern::literal("abc")}));
  merged.pre_tokenizer.steps.push_back(
      {PreTokenizerStep::Kind::kSplit, Pattern(" "), SplitBehavior::kRemoved});
  EXPECT_FALSE(longest(merged));
}

TEST(Tokenizer, RefusesWhatItDoesNotKnow) {
  TempDir dir;
  const auto made = [&](const nlohmann::json& json) {
    spew(dir / "tokenizer.json", json.dump());
    return error_of([&] { Tokenizer(find_tokenizer(dir.path(), 300).value()); });
  };
  nlohmann::json sound = read_json(MNM_SOURCE_DIR "/data/reference/tokenizer.json");
  sound["model"]["vocab"]["ab"] = 256;
  sound["model"]["merges"] = nlohmann::json::parse(R"([["a", "b"]])");
  sound["pre_tokenizer"]["use_regex"] = true;
  sound["added_tokens"] =
      nlohmann::json::parse(R"([{"id": 257, "content": "<s>", "special": true}])");
  EXPECT_EQ(made(sound), "");
  struct Case {
    const char* at;
    std::string value;  // JSON
    const char* phrase;
  };
  // So many times a token of so many ids before the text.
  const auto template_of = [](std::size_t times, std::size_t ids) {
    nlohmann::json single = std::vector<nlohmann::json>(times, {{"SpecialToken", {{"id", "z"}}}});
    single.push_back({{"Sequence", {{"id", "A"}}}});
    const nlohmann::json token = {{"ids", std::vector<int>(ids, 1)}};
    return nlohmann::json{
        {"type", "TemplateProcessing"}, {"single", single}, {"special_tokens", {{"z", token}}}}
        .dump();
  };
  const Case cases[] = {
      {"/model/type", R"("WordPiece")", "WordPiece"},
      {"/model/vocab/ab", "300", "outside"},
      {"/model/vocab/ab", "-1", "outside"},
      {"/model/vocab/ab", R"("x")", "outside"},
      {"/model/vocab/ab", "18446744073709551615", "outside"},
      {"/model/vocab/ab", "1e300", "outside"},
      {"/model/vocab/ab", "97", "two tokens"},
      {"/model/merges/0", R"(["a", "c"])", "'ac', which is no token"},
      {"/model/merges/0", R"(["a", "zz"])", "'zz', which is no token"},
      {"/model/merges/0", R"(["a", ""])", "two tokens"},
      {"/model/merges/0", "7", "merges"},
      {"/model/unk_token", R"("<unk>")", "'<unk>' is no token"},
      {"/decoder", "null", "decoder"},
      {"/decoder", R"({"type": "WordPiece"})", "'WordPiece'"},
      {"/decoder",
       R"({"type": "Sequence", "decoders": [{"type": "Fuse"}, {"type": "ByteFallback"}]})",
       "'ByteFallback' where"},
      {"/decoder", R"({"type": "Strip", "content": " ", "start": 1, "stop": 0})", "'Strip'"},
      {"/normalizer", R"({"type": "Nmt"})", "'Nmt'"},
      {"/pre_tokenizer", R"({"type": "Whitespace"})", "'Whitespace'"},
      {"/pre_tokenizer",
       R"({"type": "Split", "pattern": {"Regex": "\\w+"}, "behavior": "Isolated"})", "'\\w'"},
      {"/added_tokens/0/id", R"("x")", "outside"},
      {"/added_tokens", R"("x")", "no list"},
      {"/post_processor", R"({"type": "BertProcessing"})", "BertProcessing"},
      {"/post_processor",
       R"({"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<x>"}}]})",
       "'<x>', which is no token"},
      {"/post_processor",
       R"({"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>"}}]})",
       "leaves the text out"},
      {"/post_processor", template_of(1, 2000), "a token of 2000 ids"},
      {"/post_processor", template_of(20'000, 1000), "more than 1024 tokens"},
  };
  // Steps cost a pass through the text each.
  const auto sequence = [](std::size_t steps) {
    return nlohmann::json{{"type", "Sequence"},
                          {"normalizers", std::vector<nlohmann::json>(steps, {{"type", "NFKD"}})}};
  };
  nlohmann::json long_sequence = sound;
  long_sequence["normalizer"] = sequence(64);
  EXPECT_EQ(made(long_sequence), "");
  long_sequence["normalizer"]["normalizers"].push_back(sequence(3));
  EXPECT_TRUE(contains(made(long_sequence), "sequence of normalizers has 67 steps"))
      << made(long_sequence);
  for (const Case& c : cases) {
    nlohmann::json broken = sound;
    broken[nlohmann::json::json_pointer(c.at)] = nlohmann::json::parse(c.value);
    EXPECT_TRUE(contains(made(broken), c.phrase)) << c.at << ": " << made(broken);
  }
  EXPECT_TRUE(contains(error_of([&] { find_tokenizer(dir.path(), std::int64_t{1} << 40); }),
                       "at most 4194304"));
  nlohmann::json long_added = sound;
  long_added["added_tokens"][0]["content"] = std::string(5000, 'a');
  EXPECT_TRUE(contains(made(long_added), "5000 bytes"));
  spew(dir / "tokenizer.json", sound.dump());
  const Tokenizer tokenizer(find_tokenizer(dir.path(), 300).value());
  EXPECT_EQ(tokenizer.encode("ab<s>b"), (std::vector<std::int64_t>{256, 257, 'b'}));
  EXPECT_EQ(decoded(tokenizer, {257, 'x', 299}), "x");
  EXPECT_TRUE(contains(error_of([&] { tokenizer.encode("ab\xff"); }), "no UTF-8 at byte 2"));
  fs::remove(dir / "tokenizer.json");
  EXPECT_FALSE(find_tokenizer(dir.path(), 300).has_value());
  spew(dir / "tokenizer.model", "");
  EXPECT_TRUE(contains(error_of([&] { find_tokenizer(dir.path(), 300); }), "tokenizer.model"));
}

}  // namespace
}  // namespace mnm
