#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <limits>
#include <memory>
#include <numeric>
#include <optional>
#include <string>
#include <vector>

#include "artifact/provenance.h"
#include "base/error.h"
#include "base/interrupt.h"
#include "base/version.h"
#include "cli/common_options.h"
#include "cli/example_readers.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/output_file.h"
#include "cli/print.h"
#include "cli/progress.h"
#include "dataset/examples.h"
#include "families/open_model.h"
#include "neurons/nested_checkpoint.h"
#include "neurons/neuron_ranking.h"
#include "neurons/unfinished_ranking.h"

namespace mnm {
namespace {

struct Request {
  std::filesystem::path directory, out;
  std::string granularities = "1/4,1/2,3/4,1", score = "iterative";
  ExampleOptions data;
  DeviceOptions device;
  std::int64_t check_layers = 0;
  bool no_check = false, dry_run = false, force = false, compensate = false;
  bool names_granularities = false;  // --granularities was given
};

std::span<const std::string_view> score_names() {
  static const std::vector<std::string_view> names = [] {
    std::vector<std::string_view> all;
    for (const ImportanceRow& row : importance_table()) all.push_back(row.name);
    return all;
  }();
  return names;
}

OptionTable option_table(Request& request) {
  OptionTable options(
      "nest",
      "Makes an ordinary checkpoint nested. It measures how much each layer needs each neuron of "
      "its FFN, and sorts the neurons by that. The full model computes the same as before, and "
      "each prefix of a layer's neurons is a usable submodel. The directory has the layout of the "
      "checkpoint, and its config names the granularities. docs/nest.md has the scores.");
  options
      .argument("DIR", required(path_value(request.directory, "DIR")),
                "the checkpoint: config.json and safetensors files")
      .section("importance")
      .option("score", choice_value(request.score, score_names()),
              "how the importance of a neuron is measured; magnitude needs no data")
      .option("compensate", flag_value(request.compensate),
              "keep the mean of every neuron too: what a width leaves out then gives its mean to a "
              "bias of down, at any width; needs --data")
      .option(
          "data", data_value(request.data.path),
          "text or images to calibrate on, of the kind that the model will read: an llm.c shard, "
          ".npy, bytes, text, or what --token-format says; or an image set")
      .option("token-format", token_format_value(request.data.format),
              "format of token files without a header; else bytes or text, if the model reads them")
      .option(
          "context",
          count_value(request.data.context, 0, std::numeric_limits<std::int32_t>::max(), "TOKENS"),
          "tokens per sequence; 0: 256, or the most that the model allows if that is less. Not for "
          "images")
      .option(
          "max-tokens", quantity_value(request.data.max_tokens, "N"),
          "use only the whole sequences within the first N tokens; else all. An image is as many "
          "tokens as the model makes of it")
      .section("output")
      .option("granularities", text_value(request.granularities, "LIST"),
              "the widths that the config names: 384,768,1536, or fractions of the full width")
      .option("out", path_value(request.out, "DIR"), "the directory to write")
      .option("dry-run", flag_value(request.dry_run),
              "list the files and their sizes, calibrate and write nothing")
      .option("force", flag_value(request.force),
              "replace the directory if it exists and this program wrote it; sort a checkpoint "
              "although it is nested already")
      .section("check")
      .option("no-check", flag_value(request.no_check),
              "check only names, shapes and types, and no values; write no probe")
      .option("check-layers", count_value(request.check_layers, 0, 1 << 16),
              "run only the first N layers, and write no probe; 0: all layers");
  add_device_options(options, request.device);
  return options;
}

// The longest run of equal text: "30 layers of 1536 neurons".
std::string layers_text(const OpenedModel& opened) {
  std::int64_t least = std::numeric_limits<std::int64_t>::max(), most = 0;
  for (std::size_t layer = 0; layer < opened.model.layers(); ++layer) {
    const std::int64_t count = neurons_of(opened.model, layer).count;
    least = std::min(least, count);
    most = std::max(most, count);
  }
  return fmt::format("{} layers of {} neurons", opened.model.layers(),
                     least == most ? std::to_string(most) : fmt::format("{} to {}", least, most));
}

class NestCommand {
 public:
  explicit NestCommand(Request& request)
      : request_(request), row_(importance_named(request.score)) {}

  int run() {
    require_request();
    opened_.emplace(open_model(request_.directory));
    if (!request_.force) require_not_nested(*opened_);
    for (std::size_t l = 0; l < opened_->model.layers(); ++l) neurons_of(opened_->model, l);
    // What the config will be is known before anything is measured.
    nlohmann::json config =
        nested_config(*opened_, nesting(), note_of(nullptr), request_.compensate);
    require_writable(config);
    if (request_.dry_run) return print_plan(config);
    if (reads_data()) {
      read_as_model(request_.data, *opened_);
      data_ = load_examples(request_.data, opened_->model);
      require_varied(*data_);
      config["mixnmatch"] = note_of(&*data_);
    }
    if (reads_data()) take_up();
    try {
      const CompensatedRanking ranking = rank();
      write(*plan_nested(*opened_, ranking.orders, config, ranking.means));
    } catch (const Stopped&) {
      if (!unfinished_ || unfinished_->layers().empty()) throw;
      note("stopped; the same command goes on after the {} of {} layers in {}\n",
           unfinished_->layers().size(), opened_->model.layers(),
           unfinished_ranking(request_.out).string());
      return 1;
    }
    if (unfinished_) unfinished_->remove();
    return 0;
  }

 private:
  bool reads_data() const { return row_.needs_data || request_.compensate; }

  void require_request() const {
    if (row_.needs_data && request_.data.path.empty() && !request_.dry_run) {
      fail_usage(
          "nest: --score {} needs --data, text or images to calibrate on; magnitude needs none",
          row_.name);
    }
    if (request_.compensate && request_.data.path.empty() && !request_.dry_run) {
      fail_usage(
          "nest: --compensate needs --data, text or images over which the mean of each neuron is "
          "taken");
    }
    if (!reads_data() && !request_.data.path.empty()) {
      fail_usage("nest: --score {} reads no data, so --data does not go with it", row_.name);
    }
    if (request_.out.empty() && !request_.dry_run) {
      fail_usage("nest: --out is missing, the directory to write");
    }
    if (request_.out.empty()) return;
    const auto target = std::filesystem::absolute(request_.out).lexically_normal();
    require_apart(target, request_.directory);
    require_apart(target, request_.data.path);
    require_target(target, request_.force);
  }

  // The config of a checkpoint that is nested already names its own granularities, and no others.
  Nesting nesting() const {
    if (opened_->model.space.levels() > 1 && !request_.names_granularities) return {};
    return {.granularities = request_.granularities};
  }

  nlohmann::json note_of(const Examples* data) const {
    const NestedModel& model = opened_->model;
    nlohmann::json note = provenance(*opened_, model.space.full(), model.dtype);
    note["nested"] = {{"score", row_.name}, {"compensated", is_compensated()}};
    if (data != nullptr) {
      note["nested"]["data"] = data->name;
      note["nested"]["data_fingerprint"] = data->fingerprint;
      note["nested"]["sequences"] = data->count;
      note["nested"]["context"] = data->context;
    }
    return note;
  }

  // By this run, or by one before it.
  bool is_compensated() const {
    return request_.compensate || !opened_->model.compensation.empty();
  }

  // The files, with the neurons as they are and without their means.
  std::unique_ptr<PlannedExport> planned(const nlohmann::json& config) const {
    std::vector<NeuronOrder> orders;
    InputMeans means;
    for (std::size_t l = 0; l < opened_->model.layers(); ++l) {
      const LayerNeurons neurons = neurons_of(opened_->model, l);
      NeuronOrder& order = orders.emplace_back(neurons.count);
      std::iota(order.begin(), order.end(), 0);
      if (request_.compensate) means.emplace_back(neurons.count * neurons.channels_each(), 0.0f);
    }
    return plan_nested(*opened_, orders, config, means);
  }

  // Calibration may take hours: what cannot be written is refused before it.
  void require_writable(const nlohmann::json& config) const {
    if (request_.out.empty()) return;
    const AtomicDirectory place(request_.out, replaceable(request_.force));
    require_space(planned(config)->bytes(), place.path());
  }

  int print_plan(const nlohmann::json& config) const {
    const std::unique_ptr<PlannedExport> plan = planned(config);
    std::uint64_t bytes = 0;
    const Table table = planned_files(plan->files(), bytes);
    print_table(table, OutputFormat::kText);
    note("dry run: {} would be sorted by {}{}, {}B in {} files written{}\n", layers_text(*opened_),
         row_.name, request_.compensate ? " and compensated" : "",
         quantity(static_cast<double>(bytes)), table.rows.size(),
         request_.out.empty() ? "" : " to " + request_.out.string());
    return 0;
  }

  // All that changes the ranking. Neither threads nor memory are among it.
  nlohmann::json ranking_settings() const {
    const std::string kind = request_.device.device.substr(0, request_.device.device.find(':'));
    return {{"score", row_.name},
            {"compensate", request_.compensate},
            {"checkpoint", opened_->checkpoint.fingerprint()},
            {"data", data_->fingerprint},
            {"sequences", data_->count},
            {"context", data_->context},
            {"dtype", to_string(request_.device.dtype)},
            {"device", kind},
            {"version", version()}};
  }

  // The layers that an earlier run has calibrated.
  void take_up() {
    const std::vector<LayerNeurons> layers = neurons_of_layers(opened_->model);
    unfinished_.emplace(unfinished_ranking(request_.out), ranking_settings(), layers,
                        request_.compensate);
    if (!unfinished_->left_aside().empty()) note("{}\n", unfinished_->left_aside());
    if (unfinished_->resumed() > 0) {
      note("{} of {} layers were calibrated by an earlier run\n", unfinished_->resumed(),
           layers.size());
    }
  }

  CompensatedRanking rank() {
    ProgressBar bar(reads_data() ? "calibrating" : "reading");
    const ProgressSink progress = shown_on(bar, guard_);
    if (!unfinished_) {
      return {rank_neurons(*opened_, row_, data_.get(), request_.device, progress), {}};
    }
    const std::vector<RankedLayer> before = unfinished_->layers();
    return rank_on(*opened_, row_, request_.compensate, *data_, request_.device,
                   {before, [this](const RankedLayer& layer) { unfinished_->add(layer); }},
                   progress);
  }

  void write(const PlannedExport& plan) const {
    std::optional<ProgressBar> bar;
    const ProgressSink progress = writing_shown_on(bar, guard_);
    const CheckedExport written = write_nested(
        *opened_, plan, request_.out, {!request_.no_check, request_.check_layers, request_.device},
        replaceable(request_.force), progress);
    print("{}: {} sorted by {}{}{}, {}B in {}\n", request_.out.string(), layers_text(*opened_),
          row_.name, request_.compensate ? " and compensated" : "",
          data_ ? " over " + examples_text(data_->kind(), data_->count, data_->context) + " of " +
                      data_->name
                : "",
          quantity(static_cast<double>(written.bytes)), plan.dtype());
    print_check(written);
    print("\n{}", Lines{plan.loading(request_.out)});
  }

  void print_check(const CheckedExport& written) const {
    if (!written.checked_values) {
      print(
          "every tensor is there with its name, shape and type; no value was checked, and there "
          "is no probe\n");
      return;
    }
    if (!written.difference) {
      print(
          "checked: every tensor is the checkpoint's, but for the order of neurons; nothing was "
          "run, since memory does not hold one layer and a part of the head\n");
      return;
    }
    const std::size_t all = opened_->model.layers();
    print(
        "checked: every tensor is the checkpoint's, but for the order of neurons; over {} {}{} "
        "the largest difference of a logit is {:.2g}, where the order of summation explains "
        "{:.2g}\n",
        written.probe->outputs(), words_of(written.probe->inputs.each.type).kind,
        written.layers == all
            ? ""
            : fmt::format(" through the first {} of {} layers alone, so there is no probe,",
                          written.layers, all),
        written.difference->worst, written.probe->tolerance);
  }

  Request& request_;
  const ImportanceRow& row_;
  InterruptGuard guard_;
  std::optional<OpenedModel> opened_;
  std::unique_ptr<Examples> data_;
  std::optional<UnfinishedRanking> unfinished_;  // if the ranking reads data
};

}  // namespace

int nest_command(const Arguments& arguments) {
  Request request;
  OptionTable options = option_table(request);
  if (!options.parse(arguments)) return 0;
  request.names_granularities = options.given("granularities");
  return NestCommand(request).run();
}

}  // namespace mnm
