#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <span>

#include "artifact/checked_export.h"
#include "artifact/explain.h"
#include "artifact/export_check.h"
#include "artifact/fixed_biases.h"
#include "artifact/formats.h"
#include "artifact/padding.h"
#include "artifact/provenance.h"
#include "artifact/selection.h"
#include "base/error.h"
#include "base/file.h"
#include "base/interrupt.h"
#include "base/quantity.h"
#include "cli/common_options.h"
#include "cli/example_readers.h"
#include "cli/explanation.h"
#include "cli/left_aside.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/output_file.h"
#include "cli/print.h"
#include "cli/progress.h"
#include "db/store.h"
#include "export/gguf.h"
#include "families/open_model.h"
#include "report/table.h"
#include "search/budget.h"
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
  CacheLoad cache;
  std::filesystem::path db, out;
  ExportOptions target;
  DeviceOptions device;
  std::int64_t check_layers = 0;
  bool no_check = false, dry_run = false, force = false, pad = false, text_only = false;
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
  add_image_size_option(options, request.model.nesting);
  options.section("which submodel: --widths, --record, --best or a --budget alone")
      .option("widths", text_value(request.widths, "WIDTHS"), "512x4,256x4, or 256 for all layers")
      .option("record", id_value(request.record, "N"), "the submodel of this record in --db")
      .option("best", flag_value(request.best),
              "the submodel in --db with the smallest loss within the budgets, on the search part")
      .option("budget", texts_value(request.budgets, "LIMIT"),
              std::string(kBudgetHelp) +
                  ". Without --best: the largest least-slope submodel within it, or where there is "
                  "none, the largest without the layers that may be left out; with FLOPs at the "
                  "context of inspect")
      .option("cost", cost_kind_value(request.cost),
              "the cost that a budget without a kind limits");
  add_latency_option(options, request.latency);
  add_cache_options(options, request.cache, "the context of inspect");
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
      .option(
          "pad-to-uniform", flag_value(request.pad),
          "pad the narrower layers to the widest one's width, for programs that take one width for "
          "all: it computes the same, and saves nothing")
      .option("text-only", flag_value(request.text_only),
              "of a model that also takes images or sound: write the text model alone")
      .option("per-layer-config", flag_value(request.target.per_layer_config),
              "with huggingface: write widths as the key per_layer_config, without a bridge; "
              "transformers' own classes do not load it yet")
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
    require_request();
    open();
    open_store();
    choose();
    if (request_.explain) return print_why();
    if (request_.target.shard_bytes == 0) fail_usage("export: --shard-size must be positive");
    source_ = &*opened_;
    if (request_.writes() && !opened_->model.compensation.empty()) {
      source_ = &fixed_.emplace(*opened_, widths_, request_.out).opened();
    }
    if (request_.pad) {
      padded_.emplace(*source_, widths_, request_.out);
      source_ = &padded_->opened();
    }
    const std::unique_ptr<PlannedExport> plan = planned();
    if (request_.dry_run) {
      print_plan(*plan);
    } else {
      write(*plan);
    }
    return 0;
  }

 private:
  std::unique_ptr<PlannedExport> planned() const {
    const Widths widths = request_.pad ? source_->model.space.full() : widths_;
    try {
      return plan_export(
          *source_, widths,
          provenance(*opened_, widths_, dtype(), quoted_, store_ ? &*store_ : nullptr),
          request_.target);
    } catch (const UsageError&) {
      throw;
    } catch (const Error& error) {
      if (format_holds(*source_, widths, request_.target.format)) throw;
      fail(
          "{}; '--widths {} --explain' in place of --out says which formats hold this submodel, "
          "and the nearest widths that the others hold",
          error.what(), to_string(widths_));
    }
  }

  // UsageError where options contradict each other, or the target cannot be written.
  void require_request() {
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
    if (request_.pad && !request_.writes()) {
      fail_usage("export: --pad-to-uniform writes: --dry-run and --explain do not go with it");
    }
    if (!request_.out.empty()) require_new_target();
    if (request_.out.empty() && request_.writes()) {
      fail_usage("export: --out is missing, the directory to write");
    }
    budgets_ = parse_budgets(request_.budgets, request_.cost);
  }

  void require_new_target() const {
    namespace fs = std::filesystem;
    const fs::path target = fs::absolute(request_.out).lexically_normal();
    require_apart(target, request_.model.directory);
    require_apart(target, request_.db);
    require_target(target, request_.force);
  }

  void open() {
    const auto config = bare_config(request_.model.directory);
    const Nesting& nesting = request_.model.nesting;
    const auto asked_for = [&](OpenedModel opened) {
      return request_.text_only ? text_only(std::move(opened), nesting) : std::move(opened);
    };
    if (!config) {
      opened_.emplace(asked_for(open_model(request_.model.directory, nesting)));
    } else if (!request_.writes() && request_.db.empty()) {
      opened_.emplace(asked_for(without_weights(*config, nesting)));
      config_alone_ = true;
    } else {
      fail(
          "cannot export from '{}': it is a config without tensors, which is enough for --dry-run "
          "and --explain without --db",
          request_.model.directory.string());
    }
    note_left_aside(opened_->checkpoint);
    note_resized_positions(opened_->model);
  }

  void open_store() {
    if (request_.db.empty()) return;
    // A store that --record or --best reads must be there: only --widths may begin a new one.
    const bool must_exist = !request_.writes() || request_.record || request_.best;
    if (must_exist) Store::open(request_.db, Store::Mode::kRead);
    store_.emplace(
        Store::open(request_.db, request_.writes() ? Store::Mode::kWrite : Store::Mode::kRead));
    model_id_ = model_in(*store_, *opened_);
  }

  std::optional<LatencyRow> latency_asked_for() const {
    if (!counts(CostKind::kLatency, request_.cost, budgets_)) return std::nullopt;
    if (!store_) fail_usage("export: a budget of time needs --db, the store of a 'latency'");
    LatencyRow row = latency_named(*store_, *opened_, request_.latency);
    note("{}\n", latency_text(row));
    return row;
  }

  void choose() {
    const NestedModel& model = opened_->model;
    const std::optional<LatencyRow> counted_with = latency_asked_for();
    std::optional<LatencyTable> latency;
    if (counted_with) latency.emplace(counted_with->measured.parts);
    if (request_.record) {
      chosen_ = named_record();
    } else if (request_.best) {
      const CostTable costs(model, basis(model.dtype));
      BestRequest best{budgets_, request_.cost, request_.data};
      best.latency = latency ? &*latency : nullptr;
      best.memory = &costs;
      if (counted_with) best.counted_with = counted_with->id;
      chosen_ = best_of(best);
    } else if (by_rule_) {
      const CostTable costs(model, basis(dtype()), latency ? &*latency : nullptr);
      widths_ = least_slope_within(model, costs, budgets_);
      if (!request_.json) {
        print("{}: {}; no score chose it\n", to_string(widths_),
              std::ranges::find(widths_, kSkip) == widths_.end()
                  ? "the largest least-slope submodel within the budget"
                  : "no least-slope submodel of all layers is within the budget, and this is the "
                    "largest of those without the layers that may be left out");
      }
    } else {
      widths_ = parse_widths(request_.widths, model.layers());
    }
    if (chosen_) widths_ = chosen_->widths;
    model.space.require(widths_);
    if (!request_.widths.empty()) say_which_is_unnamed();
    if (model_id_) quoted_ = scored_record(*store_, *model_id_, widths_);
    if (!chosen_) chosen_ = quoted_;
  }

  // A width that the config does not name may be meant, or mistyped.
  void say_which_is_unnamed() const {
    const WidthSpace& space = opened_->model.space;
    for (std::size_t layer = 0; layer < widths_.size(); ++layer) {
      const std::vector<Width> named = space.choices(layer);
      if (std::ranges::find(named, widths_[layer]) != named.end()) continue;
      note("layer {} gets the width {}, which is none of those that the config names\n", layer,
           widths_[layer]);
      return;
    }
  }

  Record named_record() const {
    const std::optional<Record> record = store_->record(*request_.record);
    if (!record) fail_usage("{} has no record {}", request_.db.string(), *request_.record);
    if (record->model != model_id_) {
      fail_usage("record {} is of another checkpoint than {}: fingerprints differ",
                 *request_.record, request_.model.directory.string());
    }
    return *record;
  }

  // As records count costs, but for the caches that memory is counted with.
  CostBasis basis(Dtype weights) const {
    CostBasis of = export_basis(opened_->model, weights);
    of.cache = request_.cache;
    return of;
  }

  Record best_of(const BestRequest& request) const {
    if (!model_id_) {
      fail_usage("{} has no scores of the checkpoint {}", request_.db.string(),
                 request_.model.directory.string());
    }
    return best_record(*store_, *model_id_, request);
  }

  // What provenance and budgets count bytes in; of a quantised format, those of the checkpoint's
  // dtype.
  Dtype dtype() const {
    const std::string& text = request_.target.dtype;
    const bool countable = !text.empty() && text != to_string(GgufType::kQ8_0);
    return countable ? parse_dtype(text) : opened_->model.dtype;
  }

  int print_why() const {
    std::optional<KnownScores> scores;
    if (model_id_) scores = KnownScores{&*store_, *model_id_};
    print_explanation(explain(*opened_, widths_, request_.runtime, request_.target,
                              export_basis(opened_->model, dtype()), scores),
                      request_.json);
    return 0;
  }

  CheckOptions check() const {
    return {!request_.no_check, request_.check_layers, request_.device};
  }

  void print_plan(const PlannedExport& plan) const {
    std::map<std::string, std::uint64_t> files = plan.files();
    const std::size_t layers = checked_layers(*opened_, plan, check());
    if (layers == opened_->model.layers()) {
      files[kProbeFile] = probe_bytes(probe_outline(*opened_, plan));
    }
    std::uint64_t bytes = 0;
    const Table table = planned_files(std::move(files), bytes);
    print_table(table, OutputFormat::kText);
    if (config_alone_ && request_.target.format == "huggingface" &&
        !opened_->family->other_parts(opened_->model).empty()) {
      note(
          "of the parts beside the text model nothing is counted: a config says nothing of their "
          "tensors\n");
    }
    print("{} parameters, {} bytes in {} files\n",
          cost_of(opened_->model, plan.slices().widths).params, bytes, table.rows.size());
    if (layers > 0) {
      if (const std::string part = part_text(layers); !part.empty()) {
        note("the check would run{}\n", part);
      }
    }
    note("dry run: {} at {} would be written{}\n", to_string(widths_), plan.dtype(),
         request_.out.empty() ? "" : " to " + request_.out.string());
  }

  // What of the model was run, where it was not all.
  std::string part_text(std::size_t layers) const {
    const std::size_t all = source_->model.layers();
    if (layers == all) return "";
    return fmt::format(
        " through the first {} of {} layers alone ({}, so there is no probe)", layers, all,
        request_.check_layers > 0 ? "as asked"
                                  : "each is run several times, with altered weights; more with "
                                    "--check-layers");
  }

  void write(const PlannedExport& plan) {
    std::optional<ProgressBar> bar;
    const ProgressSink progress = writing_shown_on(bar, guard_);
    const CheckedExport written =
        write_checked(*source_, plan, request_.out, check(), replaceable(request_.force), progress);
    print("{}: {} with {} parameters, {}B in {}\n", request_.out.string(),
          to_string(plan.slices().widths),
          quantity(static_cast<double>(cost_of(source_->model, plan.slices().widths).params)),
          quantity(static_cast<double>(written.bytes)), plan.dtype());
    print_check(plan, written);
    if (padded_) print_padding();
    if (source_ != &*opened_) print_difference(plan, written);
    record(plan, written);
    print("\n{}", Lines{plan.loading(request_.out)});
  }

  void print_padding() const {
    print(
        "padded: {}, up to the widest layer's width; it takes as much time and memory as that "
        "width "
        "in every layer\n",
        to_string(widths_));
  }

  // The export was checked against what it was written from, and this against the nested model.
  void print_difference(const PlannedExport& plan, const CheckedExport& written) const {
    if (!written.probe || written.layers != source_->model.layers()) return;
    const Probe& probe = *written.probe;
    const double moved = logits_difference(*opened_, widths_, *source_, plan.slices().widths,
                                           probe.inputs, request_.device);
    if (!(moved <= probe.tolerance)) {
      fail(
          "'{}' is written, but is not the submodel {}: a logit differs by {}, where {} is allowed",
          request_.out.string(), to_string(widths_), moved, probe.tolerance);
    }
    print("the nested model at these widths differs from it by {:.2g} in a logit\n", moved);
  }

  // What sets the probe's logits apart from the model's own.
  std::string moved_by(const PlannedExport& plan) const {
    const std::string rounding = fmt::format("rounding to {}", plan.dtype());
    const std::string otherwise = plan.in_runtimes().says;
    if (otherwise.empty()) return rounding;
    return otherwise + (plan.rounds(source_->checkpoint) ? ", and " + rounding : ",");
  }

  void print_check(const PlannedExport& plan, const CheckedExport& written) const {
    if (written.difference) {
      const Probe& probe = *written.probe;
      print(
          "checked: every tensor is its slice; over {} {}{} the largest difference of a "
          "logit is {:.2g}, where the order of summation explains {:.2g}\n",
          probe.outputs(), words_of(probe.inputs.each.type).kind, part_text(written.layers),
          written.difference->worst, probe.tolerance);
      if (probe.moved > 0) {
        print("{} moved a logit by up to {:.2g}, of {:.2g}\n", moved_by(plan), probe.moved,
              largest(probe.logits));
      }
    } else if (written.checked_values) {
      print(
          "checked: every tensor is its slice; nothing was run, since memory does not hold one "
          "layer and a part of the head, and there is no probe\n");
    } else {
      print(
          "every tensor is there with its name, shape and type; no value was checked, and "
          "there is no probe\n");
    }
  }

  void record(const PlannedExport& plan, const CheckedExport& written) {
    if (request_.db.empty()) return;
    Store::Artifact artifact =
        artifact_row(plan, written, request_.out, store_->model(model_row(*opened_)), chosen_);
    artifact.widths = widths_;
    artifact.command_line = command_line("export", arguments_);
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
  bool config_alone_ = false;         // no tensors of a checkpoint are known
  std::optional<FixedBiases> fixed_;  // of a compensated model
  std::optional<PaddedModel> padded_;
  const OpenedModel* source_ = nullptr;  // of the tensors: opened_, or what was made of it
  std::optional<Store> store_;
  std::vector<Budget> budgets_;
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
