#include "study/cascade.h"

#include <fmt/format.h>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "base/quantity.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/output_file.h"
#include "cli/print.h"
#include "db/store.h"
#include "model/example_inputs.h"
#include "model/example_words.h"
#include "report/svg.h"
#include "report/table.h"
#include "study/score_cells.h"
#include "study/stored_cascade.h"

namespace mnm {
namespace {

struct Request {
  CascadeRequest cascade;
  CascadeGoal goal;
  std::filesystem::path svg;
  bool force = false, json = false, csv = false;
};

OptionTable option_table(Request& request) {
  CascadeRequest& cascade = request.cascade;
  OptionTable options(
      "cascade",
      "Puts two scored submodels in a row, from the store alone: A answers an example where its "
      "confidence is at least a threshold, else B answers it. It prints accuracy over average "
      "FLOPs by threshold. One threshold is chosen on the search part and reported on the confirm "
      "part, beside the best single submodel of the front that costs no more. It needs data with "
      "one answer for each example, as images have, and A's scores with --metric confidence.");
  options
      .argument("A", required(text_value(cascade.narrow, "")),
                "the narrow submodel: a record's number, or widths such as 512x4,256x4")
      .argument("B", required(text_value(cascade.wide, "")), "the wide one, which costs more")
      .section("which records")
      .option("db", required(path_value(cascade.db)), "the store")
      .option("model", text_value(cascade.model, "NAME"),
              "of this model: id, name or fingerprint; else the store's only one")
      .option("data", text_value(cascade.data, "NAME"),
              "the data that choose the threshold: id, name, part or fingerprint; else the search "
              "part")
      .option("confirm", text_value(cascade.confirm, "NAME"),
              "the data that it is reported on; else the confirm part")
      .option("dtype", dtype_value(cascade.dtype), "only with arithmetic in this type")
      .section("threshold")
      .option("keep-accuracy", real_value(request.goal.keep_accuracy, 0, 1),
              "how much less accurate than B the cascade may be on the search part. The cheapest "
              "threshold that meets this is chosen")
      .option("budget-flops", quantity_value(request.goal.budget_flops, "N"),
              "instead: the most FLOPs per example, averaged over the search part. The most "
              "accurate threshold within them is chosen")
      .option("steps", count_value(cascade.steps, 1, 10'000),
              "tries N + 1 thresholds; each sends 1/N more of the search part on to B")
      .section("output")
      .option("svg", path_value(request.svg), "also draw accuracy over FLOPs, beside the front")
      .option("force", flag_value(request.force), "replace an earlier picture");
  add_output_options(options, request.json, request.csv);
  return options;
}

std::string share_text(double share) { return fmt::format("{:.1f} %", 100 * share); }

Table threshold_table(std::span<const CascadeStep> steps, std::size_t chosen,
                      const ExampleWords& words) {
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

void print_text(const StoredCascade& stored, const Request& request,
                std::span<const CascadeStep> steps, std::size_t chosen,
                const CascadeSingle& single) {
  const ExampleWords& words = stored.words();
  const auto costs = [&](double flops) {
    return fmt::format("{}{}", quantity(flops), in_words("FLOPs per token", words));
  };
  const CascadePart& confirm = stored.confirm();
  const auto print_side = [&](const char* name, const Record& record) {
    print("{}  {}  {}, accuracy {} on {}\n", name, to_string(record.widths),
          costs(static_cast<double>(record.cost.flops)), accuracy_text(record), confirm.row.name);
  };
  print_side("A", confirm.narrow);
  print_side("B", confirm.wide);
  print("\n");
  print_table(threshold_table(steps, chosen, words), OutputFormat::kText);
  const CascadeStep& best = steps[chosen];
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
                               std::span<const CascadeStep> steps, std::size_t chosen,
                               const CascadeSingle& single) {
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
    require_apart(request.svg, request.cascade.db);
    require_writable(request.svg, request.force, picture_kind());
  }
  const Store store = Store::open(request.cascade.db, Store::Mode::kRead);
  const StoredCascade stored(request.cascade, store);
  const std::vector<CascadeStep> steps = stored.steps();
  std::vector<CascadeScore> searched;
  for (const CascadeStep& step : steps) searched.push_back(step.searched);
  const std::optional<std::size_t> chosen = chosen_threshold(searched, request.goal);
  if (!chosen && !request.goal.budget_flops) {
    fail("{} is damaged: no threshold is as accurate as asked, and the last one is B alone",
         request.cascade.db.string());
  }
  if (!chosen) {
    fail_usage("no threshold stays within {} {}: A alone has {}", *request.goal.budget_flops,
               in_words("FLOPs per token", stored.words()), stored.search().narrow.cost.flops);
  }
  const CascadeSingle single = stored.single_beside(steps[*chosen]);
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
