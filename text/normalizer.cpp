#include "text/normalizer.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/error.h"
#include "text/json_members.h"
#include "text/unicode_classes.h"
#include "text/unicode_normalization.h"
#include "text/utf8.h"

namespace mnm {
namespace {

using Json = nlohmann::json;
using Kind = NormalizerStep::Kind;

constexpr std::pair<const char*, Kind> kPlain[] = {{"NFC", Kind::kNfc},
                                                   {"NFD", Kind::kNfd},
                                                   {"NFKC", Kind::kNfkc},
                                                   {"NFKD", Kind::kNfkd},
                                                   {"Lowercase", Kind::kLowercase}};

NormalizerStep parse_step(const Json& json) {
  const std::string type = text_of(json, "type");
  for (const auto& [name, kind] : kPlain) {
    if (type == name) return {kind};
  }
  if (type == "Prepend") return {Kind::kPrepend, text_of(json, "prepend")};
  if (type == "Replace") return {Kind::kReplace, text_of(json, "content"), pattern_of(json)};
  if (type == "Strip") {
    NormalizerStep step{Kind::kStrip};
    step.left = is_set(json, "strip_left");
    step.right = is_set(json, "strip_right");
    return step;
  }
  fail("its normalizer '{}' is not read here", type);
}

std::string_view stripped(std::string_view text, bool left, bool right) {
  std::size_t first = text.size(), last = 0;  // of what is no space
  for (std::size_t at = 0; at < text.size();) {
    const CodePoint point = code_point_at(text, at);
    if (!is_in(point.value, kSpaces)) {
      first = std::min(first, at);
      last = at + point.bytes;
    }
    at += point.bytes;
  }
  if (!left) first = 0;
  if (!right) last = text.size();
  return first < last ? text.substr(first, last - first) : std::string_view();
}

std::string applied(const NormalizerStep& step, std::string text) {
  switch (step.kind) {
    case Kind::kNfc:
      return normalized(text, NormalForm::kNfc);
    case Kind::kNfd:
      return normalized(text, NormalForm::kNfd);
    case Kind::kNfkc:
      return normalized(text, NormalForm::kNfkc);
    case Kind::kNfkd:
      return normalized(text, NormalForm::kNfkd);
    case Kind::kLowercase:
      return lowercase(text);
    case Kind::kPrepend:
      return text.empty() ? text : step.text + text;
    case Kind::kReplace:
      return replaced(text, *step.pattern, step.text);
    case Kind::kStrip:
      return std::string(stripped(text, step.left, step.right));
  }
  return text;
}

}  // namespace

std::vector<NormalizerStep> parse_normalizer(const Json& normalizer) {
  std::vector<NormalizerStep> out;
  for (const Json* step : steps_of(normalizer, "normalizers")) {
    out.push_back(parse_step(*step));
    require_short(out.back().text, "normalizer");
  }
  return out;
}

void require_growth(std::string_view text, std::string_view made, std::string_view what) {
  constexpr std::size_t kTimes = 64, kAlways = 64;  // of the text, and of bytes
  if (made.size() / kTimes > text.size() + kAlways) {
    fail("its {} makes {} bytes of {}", what, made.size(), text.size());
  }
}

void require_short(std::string_view inserted, std::string_view what) {
  constexpr std::size_t kLongest = 64;
  if (inserted.size() > kLongest) {
    fail("its {} puts in a text of {} bytes, and at most {} are read", what, inserted.size(),
         kLongest);
  }
}

std::string normalized(std::string_view text, const std::vector<NormalizerStep>& steps) {
  std::string out(text);
  for (const NormalizerStep& step : steps) {
    out = applied(step, std::move(out));
    require_growth(text, out, "normalizer");
  }
  return out;
}

}  // namespace mnm
