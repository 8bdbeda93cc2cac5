#include "study/confirm.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <new>

#include "base/error.h"
#include "base/progress.h"
#include "base/quantity.h"
#include "base/version.h"
#include "study/score_cells.h"
#include "study/store_rows.h"

namespace mnm {
namespace {

ConfirmedMember& member_of(ConfirmedFront& front, const Widths& widths, const Cost& cost) {
  for (ConfirmedMember& member : front.members) {
    if (member.widths == widths) return member;
  }
  ConfirmedMember member;
  member.widths = widths;
  member.cost = cost;
  return front.members.emplace_back(std::move(member));
}

CostTable costs_of(const ConfirmRequest& request) {
  const NestedModel& model = request.opened.model;
  std::int64_t context = kDefaultContext;
  for (const auto& [id, data] : request.store.datasets()) {
    if (id == request.runs.front().data) context = data.context;
  }
  return CostTable(model, {model.dtype, context, request.cache}, request.latency);
}

// Where there is no confirm part, what has no score has nothing to say.
void add_expected(const ConfirmRequest& request, const CostTable& costs, ConfirmedFront& front) {
  if (!front.confirmed) return;
  // By all strategies together: what one expects on its front, another may have beaten.
  std::vector<Point> points;
  for (const ExpectedMember& member : request.expected) points.push_back(member.point);
  for (const ConfirmedMember& member : front.members) {
    points.push_back({static_cast<double>(member.cost.of(request.cost)),
                      objective_of(request.metric, member.searched->value(request.metric))});
  }
  for (const std::size_t i : front_of(points)) {
    if (i >= request.expected.size()) continue;
    const Widths& widths = request.expected[i].widths;
    ConfirmedMember& member = member_of(front, widths, costs.of(widths));
    member.expected = !member.searched;
  }
}

// The uniform submodels within the budgets, and the next larger one.
void add_uniform(const ConfirmRequest& request, const CostTable& costs, ConfirmedFront& front) {
  const RunRow& searched = request.runs.front();
  const WidthSpace& space = request.space ? *request.space : request.opened.model.space;
  for (std::size_t level = 0; level < space.levels(); ++level) {
    const Widths widths = space.uniform(level);
    const Cost cost = costs.of(widths);
    const bool inside = within(cost, request.budgets);
    ConfirmedMember& member = member_of(front, widths, cost);
    member.uniform = true;
    member.within_budget = inside;
    if (!member.searched) {
      member.searched = request.store.find(searched.model, searched.data, searched.dtype, widths);
    }
    if (!inside) break;
  }
}

void score_on_confirm_part(const ConfirmRequest& request, ConfirmedFront& front) {
  RunRow run = request.run;
  run.model = request.runs.front().model;
  run.data = request.store.data(data_row(*request.data));
  run.part = "confirm";
  run.command = "confirm";
  run.build = build_text();
  run.device = request.scorer.device_name();
  run.dtype = request.runs.front().dtype;

  std::vector<Widths> unknown;
  for (ConfirmedMember& member : front.members) {
    member.confirmed = request.store.find(run.model, run.data, run.dtype, member.widths);
    if (member.confirmed && (*member.confirmed)[request.metric]) continue;
    member.confirmed.reset();
    unknown.push_back(member.widths);
  }
  std::vector<Score> scored;
  if (!unknown.empty()) scored = request.scorer.score(unknown, *request.data, request.progress);
  std::size_t next = 0;
  std::vector<Score> all;
  for (const ConfirmedMember& member : front.members) {
    all.push_back(member.confirmed ? Score(*member.confirmed) : std::move(scored[next++]));
  }
  const std::int64_t id = request.store.begin_run(run);
  const std::vector<Record> records = request.store.add(id, all);
  request.store.finish_run(id, "done");
  for (std::size_t i = 0; i < all.size(); ++i) front.members[i].confirmed = records[i];
}

void time_members(const ConfirmRequest& request, ConfirmedFront& front) {
  if (request.counted_with == nullptr) return;
  front.why_not_timed = why_not_repeatable(*request.counted_with, request.opened.model);
  if (!front.why_not_timed.empty()) return;
  std::vector<Widths> submodels;
  for (const ConfirmedMember& member : front.members) submodels.push_back(member.widths);
  std::vector<WholeLatencyRow> timed;
  try {
    timed = measure_wholes(request.store, *request.counted_with, request.runs.front().id,
                           request.run.seed, submodels, request.make_timer, request.timing);
  } catch (const DeviceLost&) {
    throw;
  } catch (const UsageError&) {
    throw;
  } catch (const Stopped&) {
    front.stopped = true;
    front.why_not_timed = "it was stopped";
  } catch (const Error& error) {
    front.why_not_timed = error.what();
  } catch (const std::bad_alloc&) {
    front.why_not_timed = "there is not enough memory";
  }
  for (std::size_t i = 0; i < timed.size(); ++i) {
    front.members[i].too_slow = is_too_slow(timed[i], request.budgets);
    front.members[i].timed = std::move(timed[i]);
  }
}

void compare_with_uniform(const ConfirmRequest& request, ConfirmedFront& front) {
  const auto objective = [&](const std::optional<Record>& record) {
    return objective_of(front.metric, record->value(front.metric));
  };
  for (std::size_t i = 0; i < front.members.size(); ++i) {
    const ConfirmedMember& member = front.members[i];
    if (!member.within_budget || member.too_slow) continue;
    const auto better = [&](const std::optional<std::size_t>& than, const auto& record_of) {
      return !than || objective(record_of(member)) < objective(record_of(front.members[*than]));
    };
    const auto searched = [](const ConfirmedMember& m) { return m.searched; };
    const auto final_score = [&](const ConfirmedMember& m) { return reported(front, m); };
    if (is_ok(front, member.searched) && better(front.best, searched)) front.best = i;
    if (member.uniform && is_ok(front, final_score(member)) &&
        better(front.best_uniform, final_score)) {
      front.best_uniform = i;
    }
  }
  if (!front.best_uniform) return;
  const std::optional<Record>& base = reported(front, front.members[*front.best_uniform]);
  for (std::size_t i = 0; i < front.members.size(); ++i) {
    ConfirmedMember& member = front.members[i];
    const std::optional<Record>& record = reported(front, member);
    if (i == *front.best_uniform || !record) continue;
    member.difference = stored_difference(request.store, *record, *base, front.metric);
  }
}

}  // namespace

bool is_ok(const ConfirmedFront& front, const std::optional<Record>& record) {
  return record && record->ok(front.metric);
}

const std::optional<Record>& reported(const ConfirmedFront& front, const ConfirmedMember& member) {
  return front.confirmed ? member.confirmed : member.searched;
}

ConfirmedFront confirm_front(const ConfirmRequest& request) {
  FrontQuery query;
  query.model = request.runs.front().model;
  query.data = request.runs.front().data;
  query.dtype = request.runs.front().dtype;
  for (const RunRow& run : request.runs) query.runs.push_back(run.id);
  query.metric = request.metric;
  query.cost = request.cost;
  query.budgets = request.budgets;
  query.latency = request.latency;
  const CostTable costs = costs_of(request);
  query.memory = &costs;

  ConfirmedFront front;
  front.metric = request.metric;
  front.cost = request.cost;
  front.confirmed = request.data != nullptr;
  for (const Record& record : request.store.front(query)) {
    ConfirmedMember& member = member_of(front, record.widths, record.cost);
    member.on_front = true;
    member.searched = record;
  }
  add_expected(request, costs, front);
  add_uniform(request, costs, front);
  std::ranges::stable_sort(front.members, {}, [&](const ConfirmedMember& member) {
    return member.cost.of(request.cost);
  });
  if (front.confirmed) score_on_confirm_part(request, front);
  time_members(request, front);
  compare_with_uniform(request, front);
  return front;
}

}  // namespace mnm
