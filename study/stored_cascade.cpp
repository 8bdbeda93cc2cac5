#include "study/stored_cascade.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/error.h"
#include "base/shell_word.h"
#include "dataset/examples.h"
#include "eval/paired.h"
#include "model/example_words.h"
#include "study/front_statistics.h"
#include "study/score_cells.h"
#include "study/store_rows.h"

namespace mnm {
namespace {

ModelRow model_row_of(const Store& store, std::int64_t model) {
  for (auto& [id, row] : store.models()) {
    if (id == model) return row;
  }
  fail("the store has no model {}", model);
}

// UsageError if the record's mean or its standard error is no share. They can be that only in a
// damaged store, where they need not be those of the values per example.
void require_share(const Record& record, Metric metric, std::string_view data) {
  const std::optional<Measured>& measured = record[metric];
  if (!measured) return;
  const auto require = [&](double value, const char* of) {
    if (is_share(value)) return;
    fail_usage("cannot make a cascade on {}: the {}{} of record {} ({}) is {}, expected 0 to 1",
               data, of, to_string(metric), record.id, to_string(record.widths), value);
  };
  require(measured->value, "");
  if (std::isnan(measured->standard_error)) return;  // unknown
  require(measured->standard_error, "standard error of the ");
}

}  // namespace

StoredCascade::StoredCascade(CascadeRequest request, const Store& store)
    : request_(std::move(request)), store_(store), model_(model_of_request()) {
  FrontQuery query;
  query.model = model_;
  query.all = true;
  const std::vector<Record> records = store.front(query);
  const Widths narrow = widths_of(request_.narrow, records),
               wide = widths_of(request_.wide, records);
  search_ = part_of_both("search", "data", request_.data, request_.dtype, narrow, wide);
  confirm_ =
      part_of_both("confirm", "confirm", request_.confirm, search_.narrow.dtype, narrow, wide);
  if (search_.narrow.data == confirm_.narrow.data) {
    fail_usage(
        "{} would choose the threshold and also be what it is reported on: name other data with "
        "--data or --confirm",
        search_.row.name);
  }
  require_cheaper();
  for (CascadePart* part : {&search_, &confirm_}) read_examples(*part);
  if (search_.examples.confidence == confirm_.examples.confidence &&
      search_.examples.narrow == confirm_.examples.narrow) {
    fail_usage(
        "{} and {} hold the same examples: name other data with --data or --confirm, on which "
        "nothing was chosen",
        search_.row.name, confirm_.row.name);
  }
}

std::vector<CascadeStep> StoredCascade::steps() const {
  std::vector<CascadeStep> steps;
  for (const float threshold :
       cascade_thresholds(search_.examples.confidence, static_cast<std::size_t>(request_.steps))) {
    steps.push_back({threshold, cascade_score(search_.examples, search_.flops(), threshold),
                     cascade_score(confirm_.examples, confirm_.flops(), threshold)});
  }
  return steps;
}

std::int64_t StoredCascade::model_of_request() const {
  if (!request_.model.empty()) return model_named(store_, request_.model);
  const auto models = store_.models();
  if (models.size() != 1) {
    fail_usage("a cascade is of one model, and {} has {}: name one with --model",
               request_.db.string(), models.size());
  }
  return models.front().first;
}

// Of records of the model, whatever data they are of.
Widths StoredCascade::widths_of(const std::string& word, std::span<const Record> records) const {
  const Record record = records_named(store_, records, word).front();
  if (record.model != model_) {
    fail_usage("record {} is of model {}, and the cascade of model {}", record.id, record.model,
               model_);
  }
  return record.widths;
}

// The records of both on these data, in every dtype that both were scored in.
std::vector<std::pair<Record, Record>> StoredCascade::pairs_on(std::int64_t data,
                                                               const Widths& narrow,
                                                               const Widths& wide,
                                                               std::optional<Dtype> dtype) const {
  std::vector<std::pair<Record, Record>> pairs;
  for (const Dtype tried : kComputed) {
    if (dtype && tried != *dtype) continue;
    std::optional<Record> a = store_.find(model_, data, tried, narrow);
    std::optional<Record> b = store_.find(model_, data, tried, wide);
    if (a && b) pairs.emplace_back(*std::move(a), *std::move(b));
  }
  return pairs;
}

DataRow StoredCascade::row_of_data(std::int64_t data) const {
  for (auto& [id, row] : store_.datasets()) {
    if (id == data) return row;
  }
  fail("a run names data {}, which the store does not hold", data);
}

// The data of a part on which both submodels were scored, with the records.
CascadePart StoredCascade::part_of_both(std::string_view name, std::string_view option,
                                        const std::string& wanted, std::optional<Dtype> dtype,
                                        const Widths& narrow, const Widths& wide) const {
  std::vector<std::int64_t> datasets;
  if (!wanted.empty()) {
    datasets.push_back(data_named(store_, wanted, model_));
  } else {
    for (const DataUse& use : store_.data_uses()) {
      if (use.model == model_ && (use.part == name || use.part == "search+confirm")) {
        datasets.push_back(use.data);
      }
    }
  }
  std::vector<std::pair<Record, Record>> pairs;
  for (const std::int64_t data : datasets) {
    for (auto& pair : pairs_on(data, narrow, wide, dtype)) pairs.push_back(std::move(pair));
  }
  if (pairs.empty()) {
    const Widths both[] = {narrow, wide};
    const std::string data = datasets.size() == 1 ? row_of_data(datasets.front()).name : "DATA";
    fail_usage(
        "{} and {} were not both scored on {}: {}", to_string(narrow), to_string(wide),
        wanted.empty() ? fmt::format("a {} part", name) : wanted,
        how_to_measure(data, datasets.empty() ? name : "", dtype.value_or(Dtype::kF32), both));
  }
  if (pairs.size() > 1) {
    fail_usage(
        "{} and {} were both scored on several {} parts, or in several types of arithmetic: choose "
        "with --{} and --dtype",
        to_string(narrow), to_string(wide), name, option);
  }
  CascadePart part{
      name, row_of_data(pairs.front().first.data), pairs.front().first, pairs.front().second, {}};
  const ExampleWords& words = words_of(part.row.kind);
  const bool one_token =
      part.row.kind == words_of(InputType::kTokenIds).kind && part.row.context == 1;
  if (words.example != words.output && !one_token) {
    fail_usage(
        "cannot make a cascade on {}: it asks for each example whether the narrow submodel is sure "
        "of its one answer, and these are {}",
        part.row.name, examples_text(part.row.kind, part.row.sequences, part.row.context));
  }
  return part;
}

// How to measure what the store lacks: the command, or, where the name of the data is no file's, in
// words. `part`: what the store records for the data; empty if it knows that.
std::string StoredCascade::how_to_measure(const std::string& data, std::string_view part,
                                          Dtype dtype, std::span<const Widths> widths) const {
  if (data.find(", ") != std::string::npos) {  // a protocol is a part of the name
    std::string each;
    for (const Widths& of : widths) each += fmt::format(" --widths {}", to_string(of));
    return fmt::format(
        "score it with 'mixnmatch eval' on the same data, with the options that their name tells, "
        "and with{} --metric {}{}",
        each, to_string(Metric::kConfidence), part.empty() ? "" : fmt::format(" --part {}", part));
  }
  std::string line =
      fmt::format("mixnmatch eval {} --data {}", shell_quoted(model_row_of(store_, model_).name),
                  shell_quoted(data));
  for (const Widths& each : widths) line += fmt::format(" --widths {}", to_string(each));
  line += fmt::format(" --metric {}", to_string(Metric::kConfidence));
  if (!part.empty()) line += fmt::format(" --part {}", part);
  if (dtype != Dtype::kF32) line += fmt::format(" --dtype {}", to_string(dtype));
  return fmt::format("do it with '{} --db {}'", line, shell_quoted(request_.db.string()));
}

void StoredCascade::require_cheaper() const {
  for (const CascadePart* part : {&search_, &confirm_}) {
    const CascadeFlops flops = part->flops();
    if (flops.narrow < flops.wide) continue;
    fail_usage(
        "the narrow submodel comes first and costs less, but {} has {} {} and {} has {} on {}",
        to_string(part->narrow.widths), flops.narrow,
        in_words("FLOPs per token", words_of(part->row.kind)), to_string(part->wide.widths),
        flops.wide, part->row.name);
  }
}

std::vector<float> StoredCascade::values_of(const CascadePart& part, const Record& record,
                                            Metric metric) const {
  if (record[metric] && !record.ok(metric)) {
    fail_usage("the {} of record {} ({}) on {} is {}", to_string(metric), record.id,
               to_string(record.widths), part.row.name, record.status(metric));
  }
  require_share(record, metric, part.row.name);
  std::vector<float> values = store_.per_example(record.id, metric);
  if (!record[metric] || values.empty()) {
    fail_usage("the store has no {} of {} for each example of {}: {}", to_string(metric),
               to_string(record.widths), part.row.name,
               how_to_measure(part.row.name, "", record.dtype, {&record.widths, 1}));
  }
  return values;
}

void StoredCascade::read_examples(CascadePart& part) const {
  part.examples = {values_of(part, part.narrow, Metric::kConfidence),
                   values_of(part, part.narrow, Metric::kAccuracy),
                   values_of(part, part.wide, Metric::kAccuracy)};
  require_cascade(part.examples, part.row.name);
}

CascadeSingle StoredCascade::single_beside(const CascadeStep& step) const {
  const std::optional<Record> best = best_single(store_, search_.narrow, step.confirmed.flops);
  if (!best) {
    fail("{} is damaged: nothing on its front is as cheap as {}", request_.db.string(),
         to_string(search_.narrow.widths));
  }
  require_share(*best, Metric::kAccuracy, search_.row.name);
  CascadeSingle single{*best, {}, {}, {}};
  const Record& like = confirm_.narrow;
  single.confirmed = store_.find(model_, like.data, like.dtype, best->widths);
  std::vector<float> values;
  if (single.confirmed) {
    const Record& record = *single.confirmed;
    if (record[Metric::kAccuracy] && !record.ok(Metric::kAccuracy)) {
      single.missing = fmt::format("the accuracy of record {} is {}", record.id,
                                   record.status(Metric::kAccuracy));
      return single;
    }
    require_share(record, Metric::kAccuracy, confirm_.row.name);
    values = store_.per_example(record.id, Metric::kAccuracy);
    const auto bad = std::ranges::find_if_not(values, is_share);
    if (bad != values.end()) {
      fail_usage(
          "cannot compare the cascade with record {} ({}) on {}: the accuracy of its example {} is "
          "{}, expected 0 to 1",
          record.id, to_string(record.widths), confirm_.row.name, bad - values.begin(), *bad);
    }
  }
  const std::vector<float> own = cascade_accuracy(confirm_.examples, step.threshold);
  if (values.size() == own.size()) {
    single.difference = paired_difference(own, values);
    return single;
  }
  single.missing = how_to_measure(confirm_.row.name, "", like.dtype, {&best->widths, 1});
  return single;
}

FrontPlot StoredCascade::plot(std::span<const CascadeStep> steps) const {
  const ModelRow model = model_row_of(store_, model_);
  FrontPlot plot;
  plot.title = fmt::format("A cascade of {} and {} of {}", to_string(search_.narrow.widths),
                           to_string(search_.wide.widths), model.name);
  plot.subtitle = fmt::format("on {}, in {}; the front is that of {}",
                              data_text(confirm_.row, std::string(confirm_.name)),
                              to_string(confirm_.narrow.dtype), search_.row.name);
  plot.cost_axis = in_words(cost_axis(CostKind::kFlops), words()) + ", on average";
  plot.loss_axis = in_words(row_of(Metric::kAccuracy).unit, words());
  const auto add = [&](std::vector<PlotPoint>& points, const Record& record, std::string label) {
    if (!record.ok(Metric::kAccuracy)) return;
    require_share(record, Metric::kAccuracy, confirm_.row.name);
    points.push_back({static_cast<double>(record.cost.flops), record.value(Metric::kAccuracy),
                      std::move(label)});
  };
  FrontQuery query;
  query.model = model_;
  query.dtype = confirm_.narrow.dtype;
  query.metric = Metric::kAccuracy;
  query.cost = CostKind::kFlops;
  query.data = search_.narrow.data;
  for (const Record& member : store_.front(query)) {
    const auto confirmed = store_.find(model_, confirm_.narrow.data, member.dtype, member.widths);
    if (confirmed) add(plot.front, *confirmed, to_string(member.widths));
  }
  query.data = confirm_.narrow.data;
  query.all = true;
  for (const Record& record : store_.front(query)) {
    add(plot.all, record, "");
    if (!is_uniform_granularity(record.widths, model.granularities)) continue;
    add(plot.uniform, record, fmt::format("uniform {}", record.widths.front()));
  }
  for (const CascadeStep& step : steps) {
    const CascadeScore& score = step.confirmed;
    plot.cascade.push_back(
        {score.flops, score.accuracy.value,
         fmt::format("threshold {:.4f}: {:.1f} % go on", step.threshold, 100 * score.goes_on)});
  }
  return plot;
}

}  // namespace mnm
