#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <ranges>
#include <span>

#include "artifact/check.h"
#include "artifact/explain.h"
#include "artifact/formats.h"
#include "cli/byte_bar.h"
#include "cli/common_options.h"
#include "cli/explanation.h"
#include "cli/interrupt.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/output_file.h"
#include "cli/print.h"
#include "cli/progress.h"
#include "db/store.h"
#include "export/gguf_header.h"
#include "families/open_model.h"
#include "heuristics/least_slope.h"
#include "model/error.h"
#include "model/files.h"
#include "model/quantity.h"
#include "report/table.h"
#include "study/store_rows.h"

namespace mnm {
namespace {

struct Request {
  ModelOptions model;
  std::string widths, data;
  std::optional<std::int64_t> record, latency;
  bool best = false;
  std::vector<std::string> budgets;
  CostKind cost = CostKind::kParams;
  std::filesystem::path db, out;
  ExportOptions target;
  DeviceOptions device;
  std::int64_t check_layers = 0;
  bool no_check = false, dry_run = false, force = false;
  bool explain = false, json = false;
  std::string runtime;

  bool writes() const { return !dry_run && !explain; }
};

constexpr std::string_view kDtypes[] = {"f32", "f16", "bf16", "q8_0"};

OptionTable option_table(Request& request) {
  OptionTable options(
      "export",
      "Writes a submodel as a directory that other programs load, and checks that it computes what "
      "the nested model computes at those widths. The directory also gets a probe, with which "
      "scripts/verify can check any other program. With --dry-run or --explain a config.json is "
      "enough.");
  add_model_options(options, request.model);
  options.section("which submodel: --widths, --record, --best or a --budget alone")
      .option("widths", text_value(request.widths, "WIDTHS"), "512x4,256x4, or 256 for all layers")
      .option("record", id_value(request.record, "N"), "the submodel of this record in --db")
      .option("best", flag_value(request.best),
              "the submodel in --db with the smallest loss within the budgets, on the search part")
      .option("budget", texts_value(request.budgets, "LIMIT"),
              std::string(kBudgetHelp) +
                  ". Without --best: the largest least-slope submodel within it, with FLOPs at the "
                  "context of inspect")
      .option("cost", cost_kind_value(request.cost),
              "the cost that a budget without a kind limits");
  add_latency_option(options, request.latency);
  options
      .option("data", text_value(request.data, "NAME"),
              "the data that --best goes by, if the store has several: id, name, part or "
              "fingerprint")
      .option("db", path_value(request.db), "the store; it also records the export")
      .section("output")
      .option("out", path_value(request.out, "DIR"), "the directory to write")
      .option("format", choice_value(request.target.format, export_formats()),
              "format of the files")
      .option("dtype", choice_value(request.target.dtype, kDtypes),
              "type of the tensors; q8_0 only with gguf; else the checkpoint's type")
      .option("shard-size", quantity_value(request.target.shard_bytes, "BYTES"),
              "the most bytes of tensors in one file")
      .option("no-tokenizer", flag_value(request.target.no_tokenizer),
              "with gguf: write token ids alone, where llama.cpp has no such tokenizer")
      .option("dry-run", flag_value(request.dry_run),
              "list the files and their sizes, write nothing")
      .option("explain", flag_value(request.explain),
              "say which runtimes load the submodel, why the others do not, and the nearest widths "
              "that they load, with their scores in --db; write nothing")
      .option("runtime", text_value(request.runtime, "NAME"),
              "with --explain: answer for this runtime only")
      .option("json", flag_value(request.json), "with --explain: the answer as JSON")
      .option("force", flag_value(request.force),
              "replace the directory if it exists and this program wrote it")
      .section("check")
      .option("no-check", flag_value(request.no_check),
              "check only names, shapes and types, and no values; write no probe. This needs no "
              "LibTorch and little memory")
      .option("check-layers", count_value(request.check_layers, 0, 1 << 16),
              "run only the first N layers, and write no probe; 0: all layers, or, if the format "
              "rounds weights or the norms are narrow, those of the first two billion weights")
      .option("memory", quantity_value(request.device.memory, "BYTES"),
              "memory for the check's weights and work space; else what is free")
      .option("device", text_value(request.device.device, "DEVICE"), "cpu, cuda or cuda:N")
      .option("threads", threads_value(request.device.threads), "CPU threads; 0: one per core");
  return options;
}

// The record that a provenance note quotes: the one asked for, or better its confirmed score.
std::optional<Record> scored_record(const Store& store, std::int64_t model, const Widths& widths) {
  std::optional<Record> found;
  const std::vector<DataUse> uses = store.data_uses();
  for (const auto& [id, row] : store.datasets()) {
    const bool confirmed = part_of(uses, id, model) == "confirm";
    for (const Dtype dtype : {Dtype::kF32, Dtype::kF16, Dtype::kBF16}) {
      const std::optional<Record> record = store.find(model, id, dtype, widths);
      if (!record || !record->ok()) continue;
      if (confirmed) return record;
      if (!found) found = record;
    }
  }
  return found;
}

// The data on which --best chooses: what the user names, else the search part, else the only one.
std::int64_t data_to_choose_by(const Store& store, std::int64_t model, const std::string& name) {
  if (!name.empty()) return data_named(store, name, model);
  FrontQuery query;
  query.model = model;
  std::vector<std::int64_t> used, searched;
  const std::vector<DataUse> uses = store.data_uses();
  for (const Record& record : store.front(query)) {
    if (std::ranges::find(used, record.data) != used.end()) continue;
    used.push_back(record.data);
    if (part_of(uses, record.data, model).starts_with("search")) searched.push_back(record.data);
  }
  if (searched.size() == 1) return searched.front();
  if (used.size() == 1) return used.front();
  if (used.empty())
    fail_usage("the store has no scores of this checkpoint to choose the best from");
  fail_usage("the store has scores on several datasets: name the one to choose by with --data");
}

Record best_record(const Store& store, std::int64_t model, const Request& request,
                   const LatencyTable* latency) {
  FrontQuery query;
  query.model = model;
  query.data = data_to_choose_by(store, model, request.data);
  query.cost = request.cost;
  query.budgets = parse_budgets(request.budgets, request.cost);
  query.latency = latency;
  std::vector<Record> front = store.front(query);
  if (front.empty()) {
    require_something_within(store, query);
    fail_usage("no record within the budget has a loss that is a number");
  }
  const Dtype dtype = std::ranges::min_element(front, {}, &Record::dtype)->dtype;
  std::erase_if(front, [&](const Record& record) { return record.dtype != dtype; });
  return *std::ranges::min_element(front, {}, [](const Record& r) { return r.value(); });
}

CostBasis basis_of(const NestedModel& model, Dtype dtype) {
  CostBasis basis{dtype};
  if (model.max_context > 0) basis.context = std::min(basis.context, model.max_context);
  return basis;
}

// Where nothing was measured: the largest that MatFormer's rule makes. Its members only grow.
Widths least_slope_within(const NestedModel& model, const Request& request,
                          const CostTable& costs) {
  const auto budgets = parse_budgets(request.budgets, request.cost);
  const std::vector<Widths> schedule = least_slope_schedule(model.space);
  for (const Widths& widths : schedule | std::views::reverse) {
    const Cost cost = costs.of(widths);
    if (within(cost, budgets)) {
      return widths;
    }
  }
  const Cost smallest = costs.of(schedule.front());
  for (const auto& [kind, limit] : budgets) {
    if (smallest.of(kind) <= limit) continue;
    fail_usage("no submodel is within the budget of {} {}: the smallest, {}, takes {}", limit,
               cost_text(kind, costs.basis().context), to_string(schedule.front()),
               smallest.of(kind));
  }
  fail_usage("no submodel is within the budgets");
}

nlohmann::json provenance(const OpenedModel& opened, const Widths& widths, Dtype dtype,
                          const std::optional<Record>& record, const Store* store) {
  const CostBasis basis = basis_of(opened.model, dtype);
  const Cost cost = cost_of(opened.model, widths, basis);
  const ModelRow row = model_row(opened);
  nlohmann::json note;
  note["widths"] = to_string(widths);
  note["source"] = {{"name", row.name},
                    {"fingerprint", row.fingerprint},
                    {"widths", to_string(opened.model.space.full())}};
  note["cost"] = {{"params", cost.params},
                  {"non_embedding", cost.non_embedding},
                  {"bytes", cost.bytes},
                  {"flops_per_token", cost.flops},
                  {"kv_bytes_per_token", cost.kv_bytes},
                  {"context", basis.context}};
  if (record) {
    for (const auto& [id, data] : store->datasets()) {
      if (id != record->data) continue;
      note["score"] = {{"loss", record->value()},
                       {"loss_se", (*record)[Metric::kLoss]->standard_error},
                       {"sequences", record->samples},
                       {"context", data.context},
                       {"data", data.name},
                       {"part", part_of(store->data_uses(), id, record->model)},
                       {"data_fingerprint", data.fingerprint},
                       {"dtype", to_string(record->dtype)}};
    }
  }
  return note;
}

float largest(std::span<const float> logits) {
  float most = 0;
  for (const float logit : logits) most = std::max(most, std::fabs(logit));
  return most;
}

class ExportCommand {
 public:
  ExportCommand(Request& request, const Arguments& arguments)
      : request_(request), arguments_(arguments) {}

  int run() {
    const int ways =
        (request_.widths.empty() ? 0 : 1) + (request_.record ? 1 : 0) + (request_.best ? 1 : 0);
    by_rule_ = ways == 0 && !request_.budgets.empty();
    if (ways != 1 && !by_rule_) {
      fail_usage("export: give exactly one of --widths, --record and --best, or a --budget alone");
    }
    if ((request_.record || request_.best) && request_.db.empty()) {
      fail_usage("export: --record and --best need --db, the store that holds them");
    }
    if (!request_.best && !by_rule_ && !request_.budgets.empty()) {
      fail_usage("export: --budget goes with --best, or stands alone");
    }
    if ((request_.json || !request_.runtime.empty()) && !request_.explain) {
      fail_usage("export: --json and --runtime go with --explain");
    }
    if (request_.explain && !request_.out.empty()) {
      fail_usage("export: --explain writes nothing, so --out does not go with it");
    }
    if (!request_.out.empty()) require_new_target();
    if (request_.out.empty() && request_.writes()) {
      fail_usage("export: --out is missing, the directory to write");
    }
    open();
    if (!request_.db.empty()) {
      // A store that --record or --best reads must be there: only --widths may begin a new one.
      const bool must_exist = !request_.writes() || request_.record || request_.best;
      if (must_exist) Store::open(request_.db, Store::Mode::kRead);
      store_.emplace(
          Store::open(request_.db, request_.writes() ? Store::Mode::kWrite : Store::Mode::kRead));
    }
    choose();
    if (request_.explain) {
      std::optional<KnownScores> scores;
      if (model_id_) scores = KnownScores{&*store_, *model_id_};
      print_explanation(explain(*opened_, widths_, request_.runtime, request_.target,
                                basis_of(opened_->model, dtype()), scores),
                        request_.json);
      return 0;
    }
    const std::unique_ptr<PlannedExport> plan = make_plan();
    if (request_.dry_run) {
      print_plan(*plan);
      return 0;
    }
    write(*plan);
    return 0;
  }

 private:
  void open() {
    const auto config = bare_config(request_.model.directory);
    if (!config) {
      opened_.emplace(open_model(request_.model.directory, request_.model.nesting));
    } else if (!request_.writes() && request_.db.empty()) {
      opened_.emplace(without_weights(*config, request_.model.nesting));
    } else {
      fail(
          "cannot export from '{}': it is a config without tensors, which is enough for --dry-run "
          "and --explain without --db",
          request_.model.directory.string());
    }
  }

  void require_new_target() const {
    namespace fs = std::filesystem;
    const fs::path target = fs::absolute(request_.out).lexically_normal();
    require_apart(target, request_.model.directory);
    require_apart(target, request_.db);
    require_target(target, request_.force);
  }

  void choose() {
    const NestedModel& model = opened_->model;
    if (store_) {
      const std::string fingerprint = opened_->checkpoint.fingerprint();
      for (const auto& [id, row] : store_->models()) {
        if (row.fingerprint == fingerprint) model_id_ = id;
      }
    }
    std::optional<LatencyTable> latency;
    if (counts_latency(request_.cost, parse_budgets(request_.budgets, request_.cost))) {
      if (!store_) fail_usage("export: a budget of time needs --db, the store of a 'latency'");
      const LatencyRow row = latency_named(*store_, *opened_, request_.latency);
      note("{}\n", latency_text(row));
      latency.emplace(row.measured.parts);
    }
    if (request_.record) {
      chosen_ = store_->record(*request_.record);
      if (!chosen_) fail_usage("{} has no record {}", request_.db.string(), *request_.record);
      if (chosen_->model != model_id_) {
        fail_usage("record {} is of another checkpoint than {}: fingerprints differ",
                   *request_.record, request_.model.directory.string());
      }
      widths_ = chosen_->widths;
    } else if (request_.best) {
      if (!model_id_) {
        fail_usage("{} has no scores of the checkpoint {}", request_.db.string(),
                   request_.model.directory.string());
      }
      chosen_ = best_record(*store_, *model_id_, request_, latency ? &*latency : nullptr);
      widths_ = chosen_->widths;
    } else if (by_rule_) {
      const CostTable costs(model, basis_of(model, dtype()), latency ? &*latency : nullptr);
      widths_ = least_slope_within(model, request_, costs);
      if (!request_.json) {
        print("{}: the largest least-slope submodel within the budget; no score chose it\n",
              to_string(widths_));
      }
    } else {
      widths_ = parse_widths(request_.widths, model.layers());
    }
    model.space.require(widths_);
    if (model_id_) quoted_ = scored_record(*store_, *model_id_, widths_);
    if (!chosen_) chosen_ = quoted_;
  }

  // What provenance and budgets count bytes in; of a quantised format, those of the checkpoint's
  // dtype.
  Dtype dtype() const {
    const std::string& text = request_.target.dtype;
    const bool countable = !text.empty() && text != to_string(GgufType::kQ8_0);
    return countable ? parse_dtype(text) : opened_->model.dtype;
  }

  std::unique_ptr<PlannedExport> make_plan() const {
    if (request_.target.shard_bytes == 0) fail_usage("export: --shard-size must be positive");
    return plan_export(*opened_, widths_,
                       provenance(*opened_, widths_, dtype(), quoted_, store_ ? &*store_ : nullptr),
                       request_.target);
  }

  void print_plan(const PlannedExport& plan) const {
    Table table{{{"file", "file", false}, {"bytes", "bytes"}}, {}};
    for (const auto& [name, bytes] : plan.files()) {
      table.rows.push_back({cell(name), cell(static_cast<std::int64_t>(bytes))});
    }
    if (const std::size_t layers = checked_layers(plan); layers == opened_->model.layers()) {
      Probe probe;
      probe.widths = to_string(widths_);
      probe.fingerprint = opened_->checkpoint.fingerprint();
      probe.vocab_size = opened_->model.vocab_size;
      probe.tokens = probe_tokens(probe.vocab_size, opened_->model.max_context);
      table.rows.push_back({cell(kProbeFile), cell(static_cast<std::int64_t>(probe_bytes(probe)))});
    }
    print_table(table, OutputFormat::kText);
    std::int64_t bytes = 0;
    for (const auto& row : table.rows) bytes += row[1].value.get<std::int64_t>();
    print("{} parameters, {} bytes in {} files\n", cost_of(opened_->model, plan.slices()).params,
          bytes, table.rows.size());
    if (const std::size_t layers = checked_layers(plan); layers > 0) {
      if (const std::string part = part_text(layers); !part.empty()) {
        note("the check would run{}\n", part);
      }
    }
    note("dry run: {} at {} would be written{}\n", to_string(widths_), plan.dtype(),
         request_.out.empty() ? "" : " to " + request_.out.string());
  }

  // How many layers the check runs; 0 without it.
  std::size_t checked_layers(const PlannedExport& plan) const {
    if (request_.no_check) return 0;
    return layers_to_run(*opened_, plan, request_.check_layers, request_.device);
  }

  // What of the model was run, where it was not all.
  std::string part_text(std::size_t layers) const {
    const std::size_t all = opened_->model.layers();
    if (layers == all) return "";
    return fmt::format(
        " through the first {} of {} layers alone ({}, so there is no probe)", layers, all,
        request_.check_layers > 0 ? "as asked"
                                  : "each is run several times, with altered weights; more with "
                                    "--check-layers");
  }

  void write(const PlannedExport& plan) {
    DeviceOptions device = request_.device;
    device.dtype = Dtype::kF32;
    // First of all: what cannot be written is not worth computing a probe for.
    AtomicDirectory directory(request_.out, replaceable(request_.force));
    require_space(plan.bytes(), directory.path());
    const std::size_t layers = checked_layers(plan);
    std::optional<Probe> probe;
    if (layers > 0) probe = make_probe(*opened_, plan, layers, device);

    write_tensors(plan, directory.path());
    std::uint64_t bytes = plan.bytes();
    std::string fingerprint;
    if (probe || !request_.db.empty()) fingerprint = plan.fingerprint(directory.path());
    // What a runtime computes is of all layers: a probe of some would condemn it.
    if (probe && layers == opened_->model.layers()) {
      probe->artifact = fingerprint;
      write_probe(*probe, directory.path() / kProbeFile);
      bytes += std::filesystem::file_size(directory.path() / kProbeFile);
    }
    plan.check_layout(directory.path());
    std::optional<Difference> difference;
    if (!request_.no_check) {
      const OpenedModel written = reopen_export(plan, directory.path());
      check_written_tensors(*opened_, plan, written.checkpoint);
      if (probe) difference = check_written_logits(*probe, plan, written, layers, device);
    }
    if (guard_.interrupted()) throw Interrupted();
    directory.commit(Flush::kToKernel);  // as its files: a power cut may take both

    const Cost cost = cost_of(opened_->model, plan.slices());
    print("{}: {} with {} parameters, {}B in {}\n", request_.out.string(), to_string(widths_),
          quantity(static_cast<double>(cost.params)), quantity(static_cast<double>(bytes)),
          plan.dtype());
    if (difference) {
      print(
          "checked: every tensor is its slice; over {} tokens{} the largest difference of a "
          "logit is {:.2g}, where the order of summation explains {:.2g}\n",
          probe->tokens.size(), part_text(layers), difference->worst, probe->tolerance);
      if (probe->moved > 0) {
        print("rounding to {} moved a logit by up to {:.2g}, of {:.2g}\n", plan.dtype(),
              probe->moved, largest(probe->logits));
      }
    } else if (!request_.no_check) {
      print(
          "checked: every tensor is its slice; nothing was run, since memory does not hold one "
          "layer and a part of the head, and there is no probe\n");
    } else {
      print(
          "every tensor is there with its name, shape and type; no value was checked, and "
          "there is no probe\n");
    }
    record(plan, bytes, fingerprint, probe, layers, difference);
    print("\n{}", Lines{plan.loading(request_.out)});
  }

  void write_tensors(const PlannedExport& plan, const std::filesystem::path& path) const {
    try {
      ByteBar bar("writing", plan.bytes(), guard_);
      plan.write(opened_->checkpoint, path, std::ref(bar));
    } catch (const Stopped&) {
      throw Interrupted();
    }
  }

  void record(const PlannedExport& plan, std::uint64_t bytes, const std::string& fingerprint,
              const std::optional<Probe>& probe, std::size_t layers,
              const std::optional<Difference>& difference) {
    if (request_.db.empty()) return;
    Store::Artifact artifact;
    if (!request_.no_check) artifact.check = nlohmann::json{{"tensors_equal", true}}.dump();
    if (difference) {
      artifact.check =
          nlohmann::json{
              {"tensors_equal", true},         {"probe_tokens", probe->tokens.size()},
              {"layers_run", layers},          {"worst_logit_difference", difference->worst},
              {"tolerance", probe->tolerance}, {"operand_tolerance", probe->operand_tolerance},
              {"moved", probe->moved},         {"position", difference->position},
              {"word", difference->word}}
              .dump();
    }
    artifact.model = store_->model(model_row(*opened_));
    if (chosen_) artifact.record = chosen_->id;
    artifact.widths = widths_;
    artifact.format = plan.format();
    artifact.path = std::filesystem::absolute(request_.out).lexically_normal().string();
    artifact.fingerprint = fingerprint;
    artifact.command_line = command_line("export", arguments_);
    artifact.bytes = static_cast<std::int64_t>(bytes);
    try {
      const std::int64_t id = store_->add_artifact(artifact);
      print("recorded as artifact {} of {}\n", id, request_.db.string());
    } catch (const Error& error) {
      fail("{} is written and complete, but could not be recorded: {}", request_.out.string(),
           error.what());
    }
  }

  Request& request_;
  const Arguments& arguments_;
  const InterruptGuard guard_;
  std::optional<OpenedModel> opened_;
  std::optional<Store> store_;
  bool by_rule_ = false;                  // a budget alone
  std::optional<std::int64_t> model_id_;  // of the store, where it knows the checkpoint
  Widths widths_;
  std::optional<Record> chosen_;  // what the artifact is recorded as being of
  std::optional<Record> quoted_;  // what its provenance quotes
};

}  // namespace

int export_command(const Arguments& arguments) {
  Request request;
  OptionTable options = option_table(request);
  if (!options.parse(arguments)) return 0;
  return ExportCommand(request, arguments).run();
}

}  // namespace mnm
