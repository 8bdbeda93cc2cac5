// The regular expressions that tokenizer.json files split text by: the part of Oniguruma's (Ruby's)
// language that they use, with the same matches, in time that is linear in the text.
//
// Read are: characters and their escapes, sets, \s \S \d \D, \p{L} and the other general
// categories, groups and (?i:...) over ASCII, | ? * + {n} {n,m}, the lazy ?? *? +? and the
// possessive ?+ *+ ++ of a single character, (?!x) and (?=x) of a single character, ^ and $ (of
// lines, as Ruby has it).
#pragma once

#include <bitset>
#include <cstddef>
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/unicode_classes.h"

namespace mnm {

// A set of characters.
struct CharSet {
  std::bitset<128> ascii;
  ClassSet classes = 0;                               // beyond ASCII: of these classes,
  std::vector<std::pair<char32_t, char32_t>> ranges;  // or in one of these, ascending and apart
  bool negated = false;                               // beyond ASCII

  bool has(char32_t c) const;
};

// One step of the machine that matches.
struct PatternStep {
  enum class Kind : std::uint8_t {
    kSet,         // one character of `set`
    kSplit,       // go on at `first`, or if that fails at `second`
    kJump,        // at `first`
    kPossessive,  // as many of `set` as there are, at least `first`, at most `second`; 0: any
                  // number
    kFollowed,    // by one of `set`
    kUnfollowed,  // by none of `set`
    kLineStart,
    kLineEnd,
    kMatch,
  };
  Kind kind = Kind::kMatch;
  std::uint32_t set = 0, first = 0, second = 0;
};

class Pattern {
 public:
  // Error, with the reason alone, for what is not read, and what matches nothing at all.
  explicit Pattern(std::string_view expression);
  // Of a text as it stands. Not empty.
  static Pattern literal(std::string_view text);

  const std::string& expression() const { return expression_; }

  // All matches from the left on, [begin, end) in bytes of `text`, which is UTF-8.
  // O(steps x bytes), whatever the pattern.
  std::vector<std::pair<std::size_t, std::size_t>> matches(std::string_view text) const;

 private:
  friend class PatternMatch;
  Pattern() = default;
  void find_first();

  std::string expression_;
  std::vector<PatternStep> steps_;
  std::vector<CharSet> sets_;
  std::bitset<128> first_;    // the ASCII characters that a match may begin with
  std::uint32_t splits_ = 0;  // number of kSplit; their `set` numbers them
};

// With `by` in place of every match.
std::string replaced(std::string_view text, const Pattern& pattern, std::string_view by);

// A step's "pattern": {"Regex": "..."} or {"String": "..."}. Error, with the reason alone.
Pattern pattern_of(const nlohmann::json& step);

}  // namespace mnm
