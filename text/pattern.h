// The regular expressions by which tokenizer.json files split text. They are in the language of
// Oniguruma (Ruby's library). The part of it that public tokenizers use is read here, and gives the
// same matches. The time is linear in the length of the text.
//
// This is read:
//
// - characters and their escapes, sets, \s \S \d \D, \p{L} and the other general categories
// - groups, and (?i:...) over ASCII
// - | ? * + {n} {n,m}, and the lazy ?? *? +?
// - of a single character, the possessive ?+ *+ ++, and lookahead: (?!x) (?=x)
// - ^ and $, which are the ends of a line, as in Ruby.
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
  // Of characters beyond ASCII, the set has those of these classes and in these ranges. If it is
  // `negated`, it has all others.
  ClassSet classes = 0;
  std::vector<std::pair<char32_t, char32_t>> ranges;  // ascending, with gaps between them
  bool negated = false;

  bool has(char32_t c) const;
};

// One step of the machine that matches.
struct PatternStep {
  enum class Kind : std::uint8_t {
    kSet,         // takes one character of `set`
    kSplit,       // goes on at step `first`, or, if that fails, at step `second`
    kJump,        // goes on at step `first`
    kPossessive,  // takes all characters of `set` that follow: at least `first` of them, at most
                  // `second` (0: any number)
    kFollowed,    // the next character must be in `set`; it is not taken
    kUnfollowed,  // there must be no next character in `set`
    kLineStart,   // this must be the start of a line
    kLineEnd,     // this must be the end of a line
    kMatch,       // the match ends here
  };
  Kind kind = Kind::kMatch;
  std::uint32_t set = 0, first = 0, second = 0;
};

class Pattern {
 public:
  // Error if a part of the expression is not read, or if the expression matches an empty text. The
  // message is only the reason, and the caller adds the file.
  explicit Pattern(std::string_view expression);
  // A pattern that matches this text as it stands. The text is not empty.
  static Pattern literal(std::string_view text);

  const std::string& expression() const { return expression_; }  // of a literal, the text
  bool is_literal() const { return literal_; }

  // All matches, from left to right: [begin, end) in bytes of `text`, which is UTF-8.
  // O(steps x bytes), whatever the pattern is.
  std::vector<std::pair<std::size_t, std::size_t>> matches(std::string_view text) const;

 private:
  friend class PatternMatch;
  Pattern() = default;
  void find_first();

  std::string expression_;
  bool literal_ = false;
  std::vector<PatternStep> steps_;
  std::vector<CharSet> sets_;
  std::bitset<128> first_;    // the ASCII characters that a match may begin with
  std::uint32_t splits_ = 0;  // the number of kSplit steps; each has its number in `set`
};

// The text with `by` in the place of every match.
std::string replaced(std::string_view text, const Pattern& pattern, std::string_view by);

// Reads the "pattern" of a step: {"Regex": "..."} or {"String": "..."}. Error as in the
// constructor.
Pattern pattern_of(const nlohmann::json& step);

}  // namespace mnm
