#include <fmt/format.h>

#include <cmath>
#include <cstdio>
#include <memory>

#include "cli/common_options.h"
#include "cli/interrupt.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/print.h"
#include "cli/progress.h"
#include "cli/text_tokens.h"
#include "dataset/examples.h"
#include "eval/prefix_tree.h"
#include "families/open_model.h"
#include "model/error.h"
#include "model/quantity.h"
#include "model/version.h"
#include "report/table.h"
#include "study/ranks.h"
#include "study/score_cells.h"
#include "study/scorer.h"
#include "study/store_rows.h"

namespace mnm {
namespace {

// `metric`: what the paired difference to the first is of.
Table score_table(const std::vector<Score>& scores, std::span<const MetricRow> measured,
                  Metric metric) {
  const bool several = scores.size() > 1;
  Table table{{{"widths", "widths", false},
               {"params", "parameters"},
               {"non_embedding", "non-embedding", true, false, false},
               {"bytes", "bytes"},
               {"flops", "FLOPs/token"},
               {"kv_bytes", "KV bytes/token", true, false, false},
               {"status", "status", false, false, false},
               {"loss", "loss, nats/token", true, true},
               {"perplexity", "perplexity"}},
              {}};
  for (const MetricRow& row : metric_table()) {
    if (row.metric == Metric::kLoss) continue;
    const bool shown = static_cast<std::size_t>(row.metric) < measured.size();
    table.columns.push_back({std::string(row.name), std::string(row.title), true, true, shown});
  }
  table.columns.push_back(
      {"difference", fmt::format("{} - first's, paired", to_string(metric)), true, true, several});
  table.columns.push_back({"z", "in SE", true, false, several});
  for (const Score& score : scores) {
    std::vector<Cell> row = {cell(to_string(score.widths)),
                             quantity_cell(score.cost.params),
                             quantity_cell(score.cost.non_embedding),
                             quantity_cell(score.cost.bytes),
                             quantity_cell(score.cost.flops),
                             quantity_cell(score.cost.kv_bytes),
                             cell(std::string(score.status())),
                             score_cell(score, Metric::kLoss),
                             score.ok() ? real_cell(std::exp(score.value()), 3) : missing_cell()};
    for (const MetricRow& of : metric_table()) {
      if (of.metric != Metric::kLoss) row.push_back(score_cell(score, of.metric));
    }
    const Score& first = scores.front();
    const bool both = &score != &first && score.ok(metric) && first.ok(metric);
    add_difference(row, both ? std::optional(row_of(metric).difference(score.per_example[metric],
                                                                       first.per_example[metric]))
                             : std::nullopt);
    table.rows.push_back(std::move(row));
  }
  return table;
}

std::vector<Widths> candidates_of(const std::vector<std::string>& texts, const NestedModel& model) {
  std::vector<Widths> candidates;
  for (const std::string& text : texts) {
    if (text == "uniform") {
      for (std::size_t level = 0; level < model.space.levels(); ++level) {
        candidates.push_back(model.space.uniform(level));
      }
    } else {
      candidates.push_back(parse_widths(text, model.layers()));
      model.space.require(candidates.back());
    }
  }
  return candidates;
}

}  // namespace

int eval_command(const Arguments& arguments) {
  ModelOptions model_options;
  ExampleOptions data_options;
  DeviceOptions device;
  ScoreOptions score;
  bool consistency = false;
  std::vector<std::string> widths;
  std::string part;
  std::filesystem::path db;
  bool json = false, csv = false;
  static constexpr std::string_view kParts[] = {"search", "confirm"};

  OptionTable options("eval",
                      "Scores submodels on a token file. For each it prints the mean loss with its "
                      "standard error over sequences, the perplexity and the exact costs. If there "
                      "are several, it also prints the paired difference to the first.");
  add_model_options(options, model_options);
  options
      .option("widths", texts_value(widths, "WIDTHS"),
              "a submodel: 512x4,256x8, or a single width for all layers, or 'uniform' for every "
              "uniform submodel (the default)")
      .section("data")
      .option("data", required(path_value(data_options.path)),
              "token file: an llm.c shard, .npy, bytes, text, or what --token-format says");
  add_data_options(options, data_options);
  options.section("scores")
      .option("metric", metrics_value(score.metrics),
              "a metric to measure besides loss and accuracy. The paired difference is of the "
              "first one that is named")
      .option("consistency", flag_value(consistency),
              "also measure KL to the full model and top-1 agreement with it")
      .option("one-by-one", flag_value(score.one_by_one),
              "evaluate every submodel alone: slow, to check shared evaluation");
  add_device_options(options, device);
  options.section("output")
      .option("db", path_value(db), "also keep the scores in this store")
      .option("part", choice_value(part, kParts), "the part that the store records for these data");
  add_output_options(options, json, csv);
  if (!options.parse(arguments)) return 0;
  const OutputFormat output = output_format(json, csv);
  const Metric compared = score.metrics.empty() ? Metric::kLoss : score.metrics.front();
  if (consistency) score.metrics.insert(score.metrics.end(), {Metric::kKl, Metric::kAgreement});

  const InterruptGuard guard;
  const OpenedModel opened = open_model(model_options.directory, model_options.nesting);
  const NestedModel& model = opened.model;
  const std::vector<Widths> candidates =
      candidates_of(widths.empty() ? std::vector<std::string>{"uniform"} : widths, model);
  data_options.text = text_tokens(opened.checkpoint.directory(), model.vocab_size);
  const std::unique_ptr<const Examples> examples = load_examples(data_options, model);
  const Examples& data = *examples;
  const std::unique_ptr<Ranks> ranks = Ranks::join(note_line);
  if (ranks && ranks->rank() > 0) {
    const Examples* const datasets[] = {&data};
    Scorer(opened, device, score, ranks.get(), note_line).serve(datasets);
    return 0;
  }
  require_device(device);
  std::optional<Store> store;
  if (!db.empty()) store = Store::open(db, Store::Mode::kWrite);

  const PlanCost plan = cost_of(make_prefix_tree(candidates), model, data.context, data.share());
  const double tokens = static_cast<double>(data.count * data.context);
  note("{} submodels on {} sequences of {} tokens: {}FLOPs, {}\n", candidates.size(), data.count,
       data.context, quantity((score.one_by_one ? plan.one_by_one : plan.shared) * tokens),
       score.one_by_one ? std::string("one by one")
                        : fmt::format("{:.2f} times fewer than one by one", plan.gain()));

  Scorer scorer(opened, device, score, ranks.get(), note_line);
  std::vector<Score> scores;
  {
    ProgressBar bar("scoring");
    scores = scorer.score(candidates, data, [&](const Progress& progress) {
      const double fraction = progress.done / progress.total;
      bar.show(fraction,
               fmt::format("{} left", duration_text(seconds_left(fraction, bar.seconds()))));
      return !guard.interrupted();
    });
    const double flops = (score.one_by_one ? plan.one_by_one : plan.shared) * tokens;
    bar.note(fmt::format("{} ({}FLOP/s)", duration_text(bar.seconds()),
                         quantity(flops / bar.seconds())));
  }

  if (store) {
    RunRow run;
    run.model = store->model(model_row(opened));
    run.data = store->data(data_row(data));
    run.part = part;
    run.command = "eval";
    run.command_line = command_line("eval", arguments);
    run.build = build_text();
    run.device = scorer.device_name();
    run.dtype = device.dtype;
    const std::int64_t id = store->begin_run(run);
    store->add(id, scores);
    store->finish_run(id, "done");
  }
  print_table(score_table(scores, score.measured(), compared), output);
  return 0;
}

}  // namespace mnm
