#include "text/pre_tokenizer.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/error.h"
#include "text/json_members.h"
#include "text/utf8.h"

namespace mnm {

const char* const kByteLevelExpression =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

// Digits knows Unicode 17, which has numbers that the package's expressions do not know.
const char* const kDigitExpression = R"([\p{N}\x{11de0}-\x{11de9}\x{16ff4}-\x{16ff6}])";

namespace {

using Json = nlohmann::json;
using Kind = PreTokenizerStep::Kind;

constexpr std::pair<const char*, SplitBehavior> kBehaviors[] = {
    {"Removed", SplitBehavior::kRemoved},
    {"Isolated", SplitBehavior::kIsolated},
    {"MergedWithPrevious", SplitBehavior::kMergedWithPrevious},
    {"MergedWithNext", SplitBehavior::kMergedWithNext},
    {"Contiguous", SplitBehavior::kContiguous}};

PreTokenizerStep parse_split(const Json& json) {
  PreTokenizerStep step{Kind::kSplit, pattern_of(json)};
  const std::string name = text_of(json, "behavior");
  for (const auto& [known, behavior] : kBehaviors) {
    if (name != known) continue;
    step.behavior = behavior;
    step.inverted = is_set(json, "invert");
    return step;
  }
  fail("it splits text with the behavior '{}', which is not read here", name);
}

PreTokenizerStep parse_metaspace(const Json& json) {
  PreTokenizerStep step{Kind::kMetaspace};
  step.text = text_of(json, "replacement");
  if (step.text.empty()) fail("its Metaspace has no replacement");
  if (code_point_at(step.text, 0).bytes != step.text.size()) {
    fail("its Metaspace has a replacement of several characters");
  }
  const std::string scheme = text_of(json, "prepend_scheme");
  using enum PreTokenizerStep::Prepend;
  if (scheme.empty()) {
    // Older files say it so; left out, it is on.
    step.prepend = member(json, "add_prefix_space") == Json(false) ? kNever : kAlways;
  } else if (scheme != "always" && scheme != "first" && scheme != "never") {
    fail("its Metaspace has the prepend_scheme '{}', which is not read here", scheme);
  } else {
    step.prepend = scheme == "always" ? kAlways : scheme == "first" ? kFirst : kNever;
  }
  step.splits = !(member(json, "split") == Json(false));
  return step;
}

void parse_byte_level(const Json& json, PreTokenizer& out) {
  // Left out, both are on.
  if (!(member(json, "add_prefix_space") == Json(false))) {
    PreTokenizerStep step{Kind::kPrefix};
    step.text = " ";
    out.steps.push_back(std::move(step));
  }
  if (!(member(json, "use_regex") == Json(false))) {
    out.steps.push_back({Kind::kSplit, Pattern(kByteLevelExpression)});
  }
  out.byte_level = true;
}

struct Part {
  std::size_t begin, end;
  bool match;
};

// Matches and what lies between them: together all of the piece.
std::vector<Part> parts_of(std::string_view piece, const Pattern& pattern, bool inverted) {
  std::vector<Part> parts;
  std::size_t at = 0;
  for (const auto& [begin, end] : pattern.matches(piece)) {
    if (at < begin) parts.push_back({at, begin, inverted});
    parts.push_back({begin, end, !inverted});
    at = end;
  }
  if (at < piece.size()) parts.push_back({at, piece.size(), inverted});
  return parts;
}

void join(std::vector<Part>& parts, SplitBehavior behavior) {
  const bool backwards = behavior == SplitBehavior::kMergedWithNext;
  if (backwards) std::ranges::reverse(parts);
  std::vector<Part> out;
  bool previous = false;
  for (const Part& part : parts) {
    const bool joins =
        behavior == SplitBehavior::kContiguous ? part.match == previous : part.match && !previous;
    if (joins && !out.empty()) {
      out.back().begin = std::min(out.back().begin, part.begin);
      out.back().end = std::max(out.back().end, part.end);
    } else {
      out.push_back(part);
    }
    previous = part.match;
  }
  if (backwards) std::ranges::reverse(out);
  parts = std::move(out);
}

}  // namespace

PreTokenizer parse_pre_tokenizer(const Json& pre_tokenizer) {
  PreTokenizer out;
  for (const Json* json : steps_of(pre_tokenizer, "pretokenizers")) {
    const std::string type = text_of(*json, "type");
    if (out.byte_level) fail("its pre_tokenizer goes on with '{}' after ByteLevel", type);
    if (type == "Split") {
      out.steps.push_back(parse_split(*json));
    } else if (type == "Digits") {
      const bool one = is_set(*json, "individual_digits");
      out.steps.push_back({Kind::kSplit, Pattern(kDigitExpression),
                           one ? SplitBehavior::kIsolated : SplitBehavior::kContiguous});
    } else if (type == "Metaspace") {
      // A second one would write into what the first has written.
      const auto rewrites = [](const PreTokenizerStep& step) {
        return step.kind == Kind::kMetaspace;
      };
      if (std::ranges::any_of(out.steps, rewrites)) fail("its pre_tokenizer has Metaspace twice");
      out.steps.push_back(parse_metaspace(*json));
    } else if (type == "ByteLevel") {
      parse_byte_level(*json, out);
    } else {
      fail("its pre_tokenizer '{}' is not read here", type);
    }
  }
  return out;
}

void Pieces::apply(const PreTokenizer& pre_tokenizer, bool first) {
  std::erase_if(pieces_, [](std::string_view piece) { return piece.empty(); });
  for (const PreTokenizerStep& step : pre_tokenizer.steps) {
    if (step.kind == Kind::kSplit) {
      split(*step.pattern, step.behavior, step.inverted);
      continue;
    }
    rewrite(step, first);
    if (step.splits) {
      split(Pattern::literal(step.text), SplitBehavior::kMergedWithNext, false);
    }
  }
}

void Pieces::split(const Pattern& pattern, SplitBehavior behavior, bool inverted) {
  std::vector<std::string_view> out;
  for (const std::string_view piece : pieces_) {
    std::vector<Part> parts = parts_of(piece, pattern, inverted);
    if (behavior == SplitBehavior::kRemoved) {
      std::erase_if(parts, [](const Part& part) { return part.match; });
    } else if (behavior != SplitBehavior::kIsolated) {
      join(parts, behavior);
    }
    for (const Part& part : parts) out.push_back(piece.substr(part.begin, part.end - part.begin));
  }
  pieces_ = std::move(out);
}

void Pieces::rewrite(const PreTokenizerStep& step, bool first) {
  using enum PreTokenizerStep::Prepend;
  for (std::size_t i = 0; i < pieces_.size(); ++i) {
    std::string& text = rewritten_.emplace_back(pieces_[i]);
    bool prepends = step.prepend == kAlways || (step.prepend == kFirst && first && i == 0);
    if (step.kind == Kind::kPrefix) {
      prepends = true;
    } else {
      std::string spaced;
      for (const char c : text) c == ' ' ? spaced += step.text : spaced += c;
      text = std::move(spaced);
    }
    if (prepends && !text.starts_with(step.text)) text.insert(0, step.text);
    pieces_[i] = text;
  }
}

}  // namespace mnm
