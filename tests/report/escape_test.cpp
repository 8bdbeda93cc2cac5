#include "report/escape.h"

#include <gtest/gtest.h>

#include "report/table.h"

namespace mnm {
namespace {

TEST(Printable, ControlCharactersAndBrokenTextAreEscaped) {
  const struct {
    std::string text, shown;
  } cases[] = {
      {"", ""},
      {"model.layers.0.mlp", "model.layers.0.mlp"},
      {"1.39 ± 0.02 µ 模 \xF0\x9F\x98\x80", "1.39 ± 0.02 µ 模 \xF0\x9F\x98\x80"},
      {"\x1b[2Jgone", "\\x1b[2Jgone"},
      {"a\rb\nc\td\x7f", "a\\x0db\\x0ac\\x09d\\x7f"},
      {std::string("a\0b", 3), "a\\x00b"},
      {"\xc2\x9b"
       "31m",
       "\\xc2\\x9b31m"},           // U+009B: the control sequence introducer in one
      {"\x9b", "\\x9b"},           // not UTF-8
      {"\xc0\x9b", "\\xc0\\x9b"},  // longer than need be
      {"\xe2\x82", "\\xe2\\x82"},  // cut short
      {"\xff\xe2\x82\xac", "\\xff\xe2\x82\xac"},
      {"\xed\xa0\x80", "\\xed\\xa0\\x80"},           // a surrogate
      {"\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80"},  // past U+10FFFF
      {"\xf4\x8f\xbf\xbd", "\xf4\x8f\xbf\xbd"},
      {"\xe0\x82\x9b", "\\xe0\\x82\\x9b"},  // longer than need be
      {"\xf0\x80\x82\x9b", "\\xf0\\x80\\x82\\x9b"},
  };
  for (const auto& c : cases) EXPECT_EQ(printable(c.text), c.shown) << c.shown;
  EXPECT_EQ(printable("a\n\x1b", "\n"), "a\n\\x1b");
}

// Two names that differ in these alone look the same.
TEST(Printable, WhatCannotBeSeenIsEscaped) {
  for (const char* invisible :
       {"\u00ad", "\u034f", "\u061c", "\u115f", "\u180e", "\u200b", "\u200c", "\u200d", "\u202e",
        "\u2028", "\u2060", "\u2800", "\u3164", "\ufe0f", "\ufeff", "\uffa0", "\U000e0041",
        "\U0001d173", "\U00013430"}) {
    const std::string text = invisible;
    EXPECT_EQ(printable(text + "a"), printable(text) + "a");
    EXPECT_EQ(printable(text).size(), 4 * text.size()) << printable_json(text);
    EXPECT_TRUE(printable_json(text).starts_with("\\u")) << text;
  }
  for (const std::string seen : {"\u00a0", "\u00ac", "\u0350", "\u2010", "\u3163", "\ufdff"}) {
    EXPECT_EQ(printable(seen), seen);
  }
}

TEST(Printable, WhatIsTooLongLosesItsMiddle) {
  EXPECT_EQ(shortened(std::string(64, 'a'), 64), std::string(64, 'a'));
  EXPECT_EQ(shortened(std::string(1000, 'a') + "end", 64),
            std::string(11, 'a') + " [... 987 bytes ...] " + "aaend");
  for (std::size_t length = 60; length < 400; ++length) {
    const std::string text = std::string(length % 3, 'x') + std::string(length, 'a') + "€€€€€€€€";
    std::string euros;
    while (euros.size() < length) euros += "€";
    for (const std::string& each : {text, euros}) {
      const std::string shown = shortened(each, 80);
      EXPECT_LE(shown.size(), 80u);
      EXPECT_EQ(printable(shown), shown) << "a character was cut";
    }
  }
}

TEST(Printable, TablesShowCellsSoAndKeepThemForPrograms) {
  const Table table{{{"name", "name", false}, {"n", "n"}},
                    {{cell("\x1b[2J"), cell(std::int64_t{1})}, {cell("x"), cell(std::int64_t{2})}}};
  EXPECT_EQ(table.text(), "name     n\n\\x1b[2J  1\nx        2\n");
  EXPECT_EQ(table.json()[0]["name"], "\x1b[2J");
}

}  // namespace
}  // namespace mnm
