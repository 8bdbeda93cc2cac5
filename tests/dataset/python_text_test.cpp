#include "dataset/python_text.h"

#include <gtest/gtest.h>

#include <string>

namespace mnm {
namespace {

// The expected numbers are those of Python 3.11: len(t), len(re.split(r"\s+", t)), and
// len(t.encode()) - len(t.rstrip().encode()).
TEST(PythonText, CountsAsPythonDoes) {
  struct Case {
    std::string text;
    std::int64_t characters, words;
    std::size_t space;
  };
  const Case cases[] = {
      {"", 0, 1, 0},
      {"word", 4, 1, 0},
      {"two words", 9, 2, 0},
      {" two  words\n", 12, 4, 1},
      {"   ", 3, 2, 3},
      {"caf\xc3\xa9 \xe2\x80\x94 x", 8, 3, 0},
      {"a\xc2\xa0\xe2\x80\x83\xe3\x80\x80", 4, 2, 8},  // no-break, em and ideographic space
      {"a\x1c\x1f", 3, 2, 2},                          // separators, which are space
      {"a\xe2\x80\x8b", 2, 1, 0},                      // zero-width space, which is none
      {"\xf0\x9f\x98\x80 \t", 3, 2, 2},
  };
  for (const Case& one : cases) {
    EXPECT_EQ(code_points(one.text), one.characters) << one.text;
    EXPECT_EQ(words_of_text(one.text), one.words) << one.text;
    EXPECT_EQ(trailing_space(one.text), one.space) << one.text;
  }
}

}  // namespace
}  // namespace mnm
