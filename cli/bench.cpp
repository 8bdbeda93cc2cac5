#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <memory>

#include "base/error.h"
#include "base/interrupt.h"
#include "base/quantity.h"
#include "cli/common_options.h"
#include "cli/example_readers.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "dataset/examples.h"
#include "engine/engine.h"
#include "eval/prefix_tree.h"
#include "export/probe.h"
#include "families/open_model.h"
#include "heuristics/least_slope.h"
#include "heuristics/monotone.h"
#include "heuristics/uniform.h"
#include "report/table.h"

namespace mnm {
namespace {

struct Request {
  ModelOptions model;
  std::vector<std::string> sets;
  std::int64_t sample = 64;
  ExampleOptions data;
  DeviceOptions device;
  bool json = false, csv = false;
};

constexpr std::int64_t kMostCandidates = 1 << 20;

// Side of the square product that rates are shares of: so large that it is the machine's.
std::int64_t peak_side(const DeviceOptions& device) { return device.device == "cpu" ? 2048 : 8192; }
constexpr std::string_view kSets[] = {"uniform",   "least-slope", "monotone", "grid",
                                      "published", "block",       "layer"};

// Every submodel of the granularities, in lexicographic order: neighbours share prefixes.
std::vector<Widths> whole_grid(const WidthSpace& space) {
  if (space.submodels() > static_cast<double>(kMostCandidates)) {
    fail_usage("the grid has {} submodels, too many to bench: use --set monotone",
               space.submodels_text());
  }
  std::vector<Widths> grid = {{}};
  for (std::size_t layer = 0; layer < space.layers.size(); ++layer) {
    std::vector<Widths> longer;
    for (const Widths& prefix : grid) {
      for (const Width width : space.choices(layer)) {
        longer.push_back(prefix);
        longer.back().push_back(width);
      }
    }
    grid = std::move(longer);
  }
  return grid;
}

std::vector<Widths> candidates_of(const std::string& set, const OpenedModel& opened) {
  const WidthSpace& space = opened.model.space;
  if (set == "uniform") return uniform_schedule(space);
  if (set == "least-slope") return least_slope_schedule(space);
  if (set == "monotone") return monotone_schedule(space, kMostCandidates);
  if (set == "grid") return whole_grid(space);
  return widths_of_set(opened.family->published(opened.model), set);
}

// Evenly spaced, the first and the last among them.
std::vector<std::size_t> sample_of(std::size_t size, std::size_t wanted) {
  const std::size_t count = std::min(size, wanted);
  std::vector<std::size_t> indices;
  for (std::size_t i = 0; i < count; ++i) {
    indices.push_back(count == 1 ? 0 : i * (size - 1) / (count - 1));
  }
  return indices;
}

struct Comparison {
  std::size_t candidates = 0, sample = 0;
  PlanCost plan;
  double shared_seconds = 0;
  double one_by_one_seconds = 0;  // of all, from the sample by FLOPs
  double worst = 0, tolerance = 0;

  double speedup() const { return one_by_one_seconds / shared_seconds; }
};

class Bench {
 public:
  Bench(const OpenedModel& opened, const Examples& data, const DeviceOptions& device,
        const InterruptGuard& guard)
      : opened_(opened),
        data_(data),
        guard_(guard),
        rounding_(std::max(1.0, roundoff(Dtype::kF32, device.dtype) * 0x1p24)),
        session_(open_engine(device.device).load(opened.model, opened.checkpoint, device)) {}

  // One by one before and after the shared plan, half of the sample each, so that a drift of the
  // machine's speed meets both.
  Comparison compare(const std::vector<Widths>& candidates, std::size_t sample_size) {
    const NestedModel& model = opened_.model;
    Comparison result;
    result.candidates = candidates.size();
    result.plan = cost_of(make_prefix_tree(candidates), model, data_.context, data_.share());
    const std::vector<std::size_t> indices = sample_of(candidates.size(), sample_size);
    result.sample = indices.size();
    std::vector<Widths> halves[2];
    for (std::size_t i = 0; i < indices.size(); ++i)
      halves[i % 2].push_back(candidates[indices[i]]);

    score({candidates.data(), 1}, false);  // warm-up
    double seconds = 0, flops = 0;
    std::vector<CandidateScores> alone[2];
    const auto one_by_one = [&](int half) {
      if (halves[half].empty()) return;
      seconds += timed([&] { alone[half] = score(halves[half], true); });
      flops +=
          cost_of(make_prefix_tree(halves[half]), model, data_.context, data_.share()).one_by_one;
    };
    std::vector<CandidateScores> together;
    one_by_one(0);
    result.shared_seconds = timed([&] { together = score(candidates, false); });
    one_by_one(1);
    result.one_by_one_seconds = seconds * result.plan.one_by_one / flops;

    for (std::size_t i = 0; i < indices.size(); ++i) {
      const std::vector<float>& a = alone[i % 2][i / 2][Metric::kLoss];
      const std::vector<float>& b = together[indices[i]][Metric::kLoss];
      for (std::size_t s = 0; s < a.size(); ++s) {
        const double difference = std::abs(static_cast<double>(a[s]) - static_cast<double>(b[s]));
        if (!(difference <= result.worst)) result.worst = difference;  // NaN stays
      }
    }
    result.tolerance = loss_tolerance();
    if (!(result.worst <= result.tolerance)) {
      fail(
          "shared and one-by-one losses differ by {:.2e}, more than the {:.2e} that rounding "
          "explains: "
          "nothing was timed",
          result.worst, result.tolerance);
    }
    return result;
  }

 private:
  template <typename Work>
  double timed(const Work& work) const {
    const auto start = std::chrono::steady_clock::now();
    work();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  }

  std::vector<CandidateScores> score(std::span<const Widths> candidates, bool one_by_one) {
    ScoreOptions options;
    options.one_by_one = one_by_one;
    ProgressBar bar(one_by_one ? "one by one" : "shared");
    return session_->score(candidates, data_, options, shown_on(bar, guard_));
  }

  // A loss is a log-sum-exp less a logit; each moves by at most as much as the logits do, and these
  // in proportion to what the run's dtype rounds by.
  double loss_tolerance() const {
    const NestedModel& model = opened_.model;
    std::int64_t longest = model.hidden_size;
    for (const LayerChoices& layer : model.space.layers) {
      longest = std::max<std::int64_t>(longest, layer.full());
    }
    const std::vector<float> logits = session_->logits(model.space.full(), inputs_of(data_, 0, 1));
    return 2 * logits_tolerance(logits, longest, model.layers()) * rounding_;
  }

  const OpenedModel& opened_;
  const Examples& data_;
  const InterruptGuard& guard_;
  double rounding_;  // of the dtype, in those of f32
  std::unique_ptr<ModelSession> session_;
};

OptionTable option_table(Request& request) {
  auto& [model, sets, sample, data, device, json, csv] = request;
  OptionTable options(
      "bench",
      "Times shared evaluation against one-by-one evaluation in one run, after checking that both "
      "give the same losses. Beside the result it prints the ratio of FLOPs that the plan states, "
      "and the rate of a square product.");
  add_model_options(options, model);
  add_image_size_option(options, model.nesting);
  options
      .option("set", texts_value(sets, "NAME"),
              "the set of submodels: uniform, least-slope, monotone or grid (default monotone); "
              "also published, block and layer, where a model's authors have published submodels")
      .option("sample", count_value(sample, 2, kMostCandidates),
              "how many submodels are timed one by one; FLOPs give the time of the rest")
      .section("data")
      .option("data", required(data_value(data.path)),
              "token file (an llm.c shard, .npy, bytes, text, or what --token-format says), or "
              "an image set");
  add_data_options(options, data);
  add_device_options(options, device);
  options.section("output");
  add_output_options(options, json, csv);
  return options;
}

Table empty_table() {
  return {{{"set", "set", false},
           {"submodels", "submodels"},
           {"sample", "timed alone", true},
           {"plan_flops", "plan's FLOPs"},
           {"plan_gain", "FLOP ratio"},
           {"shared_seconds", "shared, s"},
           {"one_by_one_seconds", "one by one, s"},
           {"speedup", "measured ratio"},
           {"share", "share of FLOP ratio"},
           {"ms_per_submodel", "ms/submodel"},
           {"rate", "FLOP/s"},
           {"peak", "product's FLOP/s"},
           {"of_peak", "share of product"},
           {"worst", "worst difference"}},
          {}};
}

// peak: FLOP/s of a product of matrices on this device.
std::vector<Cell> row_of(const std::string& set, const Comparison& c, double tokens, double peak) {
  const double rate = c.plan.shared * tokens / c.shared_seconds;
  return {cell(set),
          cell(static_cast<std::int64_t>(c.candidates)),
          cell(static_cast<std::int64_t>(c.sample)),
          quantity_cell(static_cast<std::int64_t>(c.plan.shared * tokens)),
          real_cell(c.plan.gain(), 2),
          real_cell(c.shared_seconds, 2),
          real_cell(c.one_by_one_seconds, 2),
          real_cell(c.speedup(), 2),
          real_cell(c.speedup() / c.plan.gain(), 3),
          real_cell(1e3 * c.shared_seconds / static_cast<double>(c.candidates), 3),
          quantity_cell(static_cast<std::int64_t>(rate)),
          quantity_cell(static_cast<std::int64_t>(peak)),
          real_cell(rate / peak, 3),
          cell(fmt::format("{:.1e}", c.worst))};
}

}  // namespace

int bench_command(const Arguments& arguments) {
  Request request;
  request.data.max_tokens = 1024;
  OptionTable options = option_table(request);
  if (!options.parse(arguments)) return 0;
  const OutputFormat output = output_format(request.json, request.csv);
  if (request.sets.empty()) request.sets = {"monotone"};
  for (const std::string& set : request.sets) {
    if (std::find(std::begin(kSets), std::end(kSets), set) == std::end(kSets)) {
      fail_usage(
          "--set takes uniform, least-slope, monotone, grid, published, block or layer, not '{}'",
          set);
    }
  }

  const OpenedModel opened = open_model(request.model.directory, request.model.nesting);
  const NestedModel& model = opened.model;
  read_as_model(request.data, opened);
  const std::unique_ptr<const Examples> data = load_examples(request.data, model);
  const DeviceOptions& device = request.device;
  const InterruptGuard guard;
  Bench bench(opened, *data, device, guard);
  Table table = empty_table();
  for (const std::string& set : request.sets) {
    // Before and after, since whatever else runs here makes the product slower and the share
    // larger.
    const auto product_rate = [&] {
      return open_engine(device.device).matmul_rate(peak_side(device), device);
    };
    const double before = product_rate();
    const Comparison comparison =
        bench.compare(candidates_of(set, opened), static_cast<std::size_t>(request.sample));
    table.rows.push_back(row_of(set, comparison, static_cast<double>(data->count * data->context),
                                std::max(before, product_rate())));
  }
  print_table(table, output);
  return 0;
}

}  // namespace mnm
