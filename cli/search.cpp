#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <iterator>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "base/error.h"
#include "base/interrupt.h"
#include "base/quantity.h"
#include "base/shell_word.h"
#include "base/version.h"
#include "cli/common_options.h"
#include "cli/confirmed_front.h"
#include "cli/example_readers.h"
#include "cli/left_aside.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/print.h"
#include "cli/progress.h"
#include "cli/retrieval_options.h"
#include "cli/run_settings.h"
#include "dataset/examples.h"
#include "families/keep_widths.h"
#include "families/open_model.h"
#include "report/table.h"
#include "search/strategy.h"
#include "study/confirm.h"
#include "study/ranks.h"
#include "study/scorer.h"
#include "study/session.h"
#include "study/store_rows.h"

namespace mnm {
namespace {

// Everything on the command line.
struct Request {
  ModelOptions model;
  ExampleOptions data;
  std::filesystem::path confirm, db;
  std::vector<std::string> strategies, budgets;
  Metric metric = Metric::kLoss;
  RetrievalOptions retrieval;
  CostKind cost = CostKind::kParams;
  StrategySettings settings;
  std::int64_t widths_step = 0;
  std::vector<std::string> keep;
  std::int64_t batch = 256;
  double max_seconds = 0;
  DeviceOptions device;
  CacheLoad cache;
  std::optional<std::int64_t> resume, latency;
  bool halving = false, dry_run = false, json = false, csv = false;
};

constexpr std::int64_t kWidest = std::numeric_limits<Width>::max();

std::string strategies_text() {
  return fmt::format("{}; several are parted by commas (default {})",
                     fmt::join(strategy_names(), ", "), kDefaultStrategy);
}

// How much a strategy does, and how.
void add_strategy_options(OptionTable& options, Request& request) {
  options
      .option("max-evaluations", of_run(count_value(request.settings.max_evaluations)),
              "the most submodels that each strategy scores")
      .option("max-time", duration_value(request.max_seconds),
              "time limit: 90s, 10m, 1h30m. The strategies share it evenly. A strategy finishes "
              "the batch that it is at when its share is over")
      .option("seed", of_run(count_value(request.settings.seed)),
              "seed of the strategies' random numbers")
      .option("population", of_run(population_value(request.settings.population)),
              "of evolution: submodels per generation")
      .option("crossover", of_run(real_value(request.settings.crossover, 0, 1)),
              "of evolution: probability that a child has two parents")
      .option("mutation", of_run(real_value(request.settings.mutation, 0, 1)),
              "of evolution: probability that a layer changes; 0: 1 / (2 layers)")
      .option("from-sensitivity", of_run(flag_value(request.settings.from_sensitivity)),
              "of surrogate: begin with the submodels of sensitivity, too; what the store has of "
              "them is not scored again")
      .option("batch", of_run(count_value(request.batch, 1, 1 << 20)),
              "submodels that are scored and stored together: a larger batch shares more work, "
              "and loses more when it is killed");
  options.option(
      "halving", of_run(flag_value(request.halving)),
      "score each batch on an eighth of the examples, its more promising half on a quarter, and "
      "the most promising submodels on every example: at most 0.4 of the tokens");
}

OptionTable option_table(Request& request) {
  OptionTable options("search",
                      "Searches the submodels of a nested checkpoint for the front of cost and "
                      "loss (or another metric). Every score is kept in a store. At the end the "
                      "members of the front are scored again, on tokens that did not choose them; "
                      "if latency is counted, they are also timed as whole submodels. "
                      "Ctrl-C stops after the present batch, and --resume goes on.");
  options
      .argument("DIR", of_run(path_value(request.model.directory, "DIR")),
                "the nested checkpoint; not needed with --resume")
      .section("model and data");
  add_nesting_options(options, request.model.nesting);
  add_image_size_option(options, request.model.nesting);
  options
      .option("data", of_run(data_value(request.data.path)),
              "token file of the search part, or a task file")
      .option("confirm", of_run(data_value(request.confirm)),
              "token file of the confirm part, scored at every position, or a task file");
  add_data_options(options, request.data);
  options.section("search")
      .option("strategy", of_run(texts_value(request.strategies, "NAME")), strategies_text())
      .option(
          "widths-step", of_run(count_value(request.widths_step, 0, kWidest, "N")),
          "also take widths that were not trained: the multiples of N between the narrowest and "
          "the widest of each layer; 0: none")
      .option(
          "keep", of_run(texts_value(request.keep, "LAYERS=WIDTHS")),
          "bounds of layers, counted from 0: at least 0-3=full, 4,6=256, or 8=1/2 of the full "
          "width; at most 9=..256; both 10=64..256; one width 11=128..128. A layer with a least "
          "width may not be skipped")
      .option("metric", of_run(metric_value(request.metric)), "the metric that the search improves")
      .option("budget", of_run(texts_value(request.budgets, "LIMIT")), kBudgetHelp)
      .option("cost", of_run(cost_kind_value(request.cost)), "the cost axis of the front");
  add_latency_option(options, request.latency);
  add_cache_options(options, request.cache, "the context of the data");
  add_strategy_options(options, request);
  add_retrieval_options(options, request.retrieval);
  add_device_options(options, request.device);
  options.section("store and output")
      .option("db", required(path_value(request.db)), "the store; it is made if it does not exist")
      .option("resume", id_value(request.resume, "RUN"),
              "go on with a stopped run, with its settings ('mixnmatch runs' lists runs)")
      .option("dry-run", flag_value(request.dry_run), "say what would be done and stop");
  add_output_options(options, request.json, request.csv);
  return options;
}

std::vector<std::string> split_names(const std::vector<std::string>& texts) {
  std::vector<std::string> names;
  for (const std::string& text : texts) {
    std::size_t begin = 0;
    while (begin <= text.size()) {
      const std::size_t end = std::min(text.find(',', begin), text.size());
      names.push_back(text.substr(begin, end - begin));
      begin = end + 1;
    }
  }
  std::vector<std::string> once;
  for (std::string& name : names) {
    if (std::ranges::find(once, name) != once.end()) {
      fail_usage("search: --strategy names {} twice", name);
    }
    once.push_back(std::move(name));
  }
  return once;
}

// The luckiest of many scores flatters its submodel by up to four standard errors. Confirm
// sequences that chose it too pass that on by their share, so from one in forty on by a tenth of
// a standard error; below that, text that repeats itself is noted and let be.
void require_disjoint(const Request& request, const Examples& data, const Examples& confirm) {
  const std::int64_t shared = confirm.shared_with(data);
  if (shared == 0) return;
  const std::string what =
      fmt::format("{} of the {} {}s of the confirm part {} are in the search part {} too", shared,
                  confirm.count, words_of(confirm.kind()).example, request.confirm.string(),
                  request.data.path.string());
  if (40 * shared >= confirm.count) {
    fail_usage("{}: it must be disjoint, or it confirms nothing", what);
  }
  note("{}: too few to matter\n", what);
}

class SearchCommand {
 public:
  SearchCommand(Request& request, OptionTable& options, const Arguments& arguments)
      : request_(request), options_(options), arguments_(arguments) {}

  int run() {
    if (request_.resume) restore();
    open();
    ranks_ = Ranks::join(note_line);
    return ranks_ && ranks_->rank() > 0 ? serve() : lead();
  }

 private:
  // The settings of the run that is gone on with.
  void restore() {
    const Store store = Store::open(request_.db, Store::Mode::kRead);
    resumed_ = store.run(*request_.resume);
    if (!resumed_) {
      fail_usage("{} has no run {} ('mixnmatch runs --db {}' lists them)", request_.db.string(),
                 *request_.resume, request_.db.string());
    }
    restore_settings(options_, "search", *resumed_);
  }

  // The model and the data.
  void open() {
    if (request_.model.directory.empty())
      fail_usage("search: DIR, the nested checkpoint, is missing");
    if (request_.data.path.empty()) fail_usage("search: --data, the search part, is missing");
    // A run of another version's default strategy goes on with that.
    const std::string unnamed = resumed_ ? resumed_->strategy : std::string(kDefaultStrategy);
    strategies_ = split_names(request_.strategies.empty() ? std::vector<std::string>{unnamed}
                                                          : request_.strategies);
    opened_.emplace(open_model(request_.model.directory, request_.model.nesting));
    if (request_.widths_step > 0) {
      WidthSpace& space = opened_->model.space;
      space = space.with_untrained(static_cast<Width>(request_.widths_step));
    }
    const NestedModel& model = opened_->model;
    score_.metrics = {request_.metric};
    searched_ = model.space;
    keep_widths(request_.keep, searched_);
    read_as_model(request_.data, *opened_);
    request_.data.may_be_task = true;
    data_ = load_data(request_.data);
    if (resumed_) {
      require_same_search(Store::open(request_.db, Store::Mode::kRead), *resumed_, *opened_,
                          *data_);
    }
    if (request_.halving) {
      if (score_.own_databases()) {
        fail_usage(
            "--halving saves nothing with --encoder submodel: each round encodes the whole "
            "database again");
      }
      if (!row_of(request_.metric).of_parts) {
        fail_usage(
            "--halving puts the values of parts of the data together, and {} is one value of "
            "all texts: choose --metric loss",
            to_string(request_.metric));
      }
      parts_.emplace(*data_);
    }
    if (request_.confirm.empty()) return;
    ExampleOptions confirm = request_.data;
    confirm.path = request_.confirm;
    if (data_->protocol.empty()) confirm.context = data_->context;
    confirm.positions = {};  // few are scored again, and what is reported of them is this
    confirm_ = load_data(confirm);
    require_disjoint(request_, *data_, *confirm_);
  }

  // A part of the data, with the protocol if it is searched for in a database.
  std::unique_ptr<const Examples> load_data(const ExampleOptions& from) {
    std::unique_ptr<Examples> data = load_examples(from, opened_->model);
    require_metrics(score_.metrics, data->kind());
    if (!data_) {
      score_.retrieval = load_retrieval(options_, request_.retrieval, score_.metrics, from,
                                        *opened_, request_.db, request_.device.dtype);
    }
    if (score_.retrieval) {
      make_queries(*data, *score_.retrieval, QueriesInDatabase::kRefused);
    }
    return data;
  }

  // What every rank but the first does.
  int serve() {
    std::vector<const Examples*> datasets = {data_.get()};
    if (confirm_) datasets.push_back(confirm_.get());
    if (parts_) std::ranges::copy(parts_->scored(), std::back_inserter(datasets));
    Scorer(*opened_, request_.device, score_, ranks_.get(), note_line).serve(datasets);
    return 0;
  }

  int lead() {
    plan();
    print_settings();
    if (request_.dry_run) return 0;
    RunRow kept;
    kept.settings = resumed_ ? resumed_->settings : run_settings(options_);
    kept.command_line = command_line("search", arguments_);
    kept.seed = request_.settings.seed;
    require_device(request_.device);
    Store::require_writable(request_.db);
    Scorer scorer(*opened_, request_.device, score_, ranks_.get(), note_line);
    encode_with_bar(scorer, score_, guard_);
    Store store = Store::open(request_.db, Store::Mode::kWrite);
    session_->begin(store, scorer, kept, resumed_);
    return search();
  }

  // Of what latency is counted by, where it is counted.
  void choose_latency(const std::vector<Budget>& budgets) {
    if (!counts(CostKind::kLatency, request_.cost, budgets)) return;
    if (!std::filesystem::exists(request_.db)) {
      fail(
          "latency is counted by a measurement in the store, and there is no {}: make it "
          "with 'mixnmatch latency DIR --db FILE'",
          request_.db.string());
    }
    const LatencyRow row =
        latency_named(Store::open(request_.db, Store::Mode::kRead), *opened_, request_.latency);
    options_.restore("latency", {std::to_string(row.id)});  // a resumed run counts by the same
    note("{}\n", latency_text(row));
    latency_.emplace(row.measured.parts);
    counted_with_ = row;
  }

  void plan() {
    const std::vector<Budget> budgets = parse_budgets(request_.budgets, request_.cost);
    choose_latency(budgets);
    SearchRequest search{*opened_, *data_, confirm_.get(), budgets};
    search.space = &searched_;
    search.cost = request_.cost;
    search.metric = request_.metric;
    search.strategies = strategies_;
    search.settings = request_.settings;
    search.latency = latency_ ? &*latency_ : nullptr;
    search.counted_with = counted_with_ ? &*counted_with_ : nullptr;
    search.cache = request_.cache;
    search.batch = static_cast<std::size_t>(request_.batch);
    search.halving = parts_ ? &*parts_ : nullptr;
    search.max_seconds = request_.max_seconds;
    search.started = start_;
    session_.emplace(search);
    counts_flops_ = counts(CostKind::kFlops, request_.cost, budgets);
    counts_memory_ = counts(CostKind::kMemory, request_.cost, budgets);
  }

  void print_settings() const {
    // What 0 stands for, where it is no number of its own.
    const std::map<std::string_view, std::string> meant = {
        {"context", std::to_string(data_->context)},
        {"widths-step", "none"},
        {"mutation", fmt::format("{:.3g}", 0.5 / static_cast<double>(opened_->model.layers()))},
        {"threads", "one per core"}};
    for (const auto& [name, text] : options_.settings()) {
      if (!score_.retrieval && is_of_retrieval(name)) continue;
      const auto found = text == "0" ? meant.find(name) : meant.end();
      if (!text.empty()) note("  {:<16} {}\n", name, found == meant.end() ? text : found->second);
    }
    if (counts_flops_ && opened_->model.reads_tokens()) {
      note("FLOPs are counted at a context of {} tokens, the data's\n", data_->context);
    }
    if (counts_memory_) {
      note("costs are {}\n", cost_text(CostKind::kMemory, session_->costs().basis()));
    }
    if (!data_->protocol.empty()) note("scores are of {}\n", data_->protocol);
    note_left_aside(opened_->checkpoint);
    note_resized_positions(opened_->model);
    if (request_.max_seconds > 0 && strategies_.size() > 1) {
      note(
          "--max-time is shared evenly: {} for each of {} strategies, and what one leaves goes to "
          "the others\n",
          duration_text(request_.max_seconds / static_cast<double>(strategies_.size())),
          strategies_.size());
    }
    for (const auto& strategy : session_->strategies()) {
      note("{}: {} of {} submodels\n", request_.dry_run ? "would search" : "search",
           strategy->description(), searched_.submodels_text());
    }
  }

  int search() {
    try {
      const bool finished = session_->search(watch());
      if (session_->stopped() || guard_.interrupted()) {
        say_how_to_resume();
        return 1;
      }
      const ConfirmedFront front = confirm();
      print_confirmed(front, output_format(request_.json, request_.csv));
      if (!finished || front.stopped) say_how_to_resume();
      return front.stopped ? 1 : 0;
    } catch (const UsageError&) {
      throw;
    } catch (const Stopped&) {
      say_how_to_resume();
      return 1;
    } catch (const Error& error) {
      fail("{}; all that was scored is kept, and '{}' goes on", error.what(), resume_command());
    }
  }

  // Two calls, each with a bar of its own that is there once it begins.
  ConfirmedFront confirm() {
    std::optional<ProgressBar> bar;
    ProgressSink on_bar;
    std::string shown;
    const auto sink = [&](const char* label) {
      return [&, label](const Progress& progress) {
        if (shown != label) on_bar = shown_on(bar.emplace(label), guard_);
        shown = label;
        return on_bar(progress);
      };
    };
    return session_->confirm(sink("confirming"), sink("timing"));
  }

  // A bar for each strategy, and a line that stays when it has ended.
  SearchWatch watch() {
    SearchWatch watch;
    watch.progress = [this](const RunRow& run, const SearchStatus& status) {
      if (!bar_) bar_.emplace(run.strategy);
      if (guard_.interrupted() && status.batch > 0 && !said_) {
        said_ = true;
        bar_->note(fmt::format(
            "stopping: finishing a batch of {} (Ctrl-C again to drop it; then '{}' goes on)",
            status.batch, resume_command()));
      }
      show(status);
      return !guard_.interrupted();
    };
    watch.ended = [this](const RunRow& run, const SearchOutcome& outcome) {
      const SearchStatus& status = outcome.status;
      bar_->note(fmt::format("run {}, {}: {} evaluations ({} known already){}, front of {}, {}{}",
                             run.id, run.strategy, status.evaluations,
                             status.evaluations - status.scored, outputs_text(status), status.front,
                             best_text(status), outcome.finished ? "" : ", stopped"));
      bar_.reset();
    };
    return watch;
  }

  void show(const SearchStatus& status) {
    const double total = static_cast<double>(std::max<std::uint64_t>(status.total, 1));
    const double scored = static_cast<double>(status.scored) + status.under_way;
    const double done = static_cast<double>(status.evaluations) + status.under_way;
    double left = scored > 0 ? bar_->seconds() * (total - done) / scored
                             : std::numeric_limits<double>::infinity();
    left = std::min(left, session_->seconds_left());
    bar_->show(done / total,
               fmt::format("{:.0f} of {} evaluations, front {}, {}, {} left", done, status.total,
                           status.front, best_text(status), duration_text(left)));
  }

  // What halving computed, of what it would have been without.
  std::string outputs_text(const SearchStatus& status) const {
    const auto each = data_->protocol.empty() ? static_cast<std::uint64_t>(data_->outputs()) : 1;
    const auto outputs = [&](std::uint64_t examples) { return fmt::group_digits(examples * each); };
    if (!parts_) return "";
    return fmt::format(" on {} of {} {}", outputs(status.examples),
                       outputs(status.scored * static_cast<std::uint64_t>(data_->count)),
                       data_->kind());
  }

  std::string best_text(const SearchStatus& status) const {
    if (!status.best) return "best none";
    const Cost cost = session_->costs().of(status.best->widths);
    return fmt::format("best {:.4f} at {}", status.best->value(request_.metric),
                       value_text(request_.cost, cost.of(request_.cost)));
  }

  // Where it runs is no setting of a run: resumed, it would run on the default device.
  std::string resume_command() const {
    return fmt::format("mixnmatch search --db {} --resume {}{}", shell_quoted(request_.db.string()),
                       session_->runs().back().id,
                       options_.given("device")
                           ? fmt::format(" --device {}", shell_quoted(request_.device.device))
                           : "");
  }

  void say_how_to_resume() const {
    note("stopped; all that was scored is kept. To go on:\n  {}\n", resume_command());
  }

  Request& request_;
  OptionTable& options_;
  const Arguments& arguments_;
  const InterruptGuard guard_;
  const std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  std::vector<std::string> strategies_;
  std::optional<OpenedModel> opened_;
  WidthSpace searched_;  // the model's, within bounds
  std::optional<RunRow> resumed_;
  ScoreOptions score_;
  std::unique_ptr<const Examples> data_, confirm_;
  std::optional<HalvingParts> parts_;    // where there is halving
  std::optional<LatencyTable> latency_;  // where latency is counted, and of what measurement
  std::optional<LatencyRow> counted_with_;
  bool counts_flops_ = false, counts_memory_ = false;
  std::unique_ptr<Ranks> ranks_;  // where this is one of several processes
  std::optional<SearchSession> session_;
  std::optional<ProgressBar> bar_;  // of the strategy under way
  bool said_ = false;
};

}  // namespace

int search_command(const Arguments& arguments) {
  Request request;
  OptionTable options = option_table(request);
  if (!options.parse(arguments)) return 0;
  output_format(request.json, request.csv);
  return SearchCommand(request, options, arguments).run();
}

}  // namespace mnm
