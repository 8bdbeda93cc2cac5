// The normalizer of a tokenizer.json: what is done to a text before it is split. It is a list of
// steps, as plain data. Each step rewrites the whole text between two added tokens.
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
    kPrepend,  // puts `text` before a text that is not empty
    kReplace,  // replaces every match of `pattern` by `text`
    kStrip,    // removes white space at the `left` end, at the `right` end, or at both
  };
  Kind kind = Kind::kNfc;
  std::string text = {};
  std::optional<Pattern> pattern = {};
  bool left = false, right = false;
};

// Null and an empty Sequence have no steps. Error for a step that is not read here; its message is
// only the reason, and the caller adds the file.
std::vector<NormalizerStep> parse_normalizer(const nlohmann::json& normalizer);

// Applies the steps, one after the other. `text` is UTF-8.
std::string normalized(std::string_view text, const std::vector<NormalizerStep>& steps);

// Steps of a few bytes each can make a text of any length out of a short one. Error if `made`,
// which they made of `text`, is longer than 64 times `text` and 4 KiB more. `what` names the part
// of the tokenizer.json.
void require_growth(std::string_view text, std::string_view made, std::string_view what);
// Error if a text that a step puts in is longer than 64 bytes.
void require_short(std::string_view inserted, std::string_view what);

}  // namespace mnm
