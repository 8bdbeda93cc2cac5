#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/interrupt.h"
#include "cli/common_options.h"
#include "cli/example_readers.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/output_file.h"
#include "cli/print.h"
#include "cli/progress.h"
#include "dataset/examples.h"
#include "eval/paired.h"
#include "families/open_model.h"
#include "report/heat_map.h"
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

// The widths that some layer may take, ascending.
std::set<Width> widths_of(const WidthSpace& space) {
  std::set<Width> widths;
  for (std::size_t layer = 0; layer < space.layers.size(); ++layer) {
    for (const Width width : space.choices(layer)) widths.insert(width);
  }
  return widths;
}

std::string name_of(Width width) { return width == kSkip ? "-" : std::to_string(width); }

// A row for each layer, a column for each width that some layer may take. `members[i]` has the
// score `scores[i]`; the first of them is the base, and each other one differs from it in one
// layer.
Table sensitivity_table(const WidthSpace& space, std::span<const Widths> members,
                        std::span<const Score> scores) {
  const std::set<Width> widths = widths_of(space);
  Table table{{{"layer", "layer"}}, {}};
  for (const Width width : widths) {
    table.columns.push_back({name_of(width), name_of(width), true, true});
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

// The same as a picture.
HeatMap heat_map_of(const Table& table, const std::string& title, const std::string& subtitle) {
  HeatMap map;
  map.title = title;
  map.subtitle = subtitle;
  map.row_axis = "layer";
  map.column_axis = "width";
  for (const Column& column : std::span(table.columns).subspan(1)) {
    map.columns.push_back(column.title);
  }
  for (const std::vector<Cell>& row : table.rows) {
    map.rows.push_back(row[0].text);
    for (const Cell& of : std::span(row).subspan(1)) {
      if (of.value.is_number() && of.se) {
        map.cells.emplace_back(HeatMapCell{of.value.get<double>(), *of.se});
      } else {
        map.cells.emplace_back();
      }
    }
  }
  return map;
}

struct Request {
  ModelOptions model;
  ExampleOptions data;
  DeviceOptions device;
  std::filesystem::path db, svg;
  bool force = false, json = false, csv = false;
};

OptionTable option_table(Request& request) {
  OptionTable options(
      "sensitivity",
      "Scores each layer at each of its widths, the others at their full width, and "
      "shows what each narrowing loses: the paired difference to the full model, "
      "with its standard error. A table of layers by widths.");
  add_model_options(options, request.model);
  add_image_size_option(options, request.model.nesting);
  options.section("data").option("data", required(data_value(request.data.path)),
                                 "token file (an llm.c shard, .npy, bytes, text, or what "
                                 "--token-format says), a task file, or an image set");
  add_data_options(options, request.data);
  add_device_options(options, request.device);
  options.section("output")
      .option("db", path_value(request.db), "also keep the scores in this store")
      .option("svg", path_value(request.svg), "also draw the table")
      .option("force", flag_value(request.force), "replace an earlier picture");
  add_output_options(options, request.json, request.csv);
  return options;
}

void require_outputs(const Request& request) {
  if (request.svg.empty()) return;
  require_apart(request.svg, request.db);
  require_outside(request.svg, request.data.path);
  require_outside(request.svg, request.model.directory);
  require_writable(request.svg, request.force, picture_kind());
}

}  // namespace

int sensitivity_command(const Arguments& arguments) {
  Request request;
  OptionTable options = option_table(request);
  if (!options.parse(arguments)) return 0;
  const OutputFormat output = output_format(request.json, request.csv);
  require_outputs(request);

  const OpenedModel opened = open_model(request.model.directory, request.model.nesting);
  const NestedModel& model = opened.model;
  read_as_model(request.data, opened);
  request.data.may_be_task = true;
  const std::unique_ptr<const Examples> examples = load_examples(request.data, model);
  const Examples& data = *examples;
  require_device(request.device);
  const InterruptGuard guard;
  if (!request.db.empty()) Store::require_writable(request.db);

  const FeasibleSet set({model.space, [](const Widths&) { return 0.0; }, {}});
  std::vector<Widths> members;
  for (const Levels& member : sensitivity_members(set)) members.push_back(set.widths(member));
  Scorer scorer(opened, request.device, ScoreOptions{}, nullptr, note_line);
  const std::vector<Score> scores = [&] {
    ProgressBar bar("scoring");
    return scorer.score(members, data, shown_on(bar, guard));
  }();
  if (!request.db.empty()) {
    Store store = Store::open(request.db, Store::Mode::kWrite);
    RunRow run;
    run.command = "sensitivity";
    run.command_line = command_line("sensitivity", arguments);
    run.device = scorer.device_name();
    run.dtype = request.device.dtype;
    record_run(store, run, opened, data, scores);
  }
  const Score& full = scores.front();
  const ExampleWords& words = words_of(data.kind());
  const std::string caption = fmt::format(
      "loss above the full model's {}, nats per {}, on {} {}s{}",
      full.ok() ? fmt::format("{:.4f}", full.value()) : std::string(full.status()), words.output,
      data.count, words.example, data.protocol.empty() ? "" : fmt::format(" ({})", data.protocol));
  const Table table = sensitivity_table(model.space, members, scores);
  if (!request.svg.empty()) {
    const std::string title = fmt::format("Sensitivity of {}", model_row(opened).name);
    write_file_atomically(request.svg, heat_map_svg(heat_map_of(table, title, caption)));
  }
  note("{}\n", caption);
  print_table(table, output);
  return 0;
}

}  // namespace mnm
