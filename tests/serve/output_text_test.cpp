#include "serve/output_text.h"

#include <gtest/gtest.h>

#include "text/tokenizer.h"

namespace mnm {
namespace {

const Tokenizer& bytes() {
  static const Tokenizer tokenizer(byte_tokenizer());
  return tokenizer;
}

struct Whole {
  std::string text;
  std::size_t tokens = 0;
  std::vector<std::int64_t> offsets;
  bool stopped = false;
  std::vector<std::string> pieces;
};

// Feeds `text` byte by byte, as its tokens come.
Whole run(const std::string& text, const std::vector<std::string>& stop) {
  OutputText output(bytes().decoder(), stop);
  Whole whole;
  const auto take = [&](const OutputPiece& piece) {
    whole.text += piece.text;
    whole.tokens += piece.tokens.size();
    whole.offsets.insert(whole.offsets.end(), piece.text_offsets.begin(), piece.text_offsets.end());
    whole.stopped = piece.stopped;
    whole.pieces.push_back(piece.text);
  };
  for (const char c : text) {
    take(output.feed({static_cast<unsigned char>(c), -1, {}}));
    if (whole.stopped) return whole;
  }
  take(output.finish());
  return whole;
}

TEST(OutputText, GivesTextAsItComes) {
  const Whole whole = run("abc", {});
  EXPECT_EQ(whole.pieces, (std::vector<std::string>{"a", "b", "c", ""}));
  EXPECT_EQ(whole.offsets, (std::vector<std::int64_t>{0, 1, 2}));
}

TEST(OutputText, ACharacterComesWhole) {
  EXPECT_EQ(run("\xc3\xa9x", {}).pieces, (std::vector<std::string>{"", "\xc3\xa9", "x", ""}));
  EXPECT_EQ(run("\xc3", {}).text, "\xef\xbf\xbd");  // U+FFFD, at the end
}

TEST(OutputText, AStopStringNeverGoesOut) {
  struct Case {
    std::string text;
    std::vector<std::string> stop;
    std::string out;
    bool stopped;
  };
  const Case cases[] = {
      {"hello STOP more", {"STOP"}, "hello ", true},
      {"hello STO", {"STOP"}, "hello STO", false},
      {"aab", {"ab"}, "a", true},
      {"aaab", {"aab"}, "a", true},
      {"abcabd", {"abd"}, "abc", true},
      {"x", {"x"}, "", true},
      {"one two", {"two", "one"}, "", true},
      {"xyz", {"yz", "xyz!"}, "x", true},
      {"caf\xc3\xa9!", {"\xc3\xa9"}, "caf", true},
      {"", {"a"}, "", false},
  };
  for (const Case& c : cases) {
    const Whole whole = run(c.text, c.stop);
    EXPECT_EQ(whole.text, c.out) << c.text;
    EXPECT_EQ(whole.stopped, c.stopped) << c.text;
  }
}

TEST(OutputText, TokensGoOutWithTheirText) {
  const Whole whole = run("ab", {"abc"});
  EXPECT_EQ(whole.pieces, (std::vector<std::string>{"", "", "ab"}));
  EXPECT_EQ(whole.tokens, 2u);
  EXPECT_EQ(run("abcd", {"cd"}).tokens, 2u);  // those of the stop string stay inside
}

TEST(OutputText, ThePromptGoesFirstAndStopsNothing) {
  OutputText output(bytes().decoder(), {"a"});
  EXPECT_EQ(output.feed_prompt({'a', 0, {}}, true).text, "a");
  EXPECT_EQ(output.feed_prompt({'b', 0, {}}, true).text_offsets.at(0), 1);
  const OutputPiece piece = output.feed({'c', 0, {}});
  EXPECT_EQ(piece.text, "c");
  EXPECT_EQ(piece.text_offsets.at(0), 2);
  OutputText hidden(bytes().decoder(), {});
  EXPECT_EQ(hidden.feed_prompt({'a', 0, {}}, false).tokens.size(), 0u);
  EXPECT_EQ(hidden.feed({'c', 0, {}}).text_offsets.at(0), 0);
}

TEST(OutputText, WithoutWordsThereAreTokens) {
  OutputText output(std::nullopt, {"a"});
  const OutputPiece piece = output.feed({'a', 0, {}});
  EXPECT_EQ(piece.text, "");
  EXPECT_EQ(piece.tokens.size(), 1u);
  EXPECT_FALSE(piece.stopped);
}

}  // namespace
}  // namespace mnm
