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

}  // namespace mnm
