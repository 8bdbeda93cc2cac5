#include "cli/option_value.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <utility>

#include "base/error.h"
#include "base/quantity.h"
#include "base/spelling.h"

namespace mnm {
namespace {

template <typename T>
T parse_whole(const std::string& text, T at_least, T at_most) {
  T value{};
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc{} || stop != end || value < at_least || value > at_most) {
    if (at_most == std::numeric_limits<T>::max()) {
      fail_usage("'{}' is not a whole number of at least {}", text, at_least);
    }
    fail_usage("'{}' is not a whole number from {} to {}", text, at_least, at_most);
  }
  return value;
}

// Exact, with a suffix only where that says the same; nothing for 0.
std::string quantity_text(std::int64_t value) {
  if (value == 0) return "";
  std::string text = quantity(static_cast<double>(value));
  return parse_quantity(text) == value ? text : std::to_string(value);
}

double parse_real(const std::string& text) {
  double value = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc{} || stop != end || !std::isfinite(value)) {
    fail_usage("'{}' is not a number", text);
  }
  return value;
}

}  // namespace

OptionValue flag_value(bool& target) {
  return {"", "", false, false, [&target](const std::string&) { target = true; }};
}

OptionValue text_value(std::string& target, std::string placeholder) {
  return {std::move(placeholder), target, false, false,
          [&target](const std::string& text) { target = text; }};
}

OptionValue path_value(std::filesystem::path& target, std::string placeholder) {
  return {std::move(placeholder),
          target.string(),
          false,
          false,
          [&target](const std::string& text) {
            if (text.empty()) fail_usage("an empty path names no file");
            target = text;
          },
          /*of_run=*/false,
          /*path=*/true};
}

OptionValue data_value(std::filesystem::path& target) { return path_value(target, "DATA"); }

OptionValue texts_value(std::vector<std::string>& target, std::string placeholder) {
  return {std::move(placeholder), "", true, false,
          [&target](const std::string& text) { target.push_back(text); }};
}

OptionValue choice_value(std::string& target, std::span<const std::string_view> choices) {
  std::string placeholder;
  for (const std::string_view choice : choices) {
    placeholder.append(placeholder.empty() ? "" : "|").append(choice);
  }
  std::vector<std::string> names(choices.begin(), choices.end());
  return {placeholder, target, false, false, [&target, names](const std::string& text) {
            if (std::find(names.begin(), names.end(), text) == names.end()) {
              fail_usage("'{}' is not one of {}{}", text, fmt::join(names, ", "),
                         did_you_mean(text, names));
            }
            target = text;
          }};
}

OptionValue count_value(std::int64_t& target, std::int64_t at_least, std::int64_t at_most,
                        std::string placeholder) {
  return {std::move(placeholder), std::to_string(target), false, false,
          [&target, at_least, at_most](const std::string& text) {
            target = parse_whole<std::int64_t>(text, at_least, at_most);
          }};
}

OptionValue count_value(std::uint64_t& target, std::string placeholder) {
  return {std::move(placeholder), std::to_string(target), false, false,
          [&target](const std::string& text) {
            target = parse_whole<std::uint64_t>(text, 0, std::numeric_limits<std::uint64_t>::max());
          }};
}

OptionValue population_value(std::size_t& target) {
  return {"N", std::to_string(target), false, false, [&target](const std::string& text) {
            target = parse_whole<std::size_t>(text, 2, 1u << 20);
          }};
}

OptionValue threads_value(int& target) {
  return {"N", std::to_string(target), false, false,
          [&target](const std::string& text) { target = parse_whole<int>(text, 0, 1024); }};
}

OptionValue quantity_value(std::int64_t& target, std::string placeholder) {
  return {std::move(placeholder), quantity_text(target), false, false,
          [&target](const std::string& text) { target = parse_quantity(text); }};
}

OptionValue quantity_value(std::optional<std::int64_t>& target, std::string placeholder) {
  return {std::move(placeholder), "", false, false,
          [&target](const std::string& text) { target = parse_quantity(text); }};
}

OptionValue quantity_value(std::uint64_t& target, std::string placeholder) {
  return {std::move(placeholder), quantity_text(static_cast<std::int64_t>(target)), false, false,
          [&target](const std::string& text) {
            target = static_cast<std::uint64_t>(parse_quantity(text));
          }};
}

OptionValue real_value(double& target, double at_least, double at_most) {
  return {"X", fmt::format("{:g}", target), false, false,
          [&target, at_least, at_most](const std::string& text) {
            const double value = parse_real(text);
            if (value < at_least || value > at_most) {
              fail_usage("{} lies outside {:g} to {:g}", text, at_least, at_most);
            }
            target = value;
          }};
}

OptionValue token_format_value(TokenFormat& target) {
  return {fmt::format("{}", fmt::join(kTokenFormats, "|")), "", false, false,
          [&target](const std::string& text) { target = parse_token_format(text); }};
}

OptionValue dtype_value(Dtype& target) {
  return {"f32|f16|bf16", std::string(to_string(target)), false, false,
          [&target](const std::string& text) { target = parse_dtype(text); }};
}

OptionValue dtype_value(std::optional<Dtype>& target) {
  return {"f32|f16|bf16", "", false, false,
          [&target](const std::string& text) { target = parse_dtype(text); }};
}

OptionValue cost_kind_value(CostKind& target) {
  std::string placeholder;
  for (const CostKind kind : kCostKinds) {
    placeholder.append(placeholder.empty() ? "" : "|").append(to_string(kind));
    // parse_cost_kind takes the name that users of Gemma 3n know, too.
    if (kind == CostKind::kNonEmbedding) placeholder += "|effective";
  }
  return {placeholder, std::string(to_string(target)), false, false,
          [&target](const std::string& text) { target = parse_cost_kind(text); }};
}

OptionValue metric_value(Metric& target) {
  return {fmt::format("{}", fmt::join(metric_names(), "|")), std::string(to_string(target)), false,
          false, [&target](const std::string& text) { target = parse_metric(text); }};
}

OptionValue metrics_value(std::vector<Metric>& target) {
  return {fmt::format("{}", fmt::join(metric_names(), "|")), "", true, false,
          [&target](const std::string& text) { target.push_back(parse_metric(text)); }};
}

OptionValue ids_value(std::vector<std::int64_t>& target, std::string placeholder) {
  return {std::move(placeholder), "", true, false, [&target](const std::string& text) {
            target.push_back(
                parse_whole<std::int64_t>(text, 1, std::numeric_limits<std::int64_t>::max()));
          }};
}

OptionValue id_value(std::optional<std::int64_t>& target, std::string placeholder) {
  return {std::move(placeholder), "", false, false, [&target](const std::string& text) {
            target = parse_whole<std::int64_t>(text, 1, std::numeric_limits<std::int64_t>::max());
          }};
}

OptionValue duration_value(double& seconds) {
  return {"TIME", seconds > 0 ? duration_text(seconds) : "", false, false,
          [&seconds](const std::string& text) { seconds = parse_duration(text); }};
}

OptionValue position_share_value(PositionShare& target) {
  return {"SHARE", target.text(), false, false, [&target](const std::string& text) {
            const std::uint64_t seed = target.seed;
            target = parse_position_share(text);
            target.seed = seed;
          }};
}

OptionValue required(OptionValue value) {
  value.required = true;
  return value;
}

OptionValue of_run(OptionValue value) {
  value.of_run = true;
  return value;
}

}  // namespace mnm
