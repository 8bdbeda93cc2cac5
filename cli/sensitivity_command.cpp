#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <set>

#include "cli/common_options.h"
#include "cli/interrupt.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/print.h"
#include "cli/progress.h"
#include "cli/text_tokens.h"
#include "dataset/examples.h"
#include "eval/paired_difference.h"
#include "families/open_model.h"
#include "report/table.h"
#include "search/layer_sensitivity.h"
#include "study/scorer.h"
#include "study/store_rows.h"

namespace mnm {
namespace {

// What losses are told apart by: the paired difference to the base's.
Cell difference_cell(const Score& score, const Score& base) {
  if (!score.ok() || !base.ok()) return cell(std::string(score.status()));
  const Estimate difference =
      paired_difference(score.per_example[Metric::kLoss], base.per_example[Metric::kLoss]);
  return measured_cell(difference.value, difference.standard_error);
}

// A row for each layer, a column for each width that some layer may take. `members[i]` has the
// score `scores[i]`; the first of them is the base, and each other one differs from it in one
// layer.
Table sensitivity_table(const WidthSpace& space, std::span<const Widths> members,
                        std::span<const Score> scores) {
  std::set<Width> widths;
  for (std::size_t layer = 0; layer < space.layers.size(); ++layer) {
    for (const Width width : space.choices(layer)) widths.insert(width);
  }
  Table table{{{"layer", "layer"}}, {}};
  for (const Width width : widths) {
    const std::string name = width == kSkip ? "-" : std::to_string(width);
    table.columns.push_back({name, name, true, true});
  }
  for (std::size_t layer = 0; layer < space.layers.size(); ++layer) {
    std::vector<Cell> row = {cell(static_cast<std::int64_t>(layer))};
    const std::vector<Width> choices = space.choices(layer);
    for (const Width width : widths) {
      const auto at = std::ranges::find_if(members, [&](const Widths& member) {
        Widths expected = members[0];
        expected[layer] = width;
        return member == expected;
      });
      if (at == members.end() || std::ranges::find(choices, width) == choices.end()) {
        row.push_back(missing_cell());
      } else if (at == members.begin()) {
        row.push_back(measured_cell(0, 0));
      } else {
        row.push_back(
            difference_cell(scores[static_cast<std::size_t>(at - members.begin())], scores[0]));
      }
    }
    table.rows.push_back(std::move(row));
  }
  return table;
}

}  // namespace

int sensitivity_command(const Arguments& arguments) {
  ModelOptions model_options;
  ExampleOptions data_options;
  DeviceOptions device;
  std::filesystem::path db;
  bool json = false, csv = false;
  OptionTable options(
      "sensitivity",
      "Scores each layer at each of its widths, the others at their full width, and "
      "shows what each narrowing loses: the paired difference to the full model, "
      "with its standard error. A table of layers by widths.");
  add_model_options(options, model_options);
  options.section("data").option(
      "data", required(path_value(data_options.path)),
      "token file: an llm.c shard, .npy, bytes, text or what --token-format says");
  add_data_options(options, data_options);
  add_device_options(options, device);
  options.section("output").option("db", path_value(db), "also keep the scores in this store");
  add_output_options(options, json, csv);
  if (!options.parse(arguments)) return 0;
  const OutputFormat output = output_format(json, csv);

  const InterruptGuard guard;
  const OpenedModel opened = open_model(model_options.directory, model_options.nesting);
  const NestedModel& model = opened.model;
  data_options.text = text_tokens(opened.checkpoint.directory(), model.vocab_size);
  const std::unique_ptr<const Examples> examples = load_examples(data_options, model);
  const Examples& data = *examples;
  require_device(device);
  std::optional<Store> store;
  if (!db.empty()) store = Store::open(db, Store::Mode::kWrite);

  const FeasibleSet set({model.space, [](const Widths&) { return 0.0; }, {}});
  std::vector<Widths> members;
  for (const Levels& member : sensitivity_members(set)) members.push_back(set.widths(member));
  Scorer scorer(opened, device, ScoreOptions{}, nullptr, note_line);
  const std::vector<Score> scores = [&] {
    ProgressBar bar("scoring");
    return scorer.score(members, data, shown_on(bar, guard));
  }();
  if (store) {
    RunRow run;
    run.command = "sensitivity";
    run.command_line = command_line("sensitivity", arguments);
    run.device = scorer.device_name();
    run.dtype = device.dtype;
    record_run(*store, run, opened, data, scores);
  }
  const Score& full = scores.front();
  note("loss above the full model's {}, nats per token, on {} sequences\n",
       full.ok() ? fmt::format("{:.4f}", full.value()) : std::string(full.status()), data.count);
  print_table(sensitivity_table(model.space, members, scores), output);
  return 0;
}

}  // namespace mnm
