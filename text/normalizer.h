// What a tokenizer.json does to text before it is split: steps, as data, each over the whole text
// between two added tokens.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/pattern.h"

namespace mnm {

struct NormalizerStep {
  enum class Kind : std::uint8_t {
    kNfc,
    kNfd,
    kNfkc,
    kNfkd,
    kLowercase,
    kPrepend,  // `text`, unless there is none
    kReplace,  // what `pattern` matches by `text`
    kStrip,    // white space at the `left` and `right` end
  };
  Kind kind = Kind::kNfc;
  std::string text = {};
  std::optional<Pattern> pattern = {};
  bool left = false, right = false;
};

// None for null and for an empty Sequence. Error, with the reason alone, for a step that is not
// read.
std::vector<NormalizerStep> parse_normalizer(const nlohmann::json& normalizer);

// `text` is UTF-8.
std::string normalized(std::string_view text, const std::vector<NormalizerStep>& steps);

// Error if `made` is more than 64 times as long as `text`, and 4 KiB: a chain of steps of a few
// bytes each can make a text of any length. `what` names the part of the tokenizer.json.
void require_growth(std::string_view text, std::string_view made, std::string_view what);
// Error if a text that a step puts in is longer than 64 bytes.
void require_short(std::string_view inserted, std::string_view what);

}  // namespace mnm
