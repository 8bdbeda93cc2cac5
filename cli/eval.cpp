#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <memory>
#include <utility>

#include "base/error.h"
#include "base/interrupt.h"
#include "base/quantity.h"
#include "cli/common_options.h"
#include "cli/example_readers.h"
#include "cli/left_aside.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/print.h"
#include "cli/progress.h"
#include "cli/retrieval_options.h"
#include "dataset/examples.h"
#include "eval/prefix_tree.h"
#include "families/open_model.h"
#include "model/example_words.h"
#include "report/table.h"
#include "study/ranks.h"
#include "study/score_cells.h"
#include "study/scorer.h"
#include "study/store_rows.h"

namespace mnm {
namespace {

struct Request {
  ModelOptions model;
  std::vector<std::string> widths;
  ExampleOptions data;
  ScoreOptions score;
  RetrievalOptions retrieval;
  bool consistency = false;
  DeviceOptions device;
  std::filesystem::path db;
  std::string part;
  bool json = false, csv = false;
};

constexpr std::string_view kParts[] = {"search", "confirm"};

// `metric`: what the paired difference to the first is of. `protocol`: of the data.
Table score_table(const std::vector<Score>& scores, std::span<const MetricRow> measured,
                  Metric metric, const ExampleWords& words, const std::string& protocol) {
  const bool several = scores.size() > 1;
  Table table{{{"widths", "widths", false},
               {"params", "parameters"},
               {"non_embedding", "non-embedding", true, false, false},
               {"bytes", "bytes"},
               {"flops", in_words("FLOPs/token", words)},
               {"kv_bytes", "KV bytes/token", true, false, false},
               {"status", "status", false, false, false},
               {"loss", in_words("loss, nats/token", words), true, true},
               {"perplexity", "perplexity"}},
              {}};
  for (const MetricRow& row : metric_table()) {
    if (row.metric == Metric::kLoss) continue;
    const bool shown =
        std::ranges::find(measured, row.metric, &MetricRow::metric) != measured.end();
    table.columns.push_back({std::string(row.name), in_words(row.title, words), true, true, shown});
  }
  table.columns.push_back(
      {"difference", fmt::format("{} - first's, paired", to_string(metric)), true, true, several});
  table.columns.push_back({"z", "in SE", true, false, several});
  table.columns.push_back({"protocol", "protocol", false, false, !protocol.empty()});
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
    row.push_back(protocol.empty() ? missing_cell() : cell(protocol));
    table.rows.push_back(std::move(row));
  }
  return table;
}

std::vector<Widths> candidates_of(const std::vector<std::string>& texts,
                                  const OpenedModel& opened) {
  const NestedModel& model = opened.model;
  std::vector<Widths> candidates;
  for (const std::string& text : texts) {
    if (text == "uniform") {
      for (std::size_t level = 0; level < model.space.levels(); ++level) {
        candidates.push_back(model.space.uniform(level));
      }
    } else if (std::ranges::find(kPublishedSets, text) != std::end(kPublishedSets)) {
      for (Widths& widths : widths_of_set(opened.family->published(model), text)) {
        candidates.push_back(std::move(widths));
      }
    } else {
      candidates.push_back(parse_widths(text, model.layers()));
      model.space.require(candidates.back());
    }
  }
  return candidates;
}

OptionTable option_table(Request& request) {
  auto& [model, widths, data, score, retrieval, consistency, device, db, part, json, csv] = request;
  OptionTable options("eval",
                      "Scores submodels on a token file. For each it prints the mean loss with its "
                      "standard error over sequences, the perplexity and the exact costs. If there "
                      "are several, it also prints the paired difference to the first.");
  add_model_options(options, model);
  add_image_size_option(options, model.nesting);
  options
      .option("widths", texts_value(widths, "WIDTHS"),
              "a submodel: 512x4,256x8, or a single width for all layers, or 'uniform' for every "
              "uniform submodel (the default), or 'published', 'block' or 'layer' for those that "
              "the model's authors have published")
      .section("data")
      .option("data", required(data_value(data.path)),
              "token file (an llm.c shard, .npy, bytes, text, or what --token-format says), a "
              "task file of 'mixnmatch tasks', or an image set");
  add_data_options(options, data);
  options.section("scores")
      .option("metric", metrics_value(score.metrics),
              "a metric to measure besides loss and accuracy. The paired difference is of the "
              "first one that is named")
      .option("consistency", flag_value(consistency),
              "also measure KL to the full model and top-1 agreement with it")
      .option("one-by-one", flag_value(score.one_by_one),
              "evaluate every submodel alone: slow, to check shared evaluation");
  add_retrieval_options(options, retrieval);
  add_device_options(options, device);
  options.section("output")
      .option("db", path_value(db), "also keep the scores in this store")
      .option("part", choice_value(part, kParts), "the part that the store records for these data");
  add_output_options(options, json, csv);
  return options;
}

class EvalCommand {
 public:
  EvalCommand(Request& request, const OptionTable& options, const Arguments& arguments)
      : request_(request),
        arguments_(arguments),
        opened_(open_model(request.model.directory, request.model.nesting)),
        candidates_(candidates_of(request.widths, opened_)) {
    read_as_model(request_.data, opened_);
    request_.data.may_be_task = true;
    std::unique_ptr<Examples> data = load_examples(request_.data, opened_.model);
    ScoreOptions& wanted = request_.score;
    require_metrics(wanted.metrics, data->kind());
    wanted.retrieval = load_retrieval(options, request_.retrieval, wanted.metrics, request_.data,
                                      opened_, request_.db, request_.device.dtype);
    if (wanted.retrieval) {
      make_queries(*data, *wanted.retrieval, QueriesInDatabase::kNoted);
    }
    data_ = std::move(data);
  }

  // `compared`: the metric whose differences are shown.
  int run(Metric compared, OutputFormat output) {
    const std::unique_ptr<Ranks> ranks = Ranks::join(note_line);
    if (ranks && ranks->rank() > 0) {
      const Examples* const datasets[] = {data_.get()};
      Scorer(opened_, request_.device, request_.score, ranks.get(), note_line).serve(datasets);
      return 0;
    }
    note_left_aside(opened_.checkpoint);
    note_resized_positions(opened_.model);
    require_device(request_.device);
    if (!request_.db.empty()) Store::require_writable(request_.db);
    Scorer scorer(opened_, request_.device, request_.score, ranks.get(), note_line);
    encode_with_bar(scorer, request_.score, guard_);
    const std::vector<Score> scores = score(scorer);
    if (!request_.db.empty()) {
      Store store = Store::open(request_.db, Store::Mode::kWrite);
      record_run(store, run_row(scorer), opened_, *data_, scores);
    }
    print_table(score_table(scores, request_.score.measured(data_->kind()), compared,
                            words_of(opened_.model.input.type), data_->protocol),
                output);
    return 0;
  }

 private:
  std::vector<Score> score(Scorer& scorer) const {
    const Examples& data = *data_;
    const PlanCost plan =
        cost_of(make_prefix_tree(candidates_), opened_.model, data.context, data.share());
    const bool alone = request_.score.one_by_one;
    const double flops =
        (alone ? plan.one_by_one : plan.shared) * static_cast<double>(data.positions());
    note("{} submodels on {}: {}FLOPs, {}\n", candidates_.size(),
         examples_text(data.kind(), data.count, data.context), quantity(flops),
         alone ? std::string("one by one")
               : fmt::format("{:.2f} times fewer than one by one", plan.gain()));
    if (!data.protocol.empty()) note("scores are of {}\n", data.protocol);
    if (request_.score.own_databases()) {
      note(
          "then each submodel encodes the database and the queries, one submodel after the "
          "other\n");
    }
    ProgressBar bar("scoring");
    std::vector<Score> scores = scorer.score(candidates_, data, shown_on(bar, guard_));
    const std::string took = duration_text(bar.seconds());
    bar.note(request_.score.own_databases()
                 ? took  // the plan's FLOPs are not all that was computed
                 : fmt::format("{} ({}FLOP/s)", took, quantity(flops / bar.seconds())));
    return scores;
  }

  RunRow run_row(Scorer& scorer) const {
    RunRow run;
    run.part = request_.part;
    run.command = "eval";
    run.command_line = command_line("eval", arguments_);
    run.device = scorer.device_name();
    run.dtype = request_.device.dtype;
    return run;
  }

  Request& request_;
  const Arguments& arguments_;
  const InterruptGuard guard_;
  const OpenedModel opened_;
  const std::vector<Widths> candidates_;
  std::unique_ptr<const Examples> data_;
};

}  // namespace

int eval_command(const Arguments& arguments) {
  Request request;
  OptionTable options = option_table(request);
  if (!options.parse(arguments)) return 0;
  const OutputFormat output = output_format(request.json, request.csv);
  std::vector<Metric>& metrics = request.score.metrics;
  const Metric compared = metrics.empty() ? Metric::kLoss : metrics.front();
  if (request.consistency) metrics.insert(metrics.end(), {Metric::kKl, Metric::kAgreement});
  if (request.widths.empty()) request.widths = {"uniform"};
  return EvalCommand(request, options, arguments).run(compared, output);
}

}  // namespace mnm
