#include "cli/confirmed_front.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <string>
#include <vector>

#include "cli/common_options.h"
#include "cli/print.h"
#include "study/score_cells.h"

namespace mnm {
namespace {

constexpr double kNano = 1e9, kMilli = 1e3;

bool is_timed(const ConfirmedFront& front) {
  return std::ranges::any_of(
      front.members, [](const ConfirmedMember& member) { return member.timed.has_value(); });
}

// Latency that was timed has columns that say so.
bool has_plain_cost(const ConfirmedFront& front) {
  return front.cost != CostKind::kParams && !(front.cost == CostKind::kLatency && is_timed(front));
}

// In milliseconds for people, in nanoseconds for programs.
Cell timed_cell(double seconds, std::optional<double> error) {
  Cell cell =
      error ? measured_cell(kMilli * seconds, kMilli * *error) : real_cell(kMilli * seconds, 4);
  cell.value = kNano * seconds;
  if (error) cell.se = kNano * *error;
  return cell;
}

std::vector<Column> columns_of(const ConfirmedFront& front) {
  const std::string cost(to_string(front.cost)), metric(to_string(front.metric));
  std::vector<Column> columns = {{"widths", "widths", false}, {"params", "parameters"}};
  if (has_plain_cost(front)) columns.push_back({cost, cost});
  if (is_timed(front)) {
    columns.push_back({"latency", "predicted latency"});
    columns.push_back({"measured_latency", "measured whole, ms", true, true});
    columns.push_back({"measured_latency_spread", "between quartiles, ms", true, false, false});
  }
  columns.push_back(
      {fmt::format("search_{}", metric), fmt::format("{} that chose", metric), true, true});
  columns.push_back({fmt::format("confirm_{}", metric), fmt::format("confirmed {}", metric), true,
                     true, front.confirmed});
  columns.push_back({"difference", "minus best uniform's, paired", true, true});
  columns.push_back({"z", "in SE"});
  columns.push_back({"kind", "", false});
  return columns;
}

std::string kind_of(const ConfirmedMember& member, bool best) {
  std::string kind = member.on_front ? "front" : member.expected ? "expected on front" : "";
  if (member.uniform) kind += kind.empty() ? "uniform" : ", uniform";
  if (!member.within_budget) kind += ", over budget";
  if (member.within_budget && member.too_slow) kind += ", over budget as measured";
  if (best) kind += ", best";
  return kind;
}

Table table_of(const ConfirmedFront& front) {
  const auto score = [&](const std::optional<Record>& record) {
    return record ? score_cell(*record, front.metric) : missing_cell();
  };
  Table table{columns_of(front), {}};
  for (std::size_t i = 0; i < front.members.size(); ++i) {
    const ConfirmedMember& member = front.members[i];
    std::vector<Cell> row = {cell(to_string(member.widths)), quantity_cell(member.cost.params)};
    if (has_plain_cost(front)) row.push_back(cost_cell(front.cost, member.cost));
    if (member.timed) {
      row.push_back(cost_cell(CostKind::kLatency, member.cost));
      const Timing& seconds = member.timed->measured.seconds;
      row.push_back(timed_cell(seconds.median, standard_error(*member.timed)));
      row.push_back(timed_cell(seconds.spread, {}));
    }
    row.push_back(score(member.searched));
    row.push_back(score(member.confirmed));
    add_difference(row, member.difference);
    row.push_back(cell(kind_of(member, front.best == i)));
    table.rows.push_back(std::move(row));
  }
  return table;
}

// Members that the search took for fast enough.
void print_too_slow(const ConfirmedFront& front) {
  bool first = true;
  for (const ConfirmedMember& member : front.members) {
    if (!member.within_budget || !member.too_slow) continue;
    const Timing& seconds = member.timed->measured.seconds;
    print("{}{} is over the budget: predicted {}, measured {} ms\n", first ? "\n" : "",
          to_string(member.widths), value_text(CostKind::kLatency, member.cost.latency),
          measured_text(kMilli * seconds.median, kMilli * standard_error(*member.timed)));
    first = false;
  }
  if (!first && !front.best) print("\nno member of the front is within the budget as measured\n");
}

}  // namespace

void print_confirmed(const ConfirmedFront& front, OutputFormat format) {
  if (!front.why_not_timed.empty()) {
    note("latencies are predicted and were not measured again: {}\n", front.why_not_timed);
  }
  const Table table = table_of(front);
  if (format == OutputFormat::kCsv) {
    print_table(table, format);
    return;
  }
  if (format == OutputFormat::kJson) {
    nlohmann::ordered_json out;
    out["cost"] = to_string(front.cost);
    out["metric"] = to_string(front.metric);
    out["confirmed"] = front.confirmed;
    if (!front.why_not_timed.empty()) out["not_timed"] = front.why_not_timed;
    out["members"] = table.json();
    out["best"] = front.best ? out["members"][*front.best] : nlohmann::ordered_json();
    out["best_uniform"] =
        front.best_uniform ? out["members"][*front.best_uniform] : nlohmann::ordered_json();
    print_json(out);
    return;
  }
  print_table(table, format);
  if (!front.confirmed) {
    print(
        "\nThese scores chose the front and so flatter it: --confirm scores it on other tokens.\n");
  }
  print_too_slow(front);
  const auto scored = [&](const ConfirmedMember& member) {
    return is_ok(front, member.searched) || is_ok(front, member.confirmed);
  };
  if (std::ranges::none_of(front.members, scored)) {
    print("\nno submodel's {} is a number, so there is no front\n", to_string(front.metric));
  }
  if (!front.best) return;
  const ConfirmedMember& best = front.members[*front.best];
  const std::optional<Record>& record = reported(front, best);
  if (!is_ok(front, record)) return;
  const Measured& value = *(*record)[front.metric];
  print("\nbest: {} with {} parameters, {} {}{}\n", to_string(best.widths),
        quantity(static_cast<double>(best.cost.params)), to_string(front.metric),
        measured_text(value.value, value.standard_error), front.confirmed ? ", confirmed" : "");
  if (front.best_uniform && best.difference) {
    const ConfirmedMember& uniform = front.members[*front.best_uniform];
    const Estimate& less = *best.difference;
    const bool better = objective_of(front.metric, less.value) < 0;
    print("      {} by {} than the best uniform one within the budget, {} with {} parameters{}\n",
          better ? "better" : "worse", measured_text(std::abs(less.value), less.standard_error),
          to_string(uniform.widths), quantity(static_cast<double>(uniform.cost.params)),
          front.confirmed ? "" : ", by the scores that chose it");
  }
}

}  // namespace mnm
