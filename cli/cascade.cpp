#include "study/cascade.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <span>
#include <utility>

#include "base/error.h"
#include "base/files.h"
#include "base/quantity.h"
#include "base/shell_word.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/output_file.h"
#include "cli/print.h"
#include "dataset/examples.h"
#include "db/store.h"
#include "eval/paired.h"
#include "model/example_inputs.h"
#include "model/example_words.h"
#include "report/svg.h"
#include "report/table.h"
#include "study/front_statistics.h"
#include "study/score_cells.h"
#include "study/store_rows.h"

namespace mnm {
namespace {

struct Request {
  std::string a_word, b_word;
  std::filesystem::path db;
  std::string model, data, confirm;
  std::optional<Dtype> dtype;
  CascadeGoal goal;
  std::int64_t steps = 20;
  std::filesystem::path svg;
  bool force = false, json = false, csv = false;
};

// Of the data that choose the threshold, or of those that it is reported on.
struct Part {
  std::string_view name;    // "search", "confirm"
  std::string_view option;  // that names the data: "data", "confirm"
  DataRow row;
  Record narrow, wide;
  CascadeExamples examples;

  CascadeFlops flops() const { return {narrow.cost.flops, wide.cost.flops}; }
};

// One threshold on both parts.
struct Step {
  float threshold = 0;
  CascadeScore searched, confirmed;
};

// The member of the front that the cascade is compared with.
struct Single {
  Record record;                       // of the search part, which chose it
  std::optional<Record> confirmed;     // nothing: the store lacks its values
  std::optional<Estimate> difference;  // accuracy of the cascade minus its own, paired
  std::string missing;                 // why there is none, or what supplies the values
};

OptionTable option_table(Request& request) {
  OptionTable options(
      "cascade",
      "Puts two scored submodels in a row, from the store alone: A answers an example where its "
      "confidence is at least a threshold, else B answers it. It prints accuracy over average "
      "FLOPs by threshold. One threshold is chosen on the search part and reported on the confirm "
      "part, beside the best single submodel of the front that costs no more. It needs data with "
      "one answer for each example, as images have, and A's scores with --metric confidence.");
  options
      .argument("A", required(text_value(request.a_word, "")),
                "the narrow submodel: a record's number, or widths such as 512x4,256x4")
      .argument("B", required(text_value(request.b_word, "")), "the wide one, which costs more")
      .section("which records")
      .option("db", required(path_value(request.db)), "the store")
      .option("model", text_value(request.model, "NAME"),
              "of this model: id, name or fingerprint; else the store's only one")
      .option("data", text_value(request.data, "NAME"),
              "the data that choose the threshold: id, name, part or fingerprint; else the search "
              "part")
      .option("confirm", text_value(request.confirm, "NAME"),
              "the data that it is reported on; else the confirm part")
      .option("dtype", dtype_value(request.dtype), "only with arithmetic in this type")
      .section("threshold")
      .option("keep-accuracy", real_value(request.goal.keep_accuracy, 0, 1),
              "how much less accurate than B the cascade may be on the search part. The cheapest "
              "threshold that meets this is chosen")
      .option("budget-flops", quantity_value(request.goal.budget_flops, "N"),
              "instead: the most FLOPs per example, averaged over the search part. The most "
              "accurate threshold within them is chosen")
      .option("steps", count_value(request.steps, 1, 10'000),
              "tries N + 1 thresholds; each sends 1/N more of the search part on to B")
      .section("output")
      .option("svg", path_value(request.svg), "also draw accuracy over FLOPs, beside the front")
      .option("force", flag_value(request.force), "replace a file that exists");
  add_output_options(options, request.json, request.csv);
  return options;
}

// What the store holds of the two submodels, on both parts.
class StoredCascade {
 public:
  StoredCascade(const Request& request, const Store& store)
      : request_(request), store_(store), model_(model_of_request()) {
    FrontQuery query;
    query.model = model_;
    query.all = true;
    const std::vector<Record> records = store.front(query);
    const Widths narrow = widths_of(request.a_word, records),
                 wide = widths_of(request.b_word, records);
    search_ = part_of_both("search", "data", request.data, request.dtype, narrow, wide);
    confirm_ =
        part_of_both("confirm", "confirm", request.confirm, search_.narrow.dtype, narrow, wide);
    if (search_.narrow.data == confirm_.narrow.data) {
      fail_usage(
          "{} would choose the threshold and also be what it is reported on: name other data with "
          "--data or --confirm",
          search_.row.name);
    }
    require_cheaper();
    for (Part* part : {&search_, &confirm_}) read_examples(*part);
    if (search_.examples.confidence == confirm_.examples.confidence &&
        search_.examples.narrow == confirm_.examples.narrow) {
      fail_usage(
          "{} and {} hold the same examples: name other data with --data or --confirm, on which "
          "nothing was chosen",
          search_.row.name, confirm_.row.name);
    }
  }

  const Part& search() const { return search_; }
  const Part& confirm() const { return confirm_; }
  const ExampleWords& words() const { return words_of(confirm_.row.kind); }

  std::vector<Step> steps() const {
    std::vector<Step> steps;
    for (const float threshold : cascade_thresholds(search_.examples.confidence,
                                                    static_cast<std::size_t>(request_.steps))) {
      steps.push_back({threshold, cascade_score(search_.examples, search_.flops(), threshold),
                       cascade_score(confirm_.examples, confirm_.flops(), threshold)});
    }
    return steps;
  }

  Single single_beside(const Step& step) const;
  FrontPlot plot(std::span<const Step> steps) const;

 private:
  std::int64_t model_of_request() const;
  Widths widths_of(const std::string& word, std::span<const Record> records) const;
  std::vector<std::pair<Record, Record>> pairs_on(std::int64_t data, const Widths& narrow,
                                                  const Widths& wide,
                                                  std::optional<Dtype> dtype) const;
  Part part_of_both(std::string_view name, std::string_view option, const std::string& wanted,
                    std::optional<Dtype> dtype, const Widths& narrow, const Widths& wide) const;
  DataRow row_of_data(std::int64_t data) const;
  std::string how_to_measure(const std::string& data, std::string_view part, Dtype dtype,
                             std::span<const Widths> widths) const;
  void require_cheaper() const;
  std::vector<float> values_of(const Part& part, const Record& record, Metric metric) const;
  void read_examples(Part& part) const;

  const Request& request_;
  const Store& store_;
  std::int64_t model_;
  Part search_, confirm_;
};

std::int64_t StoredCascade::model_of_request() const {
  if (!request_.model.empty()) return model_named(store_, request_.model);
  const auto models = store_.models();
  if (models.size() != 1) {
    fail_usage("a cascade is of one model, and {} has {}: name one with --model",
               request_.db.string(), models.size());
  }
  return models.front().first;
}

ModelRow model_row_of(const Store& store, std::int64_t model) {
  for (auto& [id, row] : store.models()) {
    if (id == model) return row;
  }
  fail("the store has no model {}", model);
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
Part StoredCascade::part_of_both(std::string_view name, std::string_view option,
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
  Part part{name,
            option,
            row_of_data(pairs.front().first.data),
            pairs.front().first,
            pairs.front().second,
            {}};
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
  const CascadeFlops flops = search_.flops();
  if (flops.narrow < flops.wide) return;
  fail_usage("the narrow submodel comes first and costs less, but {} has {} {} and {} has {}",
             to_string(search_.narrow.widths), flops.narrow,
             in_words("FLOPs per token", words_of(search_.row.kind)),
             to_string(search_.wide.widths), flops.wide);
}

std::vector<float> StoredCascade::values_of(const Part& part, const Record& record,
                                            Metric metric) const {
  if (record[metric] && !record.ok(metric)) {
    fail_usage("the {} of record {} ({}) on {} is {}", to_string(metric), record.id,
               to_string(record.widths), part.row.name, record.status(metric));
  }
  std::vector<float> values = store_.per_example(record.id, metric);
  if (!record[metric] || values.empty()) {
    fail_usage("the store has no {} of {} for each example of {}: {}", to_string(metric),
               to_string(record.widths), part.row.name,
               how_to_measure(part.row.name, "", record.dtype, {&record.widths, 1}));
  }
  return values;
}

void StoredCascade::read_examples(Part& part) const {
  part.examples = {values_of(part, part.narrow, Metric::kConfidence),
                   values_of(part, part.narrow, Metric::kAccuracy),
                   values_of(part, part.wide, Metric::kAccuracy)};
  require_cascade(part.examples, part.row.name);
}

// Chosen by the search part's accuracies, among those that cost at most what the cascade costs
// where it is reported.
Single StoredCascade::single_beside(const Step& step) const {
  const std::optional<Record> best = best_single(store_, search_.narrow, step.confirmed.flops);
  if (!best) {
    fail("{} is damaged: nothing on its front is as cheap as {}", request_.db.string(),
         to_string(search_.narrow.widths));
  }
  Single single{*best, {}, {}, {}};
  const Record& like = confirm_.narrow;
  single.confirmed = store_.find(model_, like.data, like.dtype, best->widths);
  std::vector<float> values;
  if (single.confirmed) values = store_.per_example(single.confirmed->id, Metric::kAccuracy);
  const std::vector<float> own = cascade_accuracy(confirm_.examples, step.threshold);
  if (single.confirmed && (*single.confirmed)[Metric::kAccuracy] &&
      !single.confirmed->ok(Metric::kAccuracy)) {
    single.missing = fmt::format("the accuracy of record {} is {}", single.confirmed->id,
                                 single.confirmed->status(Metric::kAccuracy));
    return single;
  }
  if (!std::ranges::all_of(values, [](float value) { return std::isfinite(value); })) {
    single.missing = fmt::format("record {} has values that are not finite", single.confirmed->id);
    return single;
  }
  if (values.size() == own.size()) {
    single.difference = paired_difference(own, values);
    return single;
  }
  single.missing = how_to_measure(confirm_.row.name, "", like.dtype, {&best->widths, 1});
  return single;
}

std::string share_text(double share) { return fmt::format("{:.1f} %", 100 * share); }

// The confirm part: the cascade, and the submodels that were scored there. The front's members are
// those of the search part.
FrontPlot StoredCascade::plot(std::span<const Step> steps) const {
  const ModelRow model = model_row_of(store_, model_);
  FrontPlot plot;
  plot.title = fmt::format("A cascade of {} and {} of {}", to_string(search_.narrow.widths),
                           to_string(search_.wide.widths), model.name);
  plot.subtitle = fmt::format("on {}, in {}; the front is that of {}",
                              data_text(confirm_.row, std::string(confirm_.name)),
                              to_string(confirm_.narrow.dtype), search_.row.name);
  plot.cost_axis = in_words(cost_axis(CostKind::kFlops), words()) + ", on average";
  plot.loss_axis = in_words(row_of(Metric::kAccuracy).unit, words());
  const auto add = [](std::vector<PlotPoint>& points, const Record& record, std::string label) {
    if (!record.ok(Metric::kAccuracy)) return;
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
  for (const Step& step : steps) {
    const CascadeScore& score = step.confirmed;
    plot.cascade.push_back(
        {score.flops, score.accuracy.value,
         fmt::format("threshold {:.4f}: {} go on", step.threshold, share_text(score.goes_on))});
  }
  return plot;
}

Table threshold_table(std::span<const Step> steps, std::size_t chosen, const ExampleWords& words) {
  const std::string flops = in_words("FLOPs/token", words);
  Table table{{{"threshold", "threshold"},
               {"search_goes_on", "share that goes on, search part", true, false, false},
               {"search_flops", flops + ", search part", true, false, false},
               {"search_accuracy", "accuracy that chose", true, true},
               {"search_difference", "minus B's, search part", true, true, false},
               {"goes_on", "goes on"},
               {"flops", flops},
               {"accuracy", "confirmed accuracy", true, true},
               {"difference", "minus B's, paired", true, true},
               {"z", "in SE"},
               {"chosen", "", false}},
              {}};
  const auto measured = [](const Estimate& of) {
    return measured_cell(of.value, of.standard_error);
  };
  const auto share = [](double of) { return Cell{share_text(of), of, {}}; };
  const auto average = [](double of) { return Cell{quantity(of), of, {}}; };
  for (std::size_t i = 0; i < steps.size(); ++i) {
    const auto& [threshold, searched, confirmed] = steps[i];
    std::vector<Cell> row = {real_cell(static_cast<double>(threshold), 6),
                             share(searched.goes_on),
                             average(searched.flops),
                             measured(searched.accuracy),
                             measured(searched.to_wide),
                             share(confirmed.goes_on),
                             average(confirmed.flops),
                             measured(confirmed.accuracy)};
    add_difference(row, confirmed.to_wide);
    row.push_back({i == chosen ? "chosen" : "", i == chosen, {}});
    table.rows.push_back(std::move(row));
  }
  return table;
}

std::string rule_text(const CascadeGoal& goal, const ExampleWords& words) {
  if (goal.budget_flops) {
    return fmt::format("the best accuracy within {}{}",
                       quantity(static_cast<double>(*goal.budget_flops)),
                       in_words("FLOPs per token", words));
  }
  return goal.keep_accuracy == 0
             ? std::string("the cheapest that is at least as accurate as B")
             : fmt::format("the cheapest that is at most {:g} less accurate than B",
                           goal.keep_accuracy);
}

std::string estimate_text(const Estimate& of) { return measured_text(of.value, of.standard_error); }

std::string accuracy_text(const Record& record) {
  const std::optional<Measured>& accuracy = record[Metric::kAccuracy];
  return accuracy ? measured_text(accuracy->value, accuracy->standard_error) : "unknown";
}

void print_text(const StoredCascade& stored, const Request& request, std::span<const Step> steps,
                std::size_t chosen, const Single& single) {
  const ExampleWords& words = stored.words();
  const auto costs = [&](double flops) {
    return fmt::format("{}{}", quantity(flops), in_words("FLOPs per token", words));
  };
  const Part& confirm = stored.confirm();
  const auto print_side = [&](const char* name, const Record& record) {
    print("{}  {}  {}, accuracy {} on {}\n", name, to_string(record.widths),
          costs(static_cast<double>(record.cost.flops)), accuracy_text(record), confirm.row.name);
  };
  print_side("A", confirm.narrow);
  print_side("B", confirm.wide);
  print("\n");
  print_table(threshold_table(steps, chosen, words), OutputFormat::kText);
  const Step& best = steps[chosen];
  print("chosen on {}: threshold {:.9g}, {}\n", stored.search().row.name, best.threshold,
        rule_text(request.goal, words));
  print("on {}: accuracy {} at {}; B alone has {}, and the cascade minus B is {}, paired\n",
        confirm.row.name, estimate_text(best.confirmed.accuracy), costs(best.confirmed.flops),
        costs(static_cast<double>(confirm.wide.cost.flops)), estimate_text(best.confirmed.to_wide));
  if (request.goal.budget_flops &&
      best.confirmed.flops > static_cast<double>(*request.goal.budget_flops)) {
    print("on {} the average is above the budget, which bounds that on {} alone\n",
          confirm.row.name, stored.search().row.name);
  }
  const std::string beside = fmt::format("{} with {}", to_string(single.record.widths),
                                         costs(static_cast<double>(single.record.cost.flops)));
  if (!single.difference) {
    print(
        "not compared with the front: its best that costs no more, {}, has no accuracies on {}; "
        "{}\n",
        beside, confirm.row.name, single.missing);
    return;
  }
  const std::string_view verdict = cascade_verdict(*single.difference);
  print(
      "beside the front: {}; its best that costs no more, {}, has accuracy {}, and the cascade "
      "minus that is {}, paired\n",
      verdict == "better"  ? "the cascade beats it"
      : verdict == "worse" ? "the cascade is beaten"
                           : "no difference can be told",
      beside, accuracy_text(*single.confirmed), estimate_text(*single.difference));
}

nlohmann::ordered_json json_of(const StoredCascade& stored, const Request& request,
                               std::span<const Step> steps, std::size_t chosen,
                               const Single& single) {
  const auto side = [](const Record& record) {
    return nlohmann::ordered_json{{"widths", to_string(record.widths)},
                                  {"flops", record.cost.flops},
                                  {"accuracy", record.value(Metric::kAccuracy)}};
  };
  nlohmann::ordered_json front = {{"record", single.record.id},
                                  {"widths", to_string(single.record.widths)},
                                  {"flops", single.record.cost.flops}};
  if (single.difference) {
    front["accuracy"] = single.confirmed->value(Metric::kAccuracy);
    front["difference"] = single.difference->value;
    front["difference_se"] = single.difference->standard_error;
    front["verdict"] = cascade_verdict(*single.difference);
  } else {
    front["missing"] = single.missing;
  }
  return {{"a", side(stored.confirm().narrow)},
          {"b", side(stored.confirm().wide)},
          {"search", stored.search().row.name},
          {"confirm", stored.confirm().row.name},
          {"rule", rule_text(request.goal, stored.words())},
          {"thresholds", threshold_table(steps, chosen, stored.words()).json()},
          {"chosen", chosen},
          {"front", front}};
}

}  // namespace

int cascade_command(const Arguments& arguments) {
  Request request;
  OptionTable options = option_table(request);
  if (!options.parse(arguments)) return 0;
  if (request.goal.budget_flops && options.given("keep-accuracy")) {
    fail_usage("--keep-accuracy and --budget-flops are two ways to choose: give one");
  }
  const OutputFormat output = output_format(request.json, request.csv);
  if (!request.svg.empty()) {
    require_apart(request.svg, request.db);
    require_writable(request.svg, request.force);
  }
  const Store store = Store::open(request.db, Store::Mode::kRead);
  const StoredCascade stored(request, store);
  const std::vector<Step> steps = stored.steps();
  std::vector<CascadeScore> searched;
  for (const Step& step : steps) searched.push_back(step.searched);
  const std::optional<std::size_t> chosen = chosen_threshold(searched, request.goal);
  if (!chosen && !request.goal.budget_flops) {
    fail("{} is damaged: no threshold is as accurate as asked, and the last one is B alone",
         request.db.string());
  }
  if (!chosen) {
    fail_usage("no threshold stays within {} {}: A alone has {}", *request.goal.budget_flops,
               in_words("FLOPs per token", stored.words()), stored.search().narrow.cost.flops);
  }
  const Single single = stored.single_beside(steps[*chosen]);
  if (!request.svg.empty()) write_file_atomically(request.svg, front_svg(stored.plot(steps)));
  if (output == OutputFormat::kJson) {
    print_json(json_of(stored, request, steps, *chosen, single));
  } else if (output == OutputFormat::kCsv) {
    print_table(threshold_table(steps, *chosen, stored.words()), output);
  } else {
    print_text(stored, request, steps, *chosen, single);
  }
  return 0;
}

}  // namespace mnm
