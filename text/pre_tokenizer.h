// The pre-tokenizer of a tokenizer.json: how a text is cut into pieces before tokens are merged. No
// merge reaches from one piece into the next. A pre-tokenizer is a list of steps, as plain data.
// Each step is applied to every piece that the step before it made.
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

// What becomes of a match.
enum class SplitBehavior : std::uint8_t {
  kRemoved,             // it is dropped
  kIsolated,            // it is a piece of its own
  kMergedWithPrevious,  // it belongs to the piece before it
  kMergedWithNext,      // it belongs to the piece after it
  kContiguous,          // matches that touch each other are one piece
};

struct PreTokenizerStep {
  enum class Kind : std::uint8_t {
    kSplit,      // splits a piece by `pattern`
    kMetaspace,  // replaces spaces by `text`, and may put `text` in front of the piece
    kPrefix,     // puts `text` in front of the piece, unless it begins with it
  };
  // Which pieces get `text` in front. kFirst: only the piece with which the whole text begins.
  enum class Prepend : std::uint8_t { kNever, kAlways, kFirst };

  Kind kind = Kind::kSplit;
  std::optional<Pattern> pattern = {};
  SplitBehavior behavior = SplitBehavior::kIsolated;
  bool inverted = false;  // what lies between the matches of `pattern` counts as the matches
  std::string text = {};
  Prepend prepend = Prepend::kNever;
  bool splits = false;  // a kMetaspace step then begins a piece at every `text`
};

struct PreTokenizer {
  std::vector<PreTokenizerStep> steps;
  bool byte_level = false;  // after the steps, pieces are spelled in byte letters (byte_letters.h)
};

// GPT-2's expression. The step ByteLevel splits by it, unless the file says otherwise.
extern const char* const kByteLevelExpression;
// What the step Digits takes for a digit.
extern const char* const kDigitExpression;

// Error for a step that is not read here; its message is only the reason, and the caller adds the
// file.
PreTokenizer parse_pre_tokenizer(const nlohmann::json& pre_tokenizer);

// Pieces of a text, none of them empty.
class Pieces {
 public:
  explicit Pieces(std::string_view text) : pieces_{text} {}

  // Applies the steps. `first`: whether the text is the beginning of the whole text.
  void apply(const PreTokenizer& pre_tokenizer, bool first);
  const std::vector<std::string_view>& all() const { return pieces_; }

 private:
  void split(const Pattern& pattern, SplitBehavior behavior, bool inverted);
  void rewrite(const PreTokenizerStep& step, bool first);

  std::vector<std::string_view> pieces_;
  std::deque<std::string> rewritten_;  // what pieces are views of after a step has rewritten them
};

}  // namespace mnm
