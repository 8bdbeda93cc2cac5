#include "families/gemma3n/published.h"

#include <algorithm>
#include <string_view>

#include "families/gemma3n/config.h"
#include "families/may_skip.h"

namespace mnm {
namespace {

// Wide layers have 16,384 neurons and the others half as many; both E2B leave out layers 20 to 24.
struct Row {
  std::string_view name, set;
  bool skips = false;
  std::string_view wide;  // "4,20-24"
  double billions = 0;
};

// gemma3n.csv of google/gemma3n-slicing-configs.
constexpr Row kRows[] = {
    {"Main (E4B)", "", false, "0-34", 3.98},
    {"E2B official", "", true, "", 1.91},
    {"E1.96 layer", "layer", true, "4", 1.96},
    {"E2.49 block", "block", false, "20-24", 2.49},
    {"E2.54 layer", "layer", false, "4,20-24", 2.54},
    {"E2.69 layer", "layer", false, "4,9,14,19,20-24", 2.69},
    {"E2.73 block", "block", false, "15-24", 2.73},
    {"E2.98 layer", "layer", false, "15-24,30-34", 2.98},
    {"E2.98 block", "block", false, "10-24", 2.98},
    {"E3.18 layer", "layer", false, "4,9-24,29,34", 3.18},
    {"E3.24 block", "block", false, "10-29", 3.24},
    {"E3.39 layer", "layer", false, "4,9-29,34", 3.39},
    {"E3.49 block", "block", false, "5-29", 3.49},
    {"E3.59 layer", "layer", false, "4-29,34", 3.59},
    {"E3.79 layer", "layer", false, "4-34", 3.79},
    {"E3.79 block", "block", false, "5-34", 3.74},
};

}  // namespace

std::vector<NamedWidths> gemma3n_published(const NestedModel& model) {
  const Gemma3nConfig config = parse_gemma3n_config(model.config, {});
  if (usual_skips(config).empty()) return {};
  const Width full = config.full_width(0), half = full / 2;
  std::vector<NamedWidths> all;
  for (const Row& row : kRows) {
    NamedWidths named{std::string(row.name), std::string(row.set), Widths(model.layers(), half),
                      row.billions};
    if (!row.wide.empty()) {
      for (const std::size_t layer : parse_layers(row.wide)) named.widths[layer] = full;
    }
    if (row.skips) {
      for (const std::size_t layer : parse_layers(usual_skips(config))) {
        named.widths[layer] = kSkip;
      }
    }
    if (!model.space.refusal(named.widths)) all.push_back(std::move(named));
  }
  return all;
}

}  // namespace mnm
