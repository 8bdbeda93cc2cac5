#include "text/tokenizer.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "base/json.h"
#include "tests/support/error_of.h"
#include "tests/support/python.h"
#include "tests/support/temp_dir.h"

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
  for (const auto& entry : fs::directory_iterator(root)) {
    if (!entry.is_directory()) continue;
    const std::string name = entry.path().filename().string();
    const nlohmann::json facts = read_json(root / (name + ".texts"));
    const Tokenizer tokenizer(
        find_tokenizer(entry.path(), facts["vocabulary"].get<std::int64_t>()).value());
    nlohmann::json answers = nlohmann::json::array();
    for (const nlohmann::json& text : facts["texts"]) {
      const auto ids = tokenizer.encode(text.get<std::string>());
      std::vector<std::int64_t> part;
      for (std::size_t i = 1; i < ids.size(); i += 2) part.push_back(ids[i]);
      answers.push_back(
          {{"ids", ids}, {"text", decoded(tokenizer, ids)}, {"part", decoded(tokenizer, part)}});
    }
    spew(root / (name + ".ids"), answers.dump());
    ++cases;
  }
  EXPECT_EQ(cases, 19 + 12);  // and FLAG_KINDS
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
