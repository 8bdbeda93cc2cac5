// How a tokenizer.json cuts text into pieces before its merges, which never cross from one piece to
// the next: steps, as data, each over every piece of the step before.
#pragma once

#include <cstdint>
#include <deque>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/pattern.h"

namespace mnm {

enum class SplitBehavior : std::uint8_t {
  kRemoved,   // what matches is dropped
  kIsolated,  // a piece of its own
  kMergedWithPrevious,
  kMergedWithNext,
  kContiguous,  // neighbouring matches are one piece
};

struct PreTokenizerStep {
  enum class Kind : std::uint8_t {
    kSplit,      // by `pattern`
    kMetaspace,  // spaces become `text`, which may be put in front
    kPrefix,     // `text` in front, unless it is there
  };
  enum class Prepend : std::uint8_t { kNever, kAlways, kFirst };  // kFirst: where the text starts

  Kind kind = Kind::kSplit;
  std::optional<Pattern> pattern = {};
  SplitBehavior behavior = SplitBehavior::kIsolated;
  bool inverted = false;  // the pattern says what lies between the matches
  std::string text = {};
  Prepend prepend = Prepend::kNever;
  bool splits = false;  // before every `text`
};

struct PreTokenizer {
  std::vector<PreTokenizerStep> steps;
  bool byte_level = false;  // pieces are then spelled in byte letters (byte_letters.h)
};

// GPT-2's expression, which ByteLevel splits by on its own.
extern const char* const kByteLevelExpression;
// What Digits takes for one.
extern const char* const kDigitExpression;

// Error, with the reason alone, for a step that is not read.
PreTokenizer parse_pre_tokenizer(const nlohmann::json& pre_tokenizer);

// Pieces of a text, none of them empty.
class Pieces {
 public:
  explicit Pieces(std::string_view text) : pieces_{text} {}

  // `first`: the text is where a whole one begins.
  void apply(const PreTokenizer& pre_tokenizer, bool first);
  const std::vector<std::string_view>& all() const { return pieces_; }

 private:
  void split(const Pattern& pattern, SplitBehavior behavior, bool inverted);
  void rewrite(const PreTokenizerStep& step, bool first);

  std::vector<std::string_view> pieces_;
  std::deque<std::string> rewritten_;  // what they are views of, where it is not the text
};

}  // namespace mnm
