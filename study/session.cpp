#include "study/session.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <limits>

#include "base/error.h"
#include "base/version.h"
#include "study/store_rows.h"

namespace mnm {
namespace {

constexpr const char* kHalvingCommand = "halving";  // of runs on a part of the data

}  // namespace

SearchProblem make_problem(const WidthSpace& space, const CostTable& costs, CostKind cost,
                           std::span<const Budget> budgets, const WidthSpace* unbounded) {
  const auto axis = [&costs](CostKind kind) {
    return [&costs, kind](const Widths& widths) {
      return static_cast<double>(costs.of(widths).of(kind));
    };
  };
  SearchProblem problem;
  problem.space = space;
  if (unbounded != nullptr) problem.unbounded = SearchProblem{.space = *unbounded}.narrowest();
  problem.cost = axis(cost);
  for (const auto& [kind, limit] : budgets) {
    problem.limits.push_back(
        {cost_text(kind, costs.basis()), static_cast<double>(limit), axis(kind)});
  }
  problem.require_feasible();
  return problem;
}

HalvingParts::HalvingParts(const Examples& data) : rounds_(halving_rounds(data.count)) {
  std::vector<std::int64_t> before;
  for (const std::vector<std::int64_t>& round : rounds_) {
    of_.push_back(subset_of(data, round));
    std::vector<std::int64_t> added;
    std::ranges::set_difference(round, before, std::back_inserter(added));
    added_by_.push_back(subset_of(data, std::move(added)));
    before = round;
  }
}

std::vector<const Examples*> HalvingParts::scored() const {
  std::vector<const Examples*> all;
  for (const auto& part : added_by_) all.push_back(part.get());
  return all;
}

void require_same_search(const Store& store, const RunRow& run, const OpenedModel& opened,
                         const Examples& examples) {
  const ModelRow model = model_row(opened);
  const DataRow data = data_row(examples);
  for (const auto& [id, row] : store.models()) {
    if (id != run.model || row.fingerprint == model.fingerprint) continue;
    fail_usage(
        "run {} is a search of the checkpoint '{}', and '{}' is another one: its tensors or "
        "its config differ",
        run.id, row.name, model.name);
  }
  for (const auto& [id, row] : store.datasets()) {
    if (id != run.data || row.fingerprint == data.fingerprint) continue;
    fail_usage(
        "run {} was scored on {}, and this is {} of other content: give the run's own data, or "
        "begin a search without --resume",
        run.id, data_text(row, ""), data_text(data, ""));
  }
}

SearchSession::SearchSession(const SearchRequest& request)
    : request_(request),
      costs_(request.opened.model, basis_of(request.opened.model, request.data, request.cache),
             request.latency),
      problem_(make_problem(request.space ? *request.space : request.opened.model.space, costs_,
                            request.cost, request.budgets,
                            request.space ? &request.opened.model.space : nullptr)) {
  if (request_.strategies.empty()) fail_usage("a search needs at least one strategy");
  for (const std::string& name : request_.strategies) {
    strategies_.push_back(make_strategy(name, problem_, request_.settings));
  }
}

void SearchSession::begin(Store& store, Scorer& scorer, const RunRow& kept,
                          const std::optional<RunRow>& resumed) {
  store_ = &store;
  scorer_ = &scorer;
  kept_ = kept;
  RunRow run = kept;
  if (resumed) require_same_search(store, *resumed, request_.opened, request_.data);
  if (resumed && resumed->dtype != scorer.dtype()) {
    fail_usage("run {} was computed in {}, and is asked to go on in {}", resumed->id,
               to_string(resumed->dtype), to_string(scorer.dtype()));
  }
  if (resumed) {
    for (const RunRow& row : store.runs()) {
      if (row.command == "search" && row.session == resumed->session) runs_.push_back(row);
    }
    for (const RunRow& row : runs_) {
      if (row.status != "done") store.resume_run(row.id);
    }
    return;
  }
  run.model = store.model(model_row(request_.opened));
  run.data = store.data(data_row(request_.data));
  run.part = run.command = "search";
  run.build = build_text();
  run.device = scorer.device_name();
  run.dtype = scorer.dtype();
  run.status = "running";
  for (const std::string& name : request_.strategies) {
    run.strategy = name;
    run.id = store.begin_run(run);
    if (run.session == 0) run.session = run.id;
    runs_.push_back(run);
  }
}

bool SearchSession::search(const SearchWatch& watch) {
  bool all_finished = true;
  auto left = std::ranges::count_if(runs_, [](const RunRow& run) { return run.status != "done"; });
  if (request_.max_seconds > 0 && left > 0) scorer_->load();  // at nobody's expense
  for (const RunRow& run : runs_) {
    const bool done = run.status == "done";
    bool finished = done;
    try {
      if (done) {
        expect_again(run, watch);
      } else if (!stopped_) {
        deadline_ = elapsed() + (request_.max_seconds - elapsed()) / static_cast<double>(left--);
        SearchOutcome outcome = search_one(run, watch);
        if (watch.ended) watch.ended(run, outcome);
        finished = outcome.finished;
        std::ranges::move(outcome.expected, std::back_inserter(expected_));
      }
    } catch (...) {
      for (const RunRow& each : std::span(&run, runs_.data() + runs_.size())) {
        if (each.status != "done") store_->finish_run(each.id, "stopped");
      }
      throw;
    }
    if (!done) store_->finish_run(run.id, finished ? "done" : "stopped");
    all_finished = all_finished && finished;
  }
  return all_finished;
}

// What a search with halving expects on the front is not in the store. If it is done, it is
// replayed.
void SearchSession::expect_again(const RunRow& run, const SearchWatch& watch) {
  if (request_.halving == nullptr || stopped_) return;
  deadline_ = std::numeric_limits<double>::infinity();
  try {
    std::ranges::move(search_one(run, watch).expected, std::back_inserter(expected_));
  } catch (const ReplayDiffers&) {
    // The front of what it scored stands.
  }
}

SearchOutcome SearchSession::search_one(const RunRow& run, const SearchWatch& watch) {
  SearchLoop loop{strategy_of(run), *store_, run};
  loop.metric = request_.metric;
  loop.cost = problem_.cost;
  loop.max_evaluations = request_.settings.max_evaluations;
  loop.batch = request_.batch;
  loop.replay = run.status == "done";
  const auto proceed = [&](const SearchStatus& status) {
    if (watch.progress && !watch.progress(run, status)) stopped_ = true;
    return !stopped_;
  };
  loop.score = [&](std::span<const Widths> candidates, const SearchStatus& status,
                   const SearchLoop::Keep& keep) {
    SearchStatus now = status;
    now.batch = candidates.size();
    const auto sink = [&](const Progress& progress) {
      now.under_way = static_cast<double>(candidates.size()) * progress.share();
      proceed(now);
      return true;  // the batch is finished
    };
    return scorer_->score(candidates, request_.data, sink, keep);
  };
  loop.proceed = [&](const SearchStatus& status) {
    // One batch at least: another's may have taken this one's share, too.
    return proceed(status) &&
           (request_.max_seconds == 0 || elapsed() < deadline_ || status.scored == 0);
  };
  if (request_.halving == nullptr) return run_search(loop);
  return search_halved(run, loop);
}

// With a run of the store for each round but the last, which is the search's own.
SearchOutcome SearchSession::search_halved(const RunRow& run, SearchLoop& loop) {
  const HalvingParts& parts = *request_.halving;
  Halving halving;
  for (std::size_t round = 0; round + 1 < parts.rounds().size(); ++round) {
    halving.rounds.push_back({parts.rounds()[round], begin_part(run, parts.of(round))});
  }
  halving.rounds.push_back({parts.rounds().back(), run});
  halving.score = [&](std::span<const Widths> candidates, std::size_t round) {
    return scorer_->score(candidates, parts.added_by(round), [](const Progress&) { return true; });
  };
  loop.halving = &halving;
  const auto end = [&](const char* status) {
    for (const HalvingRound& round : halving.rounds) {
      if (round.run.id != run.id && !loop.replay) store_->finish_run(round.run.id, status);
    }
  };
  try {
    const SearchOutcome outcome = run_search(loop);
    end(outcome.finished ? "done" : "stopped");
    return outcome;
  } catch (...) {
    end("stopped");
    throw;
  }
}

// The run that scores on a part of the data for `whole`: a new one, or the one that it had when it
// was stopped. If `whole` is done, it is the one that it had. It is no search of its own, and no
// search's part is named by it.
RunRow SearchSession::begin_part(const RunRow& whole, const Examples& part) {
  RunRow run = whole;
  run.data = store_->data(data_row(part));
  run.command = kHalvingCommand;
  run.part.clear();
  for (const RunRow& row : store_->runs()) {
    if (row.command != run.command || row.session != whole.session || row.data != run.data ||
        row.strategy != run.strategy) {
      continue;
    }
    if (whole.status == "done") return row;
    if (row.status == "done") continue;
    store_->resume_run(row.id);
    return row;
  }
  if (whole.status == "done") throw ReplayDiffers(fmt::format("run {} has no parts", whole.id));
  run.session = whole.session;
  run.status = "running";
  run.id = store_->begin_run(run);
  return run;
}

Strategy& SearchSession::strategy_of(const RunRow& run) {
  const auto at = std::ranges::find(request_.strategies, run.strategy);
  if (at == request_.strategies.end()) {
    fail("run {} is of '{}', which its settings do not name", run.id, run.strategy);
  }
  return *strategies_[static_cast<std::size_t>(at - request_.strategies.begin())];
}

double SearchSession::elapsed() const {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - request_.started).count();
}

double SearchSession::seconds_left() const {
  if (request_.max_seconds == 0) return std::numeric_limits<double>::infinity();
  return std::max(0.0, deadline_ - elapsed());
}

ConfirmedFront SearchSession::confirm(const ProgressSink& progress, const ProgressSink& timing) {
  ConfirmRequest confirm{request_.opened, *store_, *scorer_, runs_};
  confirm.expected = expected_;
  confirm.data = request_.confirm;
  confirm.space = request_.space;
  confirm.metric = request_.metric;
  confirm.cost = request_.cost;
  confirm.budgets = request_.budgets;
  confirm.latency = request_.latency;
  confirm.cache = request_.cache;
  confirm.run = kept_;
  confirm.run.session = runs_.front().session;
  confirm.progress = progress;
  confirm.timing = timing;
  const std::string why_not_timed = why_not_timed_here();
  if (request_.counted_with != nullptr && why_not_timed.empty()) {
    confirm.counted_with = request_.counted_with;
    confirm.make_timer = [this](const Workload& workload) { return scorer_->timer(workload); };
  }
  ConfirmedFront front = confirm_front(confirm);
  if (!why_not_timed.empty()) front.why_not_timed = why_not_timed;
  return front;
}

std::string SearchSession::why_not_timed_here() const {
  if (request_.counted_with == nullptr) return {};
  std::string why =
      why_not_comparable(*request_.counted_with, scorer_->device_name(), scorer_->dtype());
  if (why.empty() && scorer_->streams()) why = "the weights do not fit the memory";
  return why;
}

}  // namespace mnm
