#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <limits>
#include <memory>
#include <span>

#include "cli/common_options.h"
#include "cli/confirmed_front.h"
#include "cli/interrupt.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/print.h"
#include "cli/progress.h"
#include "cli/text_tokens.h"
#include "dataset/examples.h"
#include "families/open_model.h"
#include "model/error.h"
#include "model/quantity.h"
#include "model/shell_word.h"
#include "model/version.h"
#include "report/table.h"
#include "search/strategy.h"
#include "study/confirm.h"
#include "study/ranks.h"
#include "study/scorer.h"
#include "study/search_loop.h"
#include "study/store_rows.h"
#include "text/utf8.h"

namespace mnm {
namespace {

constexpr const char* kDefaultStrategy = "surrogate";

// Everything on the command line.
struct Request {
  ModelOptions model;
  ExampleOptions data;
  std::filesystem::path confirm, db;
  std::vector<std::string> strategies, budgets;
  Metric metric = Metric::kLoss;
  CostKind cost = CostKind::kParams;
  StrategySettings settings;
  std::int64_t widths_step = 0;
  std::int64_t batch = 256;
  double max_seconds = 0;
  DeviceOptions device;
  std::optional<std::int64_t> resume, latency;
  bool dry_run = false, json = false, csv = false;
};

// What makes a run the run it is: kept in the store, taken back by --resume.
constexpr const char* kKept[] = {
    "DIR",          "granularities", "may-skip",   "widths-step",     "data",
    "token-format", "context",       "max-tokens", "positions",       "positions-seed",
    "confirm",      "strategy",      "metric",     "budget",          "cost",
    "latency",      "seed",          "population", "max-evaluations", "crossover",
    "mutation",     "batch",         "dtype"};

// Those kept by their absolute path; what lies there is known by its fingerprint.
bool is_path(std::string_view option) {
  return option == "DIR" || option == "data" || option == "confirm";
}

constexpr std::int64_t kWidest = std::numeric_limits<Width>::max();

std::string strategies_text() {
  return fmt::format("{}; several are parted by commas (default {})",
                     fmt::join(strategy_names(), ", "), kDefaultStrategy);
}

OptionTable option_table(Request& request) {
  OptionTable options("search",
                      "Searches the submodels of a nested checkpoint for the front of cost and "
                      "loss, or another metric, keeps every score in a store, and scores the "
                      "front's members again on "
                      "tokens that did not choose them. Ctrl-C finishes the batch; --resume goes "
                      "on.");
  options
      .argument("DIR", path_value(request.model.directory, "DIR"),
                "the nested checkpoint (a resumed run knows its own)")
      .section("model and data");
  add_nesting_options(options, request.model.nesting);
  options.option("data", path_value(request.data.path), "token file of the search part")
      .option("confirm", path_value(request.confirm),
              "token file of the confirm part, scored at every position");
  add_data_options(options, request.data);
  options.section("search")
      .option("strategy", texts_value(request.strategies, "NAME"), strategies_text())
      .option(
          "widths-step", count_value(request.widths_step, 0, kWidest, "N"),
          "also widths that were not trained: multiples of N between the granularities; 0: none")
      .option("metric", metric_value(request.metric), "what is best")
      .option("budget", texts_value(request.budgets, "LIMIT"), kBudgetHelp)
      .option("cost", cost_kind_value(request.cost), "what the front trades against the metric");
  add_latency_option(options, request.latency);
  options
      .option("max-evaluations", count_value(request.settings.max_evaluations),
              "submodels scored, per strategy")
      .option("max-time", duration_value(request.max_seconds),
              "shared evenly by the strategies; each stops after its first batch or the one under "
              "way when its share is over: 90s, 10m, 1h30m")
      .option("seed", count_value(request.settings.seed), "where random numbers start")
      .option("population", population_value(request.settings.population), "of evolution")
      .option("crossover", real_value(request.settings.crossover, 0, 1),
              "of evolution: probability per pair")
      .option("mutation", real_value(request.settings.mutation, 0, 1),
              "of evolution: probability per layer; 0: 1 / (2 layers)")
      .option("batch", count_value(request.batch, 1, 1 << 20),
              "submodels that are scored and kept together: more share more, fewer lose less when "
              "killed");
  add_device_options(options, request.device);
  options.section("store and output")
      .option("db", required(path_value(request.db)), "the store, made where there is none")
      .option("resume", id_value(request.resume, "RUN"),
              "go on with a stopped run, with the settings it had ('mixnmatch runs' lists them)")
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

nlohmann::ordered_json kept_settings(const OptionTable& options) {
  nlohmann::ordered_json settings;
  for (const char* name : kKept) {
    std::vector<std::string> texts = options.texts(name);
    if (texts.empty()) continue;
    const bool path = is_path(name);
    if (path) texts = {std::filesystem::absolute(texts.front()).string()};
    if (path && valid_utf8(texts.front()) != texts.front().size()) {
      fail_usage(
          "search: the path {} is not UTF-8, and the store keeps it as text, to resume by: give it "
          "another name",
          texts.front());
    }
    settings["options"][name] = texts;
  }
  return settings;
}

// The settings of the resumed run; UsageError where the command line says otherwise.
nlohmann::ordered_json restore_settings(OptionTable& options, const RunRow& run) {
  if (run.command != "search") {
    fail_usage("run {} is of '{}' and not of 'search': it cannot be resumed", run.id, run.command);
  }
  const auto settings = nlohmann::ordered_json::parse(run.settings, nullptr, false);
  if (!settings.is_object() || !settings.contains("options")) {
    fail("run {} has no settings to resume with: the store was written by another program", run.id);
  }
  for (const char* name : kKept) {
    const auto& stored = settings["options"];
    const std::vector<std::string> texts = stored.contains(name)
                                               ? stored[name].get<std::vector<std::string>>()
                                               : std::vector<std::string>{};
    if (options.given(name)) {
      if (is_path(name) || options.texts(name) == texts) continue;  // fingerprints are checked
      fail_usage(
          "run {} has {} {}: a resumed run keeps its settings, so leave the option out", run.id,
          name, texts.empty() ? options.fallback(name) : fmt::format("{}", fmt::join(texts, ", ")));
    }
    if (!texts.empty()) options.restore(name, texts);
  }
  return settings;
}

class SearchCommand {
 public:
  SearchCommand(Request& request, OptionTable& options, const Arguments& arguments)
      : request_(request), options_(options), arguments_(arguments) {}

  int run() {
    std::optional<RunRow> resumed;
    nlohmann::ordered_json settings;
    if (request_.resume) {
      const Store store = Store::open(request_.db, Store::Mode::kRead);
      resumed = store.run(*request_.resume);
      if (!resumed) {
        fail_usage("{} has no run {} ('mixnmatch runs --db {}' lists them)", request_.db.string(),
                   *request_.resume, request_.db.string());
      }
      settings = restore_settings(options_, *resumed);
    }
    if (request_.model.directory.empty())
      fail_usage("search: DIR, the nested checkpoint, is missing");
    if (request_.data.path.empty()) fail_usage("search: --data, the search part, is missing");
    // A run of another version's default strategy goes on with that.
    const std::string unnamed = resumed ? resumed->strategy : std::string(kDefaultStrategy);
    strategies_ = split_names(request_.strategies.empty() ? std::vector<std::string>{unnamed}
                                                          : request_.strategies);

    opened_.emplace(open_model(request_.model.directory, request_.model.nesting));
    if (request_.widths_step > 0) {
      WidthSpace& space = opened_->model.space;
      space = space.with_untrained(static_cast<Width>(request_.widths_step));
    }
    const NestedModel& model = opened_->model;
    request_.data.text = text_tokens(opened_->checkpoint.directory(), model.vocab_size);
    data_ = load_examples(request_.data, model);
    if (!request_.confirm.empty()) {
      ExampleOptions confirm = request_.data;
      confirm.path = request_.confirm;
      confirm.context = data_->context;
      confirm.positions = {};  // few are scored again, and what is reported of them is this
      confirm_ = load_examples(confirm, model);
      require_disjoint();
    }
    ranks_ = Ranks::join(note_line);
    return ranks_ && ranks_->rank() > 0 ? serve() : lead(settings, resumed);
  }

 private:
  // What every rank but the first does.
  int serve() {
    std::vector<const Examples*> datasets = {data_.get()};
    if (confirm_) datasets.push_back(confirm_.get());
    Scorer(*opened_, request_.device, ScoreOptions{{request_.metric}}, ranks_.get(), note_line)
        .serve(datasets);
    return 0;
  }

  int lead(nlohmann::ordered_json& settings, const std::optional<RunRow>& resumed) {
    make_problem();
    std::vector<std::unique_ptr<Strategy>> strategies;
    for (const std::string& name : strategies_) {
      strategies.push_back(make_strategy(name, problem_, request_.settings));
    }
    print_settings(strategies);
    if (request_.dry_run) return 0;

    if (settings.is_null()) settings = kept_settings(options_);
    require_device(request_.device);
    store_.emplace(Store::open(request_.db, Store::Mode::kWrite));
    scorer_.emplace(*opened_, request_.device, ScoreOptions{{request_.metric}}, ranks_.get());
    model_id_ = store_->model(model_row(*opened_));
    data_id_ = store_->data(data_row(*data_));
    if (resumed && (resumed->model != model_id_ || resumed->data != data_id_)) {
      fail_usage("run {} was of another {}: fingerprints differ", resumed->id,
                 resumed->model != model_id_ ? "checkpoint" : "token file, or of another context");
    }
    return search(strategies, settings, resumed ? resumed->session : 0);
  }

  // The luckiest of many scores flatters its submodel by up to four standard errors. Confirm
  // sequences that chose it too pass that on by their share, so from one in forty on by a tenth of
  // a standard error; below that, text that repeats itself is noted and let be.
  void require_disjoint() const {
    const std::int64_t shared = confirm_->shared_with(*data_);
    if (shared == 0) return;
    const std::string what = fmt::format(
        "{} of the {} sequences of the confirm part {} are in the search part {} too", shared,
        confirm_->count, request_.confirm.string(), request_.data.path.string());
    if (40 * shared >= confirm_->count) {
      fail_usage("{}: it must be disjoint, or it confirms nothing", what);
    }
    note("{}: too few to matter\n", what);
  }

  void make_problem() {
    budgets_ = parse_budgets(request_.budgets, request_.cost);
    if (counts_latency(request_.cost, budgets_)) {
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
    }
    costs_.emplace(opened_->model, basis_of(opened_->model, *data_),
                   latency_ ? &*latency_ : nullptr);
    const CostTable& table = *costs_;
    const auto axis = [&table](CostKind kind) {
      return [&table, kind](const Widths& widths) {
        return static_cast<double>(table.of(widths).of(kind));
      };
    };
    problem_.space = opened_->model.space;
    problem_.cost = axis(request_.cost);
    for (const auto& [kind, limit] : budgets_) {
      problem_.limits.push_back(
          {cost_text(kind, data_->context), static_cast<double>(limit), axis(kind)});
    }
    problem_.require_feasible();
  }

  void print_settings(const std::vector<std::unique_ptr<Strategy>>& strategies) const {
    // What 0 stands for, where it is no number of its own.
    const std::map<std::string_view, std::string> meant = {
        {"context", std::to_string(data_->context)},
        {"widths-step", "none"},
        {"mutation", fmt::format("{:.3g}", 0.5 / static_cast<double>(opened_->model.layers()))},
        {"threads", "one per core"}};
    for (const auto& [name, text] : options_.settings()) {
      const auto found = text == "0" ? meant.find(name) : meant.end();
      if (!text.empty()) note("  {:<16} {}\n", name, found == meant.end() ? text : found->second);
    }
    const auto on_flops = [](const auto& budget) { return budget.kind == CostKind::kFlops; };
    if (request_.cost == CostKind::kFlops || std::ranges::any_of(budgets_, on_flops)) {
      note("FLOPs are counted at a context of {} tokens, the data's\n", data_->context);
    }
    if (request_.max_seconds > 0 && strategies.size() > 1) {
      note(
          "--max-time is shared evenly: {} for each of {} strategies, and what one leaves goes to "
          "the others\n",
          duration_text(request_.max_seconds / static_cast<double>(strategies.size())),
          strategies.size());
    }
    for (const auto& strategy : strategies) {
      note("{}: {} of {} submodels\n", request_.dry_run ? "would search" : "search",
           strategy->description(), opened_->model.space.submodels_text());
    }
  }

  // The run of each strategy of this session: those of the store, or new ones.
  std::vector<RunRow> session_runs(const nlohmann::ordered_json& settings, std::int64_t session) {
    std::vector<RunRow> runs;
    if (session != 0) {
      for (const RunRow& run : store_->runs()) {
        if (run.command == "search" && run.session == session) runs.push_back(run);
      }
      for (const RunRow& run : runs) {
        if (run.status != "done") store_->resume_run(run.id);
      }
      return runs;
    }
    for (const std::string& name : strategies_) {
      RunRow run;
      run.model = model_id_;
      run.data = data_id_;
      run.part = "search";
      run.command = "search";
      run.strategy = name;
      run.seed = request_.settings.seed;
      run.settings = settings.dump();
      run.command_line = command_line("search", arguments_);
      run.build = build_text();
      run.device = scorer_->device_name();
      run.dtype = request_.device.dtype;
      run.status = "running";
      run.session = session;
      run.id = store_->begin_run(run);
      if (session == 0) session = run.id;
      run.session = session;
      runs.push_back(run);
    }
    return runs;
  }

  int search(std::vector<std::unique_ptr<Strategy>>& strategies,
             const nlohmann::ordered_json& settings, std::int64_t session) {
    const std::vector<RunRow> runs = session_runs(settings, session);
    try {
      return search_all(strategies, settings, runs);
    } catch (const UsageError&) {
      throw;
    } catch (const Error& error) {
      fail("{}; all that was scored is kept, and '{}' goes on", error.what(),
           resume_command(runs.back().id));
    }
  }

  int search_all(std::vector<std::unique_ptr<Strategy>>& strategies,
                 const nlohmann::ordered_json& settings, const std::vector<RunRow>& runs) {
    bool all_finished = true;
    std::vector<std::int64_t> ids;
    auto left = std::ranges::count_if(runs, [](const RunRow& run) { return run.status != "done"; });
    if (request_.max_seconds > 0 && left > 0) scorer_->load();  // at nobody's expense
    for (const RunRow& run : runs) {
      ids.push_back(run.id);
      if (run.status == "done") continue;
      bool finished = false;
      if (!guard_.interrupted()) {
        const auto at = std::ranges::find(strategies_, run.strategy);
        if (at == strategies_.end())
          fail("run {} is of '{}', which its settings do not name", run.id, run.strategy);
        deadline_ = elapsed() + (request_.max_seconds - elapsed()) / static_cast<double>(left--);
        try {
          finished =
              search_one(*strategies[static_cast<std::size_t>(at - strategies_.begin())], run);
        } catch (...) {
          for (const RunRow& each : std::span(&run, runs.data() + runs.size())) {
            if (each.status != "done") store_->finish_run(each.id, "stopped");
          }
          throw;
        }
      }
      store_->finish_run(run.id, finished ? "done" : "stopped");
      all_finished = all_finished && finished;
    }
    if (guard_.interrupted()) {
      say_how_to_resume(ids.back());
      return 1;
    }
    ConfirmRequest confirm{*opened_, *store_, *scorer_, model_id_, data_id_};
    confirm.runs = ids;
    confirm.data = confirm_.get();
    confirm.metric = request_.metric;
    confirm.cost = request_.cost;
    confirm.budgets = budgets_;
    confirm.latency = latency_ ? &*latency_ : nullptr;
    confirm.run.session = runs.front().session;
    confirm.run.settings = settings.dump();
    confirm.run.command_line = command_line("search", arguments_);
    confirm.run.seed = request_.settings.seed;
    ConfirmedFront front;
    try {
      front = confirm_with_bar(confirm);
    } catch (const Interrupted&) {
      say_how_to_resume(ids.back());
      return 1;
    }
    print_confirmed(front, output_format(request_.json, request_.csv));
    if (!all_finished) say_how_to_resume(ids.back());
    return 0;
  }

  ConfirmedFront confirm_with_bar(ConfirmRequest& confirm) const {
    ProgressBar bar("confirming");
    confirm.progress = [&](const Progress& progress) {
      const double fraction = progress.done / progress.total;
      bar.show(fraction,
               fmt::format("{} left", duration_text(seconds_left(fraction, bar.seconds()))));
      return !guard_.interrupted();
    };
    return confirm_front(confirm);
  }

  bool search_one(Strategy& strategy, const RunRow& run) {
    ProgressBar bar(run.strategy);
    SearchLoop loop{strategy, *store_, run};
    loop.metric = request_.metric;
    loop.cost = problem_.cost;
    loop.max_evaluations = request_.settings.max_evaluations;
    loop.batch = static_cast<std::size_t>(request_.batch);
    bool said = false;
    loop.score = [&](std::span<const Widths> candidates, const SearchStatus& status,
                     const SearchLoop::Keep& keep) {
      const auto sink = [&](const Progress& progress) {
        if (guard_.interrupted() && !said) {
          said = true;
          bar.note(fmt::format("stopping: finishing a batch of {} (Ctrl-C again to drop it)",
                               candidates.size()));
        }
        show(bar, status, static_cast<double>(candidates.size()) * progress.done / progress.total);
        return true;
      };
      return scorer_->score(candidates, *data_, sink, keep);
    };
    loop.proceed = [&](const SearchStatus& status) {
      show(bar, status, 0);
      // One batch at least: another's may have taken this one's share, too.
      return !guard_.interrupted() &&
             (request_.max_seconds == 0 || elapsed() < deadline_ || status.scored == 0);
    };
    const SearchOutcome outcome = run_search(loop);
    const SearchStatus& status = outcome.status;
    bar.note(fmt::format("run {}, {}: {} evaluations ({} known already), front of {}, {}{}", run.id,
                         run.strategy, status.evaluations, status.evaluations - status.scored,
                         status.front, best_text(status), outcome.finished ? "" : ", stopped"));
    return outcome.finished;
  }

  std::string best_text(const SearchStatus& status) const {
    if (!status.best) return "best none";
    return fmt::format(
        "best {:.4f} at {}", status.best->value(request_.metric),
        value_text(request_.cost, costs_->of(status.best->widths).of(request_.cost)));
  }

  // `partial`: evaluations' worth of the batch under way.
  void show(ProgressBar& bar, const SearchStatus& status, double partial) const {
    const double total = static_cast<double>(std::max<std::uint64_t>(status.total, 1));
    const double scored = static_cast<double>(status.scored) + partial;
    const double done = static_cast<double>(status.evaluations) + partial;
    double left = scored > 0 ? bar.seconds() * (total - done) / scored
                             : std::numeric_limits<double>::infinity();
    if (request_.max_seconds > 0) left = std::min(left, std::max(0.0, deadline_ - elapsed()));
    bar.show(done / total,
             fmt::format("{:.0f} of {} evaluations, front {}, {}, {} left", done, status.total,
                         status.front, best_text(status), duration_text(left)));
  }

  // Where it runs is no setting of a run: resumed, it would run on the default device.
  std::string resume_command(std::int64_t run) const {
    return fmt::format(
        "mixnmatch search --db {} --resume {}{}", shell_quoted(request_.db.string()), run,
        options_.given("device") ? fmt::format(" --device {}", shell_quoted(request_.device.device))
                                 : "");
  }

  void say_how_to_resume(std::int64_t run) const {
    note("stopped; all that was scored is kept. To go on:\n  {}\n", resume_command(run));
  }

  double elapsed() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  }

  Request& request_;
  OptionTable& options_;
  const Arguments& arguments_;
  const InterruptGuard guard_;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  double deadline_ = 0;  // of the strategy under way, in seconds elapsed; with --max-time
  std::vector<std::string> strategies_;
  std::optional<OpenedModel> opened_;
  std::unique_ptr<const Examples> data_, confirm_;
  std::optional<LatencyTable> latency_;
  std::optional<CostTable> costs_;
  std::vector<Budget> budgets_;
  SearchProblem problem_;
  std::unique_ptr<Ranks> ranks_;  // where this is one of several processes
  std::optional<Store> store_;
  std::optional<Scorer> scorer_;
  std::int64_t model_id_ = 0, data_id_ = 0;
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
