// The value of an option: how its text becomes a variable, and what its default is.
//
// Each function here binds a variable of the code that uses it. The value that the variable has at
// that time is the default that --help prints. So a default is stated once, where it is used.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/quantity.h"
#include "dataset/positions.h"
#include "dataset/token_format.h"
#include "eval/metrics.h"
#include "model/cost.h"
#include "model/dtype.h"

namespace mnm {

struct OptionValue {
  std::string placeholder;  // "N", "FILE"; empty: a flag, which takes no value
  std::string fallback;     // the default as a user would write it; empty: none to print
  bool repeats = false;     // may be given several times
  bool required = false;
  std::function<void(const std::string&)> set;  // UsageError says what was expected
  bool of_run = false;  // it makes a run the run it is: kept in the store, taken back by --resume
  bool path = false;    // a file, known by its contents wherever it lies
};

OptionValue flag_value(bool& target);
OptionValue text_value(std::string& target, std::string placeholder);
OptionValue path_value(std::filesystem::path& target, std::string placeholder = "FILE");
// A file of examples that may be a token file; "DATA" in --help. A command that has one has
// --token-format, too (tests/cli).
OptionValue data_value(std::filesystem::path& target);
OptionValue texts_value(std::vector<std::string>& target, std::string placeholder);  // repeats
OptionValue choice_value(std::string& target, std::span<const std::string_view> choices);

// Whole numbers within [at_least, at_most].
OptionValue count_value(std::int64_t& target, std::int64_t at_least, std::int64_t at_most,
                        std::string placeholder = "N");
OptionValue count_value(std::uint64_t& target, std::string placeholder = "N");
OptionValue threads_value(int& target);
OptionValue population_value(std::size_t& target);
OptionValue quantity_value(std::int64_t& target, std::string placeholder);
OptionValue quantity_value(std::optional<std::int64_t>& target, std::string placeholder);
OptionValue quantity_value(std::uint64_t& target, std::string placeholder);
OptionValue real_value(double& target, double at_least, double at_most);
OptionValue token_format_value(TokenFormat& target);
OptionValue dtype_value(Dtype& target);
OptionValue dtype_value(std::optional<Dtype>& target);
OptionValue cost_kind_value(CostKind& target);
OptionValue metric_value(Metric& target);
OptionValue metrics_value(std::vector<Metric>& target);                             // repeats
OptionValue ids_value(std::vector<std::int64_t>& target, std::string placeholder);  // repeats
OptionValue id_value(std::optional<std::int64_t>& target, std::string placeholder);
OptionValue duration_value(double& seconds);  // "90", "90s", "10m", "1h30m"; 0 prints no default

OptionValue position_share_value(PositionShare& target);  // its seed stays

OptionValue required(OptionValue value);
OptionValue of_run(OptionValue value);

}  // namespace mnm
