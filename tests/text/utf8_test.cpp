#include "text/utf8.h"

#include <gtest/gtest.h>

#include "text/byte_letters.h"
#include "text/unicode_classes.h"

namespace mnm {
namespace {

constexpr const char* kMark = "\xef\xbf\xbd";  // U+FFFD

TEST(Utf8, EveryCodePointComesBack) {
  for (char32_t c = 0; c < 0x110000; c += c < 0x3000 ? 1 : 37) {
    std::string text;
    append_utf8(text, c);
    const CodePoint point = code_point_at(text, 0);
    const bool surrogate = c >= 0xd800 && c < 0xe000;
    ASSERT_EQ(point.valid, !surrogate) << std::hex << static_cast<unsigned>(c);
    if (!surrogate) {
      ASSERT_EQ(point.value, c);
      ASSERT_EQ(point.bytes, text.size());
    }
  }
}

// As Python's bytes.decode("utf-8", "replace") gives it.
TEST(Utf8, WhatIsNoneIsReplacedByLongestParts) {
  const std::pair<const char*, std::string> cases[] = {
      {"abc", "abc"},
      {"a\x80z", std::string("a") + kMark + "z"},
      {"\xc0\xaf", std::string(kMark) + kMark},
      {"\xe0\x9f\xbf", std::string(kMark) + kMark + kMark},
      {"\xed\xa0\x80", std::string(kMark) + kMark + kMark},
      {"\xf0\x9f\x98z", std::string(kMark) + "z"},
      {"\xf4\x90\x80\x80", std::string(kMark) + kMark + kMark + kMark},
      {"\xe2\x82", kMark},
      {"\xf0\x9f\x98\x80", "\xf0\x9f\x98\x80"},
  };
  for (const auto& [bytes, expected] : cases) {
    Utf8Stream whole, single;
    std::string out = whole.feed(bytes);  // one statement each: + evaluates in any order
    EXPECT_EQ(out + whole.finish(), expected) << bytes;
    out.clear();
    for (const char* c = bytes; *c != '\0'; ++c) out += single.feed({c, 1});
    EXPECT_EQ(out + single.finish(), expected) << bytes;
  }
  Utf8Stream stream;
  EXPECT_EQ(stream.feed("\xe2\x82"), "");
  EXPECT_EQ(stream.feed("\xac!"), "\xe2\x82\xac!");
  EXPECT_EQ(stream.finish(), "");
  EXPECT_EQ(valid_utf8("ab\xff"), 2u);
  EXPECT_EQ(valid_utf8("ab"), 2u);
}

TEST(ByteLetters, StandForBytes) {
  std::string all;
  for (int b = 0; b < 256; ++b) {
    const std::string letter = byte_letter(static_cast<unsigned char>(b));
    EXPECT_EQ(bytes_of_letters(letter), std::string(1, static_cast<char>(b)));
    all += letter;
  }
  EXPECT_EQ(byte_letter(' '), "\u0120");
  EXPECT_EQ(byte_letter(0xad), "\u0143");
  EXPECT_EQ(bytes_of_letters(all).size(), 256u);
  EXPECT_EQ(bytes_of_letters("two words"), "two words");  // a space is no byte letter
  EXPECT_EQ(bytes_of_letters("\u65e5"), "\u65e5");
}

TEST(UnicodeClasses, OfSomeCharacters) {
  for (const char32_t c : {U'a', U'\u00e9', U'\u65e5', U'\u02b0', char32_t{0x2b820}}) {
    EXPECT_TRUE(is_in(c, kLetters));
  }
  for (const char32_t c : {U'7', U'\u00b2', U'\u2167', U'\u0663'}) {
    EXPECT_TRUE(is_in(c, kNumbers));
  }
  for (const char32_t c : {U' ', U'\t', U'\u00a0', U'\u3000', U'\u0085'}) {
    EXPECT_TRUE(is_in(c, kSpaces));
  }
  for (const char32_t c :
       {U'_', U'\u0301', U'\x1c', U'\u200b', char32_t{0x1f600}, char32_t{0}, char32_t{0x10ffff}}) {
    EXPECT_FALSE(is_in(c, kLetters | kNumbers | kSpaces));
  }
}

}  // namespace
}  // namespace mnm
