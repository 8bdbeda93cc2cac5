#include "cli/confirmed_front.h"

#include <fmt/format.h>

#include <cstdio>

#include "cli/common_options.h"
#include "cli/print.h"
#include "study/score_cells.h"

namespace mnm {
namespace {

Table table_of(const ConfirmedFront& front) {
  const bool by_params = front.cost == CostKind::kParams;
  const std::string_view metric = to_string(front.metric);
  const auto score = [&](const std::optional<Record>& record) {
    return record ? score_cell(*record, front.metric) : missing_cell();
  };
  Table table{{{"widths", "widths", false},
               {"params", "parameters"},
               {std::string(to_string(front.cost)), std::string(to_string(front.cost)), true, false,
                !by_params},
               {fmt::format("search_{}", metric), fmt::format("{} that chose", metric), true, true},
               {fmt::format("confirm_{}", metric), fmt::format("confirmed {}", metric), true, true,
                front.confirmed},
               {"difference", "minus best uniform's, paired", true, true},
               {"z", "in SE"},
               {"kind", "", false}},
              {}};
  if (by_params) table.columns.erase(table.columns.begin() + 2);
  for (std::size_t i = 0; i < front.members.size(); ++i) {
    const ConfirmedMember& member = front.members[i];
    std::string kind = member.on_front ? "front" : "";
    if (member.uniform) kind += kind.empty() ? "uniform" : ", uniform";
    if (!member.within_budget) kind += ", over budget";
    if (front.best == i) kind += ", best";
    std::vector<Cell> row = {cell(to_string(member.widths)), quantity_cell(member.cost.params)};
    if (!by_params) row.push_back(cost_cell(front.cost, member.cost));
    row.push_back(score(member.searched));
    row.push_back(score(member.confirmed));
    add_difference(row, member.difference);
    row.push_back(cell(kind));
    table.rows.push_back(std::move(row));
  }
  return table;
}

}  // namespace

void print_confirmed(const ConfirmedFront& front, OutputFormat format) {
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
    print("      {} to the best uniform one within the budget, {} with {} parameters\n",
          measured_text(best.difference->value, best.difference->standard_error),
          to_string(uniform.widths), quantity(static_cast<double>(uniform.cost.params)));
  }
}

}  // namespace mnm
