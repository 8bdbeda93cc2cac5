#include "eval/latency.h"

#include <fmt/format.h>

#include <limits>

#include "base/error.h"
#include "base/interrupt.h"
#include "base/quantity.h"
#include "base/random.h"
#include "base/version.h"
#include "cli/common_options.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/print.h"
#include "cli/progress.h"
#include "db/store.h"
#include "engine/engine.h"
#include "families/open_model.h"
#include "report/table.h"
#include "study/front_latency.h"
#include "study/scorer.h"
#include "study/store_rows.h"

namespace mnm {
namespace {

constexpr std::int64_t kMost = std::numeric_limits<std::int32_t>::max();

struct Request {
  ModelOptions model;
  Workload workload;
  std::string phase{to_string(Workload{}.phase)};
  LatencySettings settings;
  DeviceOptions device;
  std::filesystem::path db;
  bool json = false;
};

constexpr double kMilli = 1e3;

Table part_table(const Latency& latency) {
  Table table{{{"layer", "layer"},
               {"width", "width"},
               {"seconds", "ms"},
               {"spread", "between quartiles, ms"}},
              {}};
  for (const LatencyPart& part : latency.parts) {
    const bool fixed = part.layer == kFixedPart;
    Cell seconds = real_cell(kMilli * part.seconds.median, 4);
    Cell spread = real_cell(kMilli * part.seconds.spread, 4);
    seconds.value = part.seconds.median;
    spread.value = part.seconds.spread;
    table.rows.push_back(
        {fixed ? Cell{"the rest", nullptr, {}} : cell(static_cast<std::int64_t>(part.layer)),
         fixed ? missing_cell() : cell(static_cast<std::int64_t>(part.width)), seconds, spread});
  }
  return table;
}

Table check_table(const Latency& latency) {
  Table table{{{"widths", "widths", false},
               {"predicted", "sum of parts, ms"},
               {"seconds", "measured whole, ms"},
               {"spread", "between quartiles, ms"},
               {"error", "error"}},
              {}};
  for (const LatencyCheck& check : latency.checks) {
    Cell predicted = real_cell(kMilli * check.predicted, 4);
    Cell seconds = real_cell(kMilli * check.seconds.median, 4);
    Cell spread = real_cell(kMilli * check.seconds.spread, 4);
    predicted.value = check.predicted;
    seconds.value = check.seconds.median;
    spread.value = check.seconds.spread;
    Cell error = real_cell(100 * check.error(), 1);
    error.text += " %";
    error.value = check.error();
    table.rows.push_back({cell(to_string(check.widths)), predicted, seconds, spread, error});
  }
  return table;
}

void print_as_json(const Latency& latency, std::optional<std::int64_t> id) {
  nlohmann::ordered_json json;
  json["latency"] = id ? nlohmann::ordered_json(*id) : nlohmann::ordered_json();
  json["device"] = latency.device;
  json["dtype"] = to_string(latency.dtype);
  json["phase"] = to_string(latency.workload.phase);
  json["batch"] = latency.workload.batch;
  json["length"] = latency.workload.length;
  json["repeats"] = latency.repeats;
  json["parts"] = part_table(latency).json();
  json["checks"] = check_table(latency).json();
  json["mean_error"] = latency.mean_error();
  json["rms_error"] = latency.rms_error();
  json["worst_error"] = latency.worst_error();
  print_json(json);
}

OptionTable option_table(Request& request) {
  auto& [model, workload, phase, settings, device, db, json] = request;
  OptionTable options(
      "latency",
      "Measures how long each layer takes at each of its widths. The time of any submodel is then "
      "a sum. Random submodels are also measured as a whole, to see how far such sums are off.");
  add_model_options(options, model);
  add_image_size_option(options, model.nesting);
  options.section("what is timed")
      .option("phase", choice_value(phase, kPhases),
              "decode: one token after --length cached tokens; prefill: --length tokens at once")
      .option("batch", count_value(workload.batch, 1, kMost), "sequences at once")
      .option("length", count_value(workload.length, 1, kMost), "tokens of each sequence")
      .option("repeats", count_value(settings.repeats, 1, kMost), "measurements behind each median")
      .option("warm-up", count_value(settings.warm_up, 0, kMost),
              "passes before the first measurement")
      .option("checks", count_value(settings.checks, 0, 4096),
              "random submodels that are measured as a whole")
      .option("seed", count_value(settings.seed),
              "seed of these submodels and of the order of all passes");
  add_device_options(options, device);
  options.section("output")
      .option("db", path_value(db), "also keep the times in this store")
      .option("json", flag_value(json), "results as JSON");
  return options;
}

// Of a model that reads a whole example at once: one pass is of that example.
void take_whole_examples(Workload& workload, const OptionTable& options, const NestedModel& model) {
  if (options.given("phase") && workload.phase == Phase::kDecode) {
    fail_usage("the model reads whole {}: there is no next token to decode",
               words_of(model.input.type).kind);
  }
  if (options.given("length") && workload.length != model.max_context) {
    fail_usage("--length {} is not possible: the model computes {} positions of every {}",
               workload.length, model.max_context, words_of(model.input.type).example);
  }
  workload.phase = Phase::kPrefill;
  workload.length = model.max_context;
}

void require_positions(const Workload& workload, const NestedModel& model) {
  const std::int64_t positions = positions_of(workload);
  if (positions > model.max_context) {
    fail_usage("--length {} needs {} positions, and the model has {}", workload.length, positions,
               model.max_context);
  }
}

Latency measured(const Request& request, const OpenedModel& opened) {
  Engine& engine = open_engine(request.device.device);
  const auto session = engine.load(opened.model, opened.checkpoint, request.device);
  const auto timer = session->timer(request.workload);
  Random random(request.settings.seed);
  const InterruptGuard guard;
  ProgressBar bar("timing");
  Latency latency = measure_latency(
      opened.model.space, request.settings, *timer,
      [&](std::uint64_t n) { return random.below(n); }, shown_on(bar, guard));
  latency.device = engine.device_name(request.device);
  latency.dtype = request.device.dtype;
  latency.workload = request.workload;
  return latency;
}

void print_as_text(const Latency& latency) {
  const Workload& workload = latency.workload;
  note("{}, {}, batch {}, {} {} tokens, medians of {}\n", latency.device, to_string(latency.dtype),
       workload.batch, workload.phase == Phase::kDecode ? "one token after" : "prefill of",
       workload.length, latency.repeats);
  print_table(part_table(latency), OutputFormat::kText);
  if (latency.checks.empty()) return;
  print("\n");
  print_table(check_table(latency), OutputFormat::kText);
  print(
      "\na sum of parts is off by {:.1f} % on average, {:.1f} % root mean square, {:.1f} % "
      "at worst, over {} random submodels\n",
      100 * latency.mean_error(), 100 * latency.rms_error(), 100 * latency.worst_error(),
      latency.checks.size());
}

}  // namespace

int latency_command(const Arguments& arguments) {
  Request request;
  OptionTable options = option_table(request);
  if (!options.parse(arguments)) return 0;
  request.workload.phase = parse_phase(request.phase);
  const OpenedModel opened = open_model(request.model.directory, request.model.nesting);
  if (!opened.model.reads_tokens()) take_whole_examples(request.workload, options, opened.model);
  require_positions(request.workload, opened.model);
  require_device(request.device);
  if (!request.db.empty()) Store::require_writable(request.db);

  const Latency latency = measured(request, opened);
  std::optional<std::int64_t> id;
  if (!request.db.empty()) {
    Store store = Store::open(request.db, Store::Mode::kWrite);
    LatencyRow row;
    row.model = store.model(model_row(opened));
    row.measured = latency;
    row.seed = request.settings.seed;
    row.build = build_text();
    row.command_line = command_line("latency", arguments);
    id = store.add_latency(row);
  }
  if (request.json) {
    print_as_json(latency, id);
  } else {
    print_as_text(latency);
  }
  return 0;
}

}  // namespace mnm
