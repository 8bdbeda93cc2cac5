#include "cli/confirmed_front.h"

#include <fmt/format.h>

#include <cstdio>

#include "cli/common_options.h"
#include "cli/print.h"

namespace mnm {
namespace {

Cell loss_cell(const std::optional<Record>& record) {
  if (!record) return missing_cell();
  if (record->status != "ok") return {record->status, nullptr, {}};
  return measured_cell(record->loss.value, record->loss.standard_error);
}

Table table_of(const ConfirmedFront& front) {
  const bool by_params = front.cost == CostKind::kParams;
  Table table{{{"widths", "widths", false},
               {"params", "parameters"},
               {std::string(to_string(front.cost)), std::string(to_string(front.cost)), true, false,
                !by_params},
               {"search_loss", "loss that chose", true, true},
               {"confirm_loss", "confirmed loss", true, true, front.confirmed},
               {"difference", "- best uniform's, paired", true, true},
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
    row.push_back(loss_cell(member.searched));
    row.push_back(loss_cell(member.confirmed));
    if (member.difference) {
      const Estimate& d = *member.difference;
      row.push_back(measured_cell(d.value, d.standard_error));
      row.push_back(d.standard_error > 0 ? real_cell(d.value / d.standard_error, 1)
                                         : missing_cell());
    } else {
      row.insert(row.end(), {missing_cell(), missing_cell()});
    }
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
        "\nThese losses chose the front and so flatter it: --confirm scores it on other tokens.\n");
  }
  if (!front.best) return;
  const ConfirmedMember& best = front.members[*front.best];
  const std::optional<Record>& record = reported(front, best);
  if (!is_ok(record)) return;
  print("\nbest: {} with {} parameters, loss {}{}\n", to_string(best.widths),
        quantity(static_cast<double>(best.cost.params)),
        measured_text(record->loss.value, record->loss.standard_error),
        front.confirmed ? ", confirmed" : "");
  if (front.best_uniform && best.difference) {
    const ConfirmedMember& uniform = front.members[*front.best_uniform];
    print("      {} to the best uniform one within the budget, {} with {} parameters\n",
          measured_text(best.difference->value, best.difference->standard_error),
          to_string(uniform.widths), quantity(static_cast<double>(uniform.cost.params)));
  }
}

}  // namespace mnm
