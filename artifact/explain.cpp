#include "artifact/explain.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstdio>
#include <utility>
#include <vector>

#include "base/error.h"
#include "export/runtimes.h"
#include "model/example_words.h"
#include "study/score_cells.h"
#include "study/store_rows.h"

namespace mnm {
namespace {

std::vector<RuntimeRule> rules_of(const OpenedModel& nested, const std::string& runtime) {
  std::vector<RuntimeRule> rules = nested.family->runtimes(nested.model);
  if (runtime.empty()) return rules;
  std::string known;
  for (const RuntimeRule& rule : rules) {
    if (known.find(rule.runtime) == known.npos) known += (known.empty() ? "" : ", ") + rule.runtime;
  }
  std::erase_if(rules, [&](const RuntimeRule& rule) { return rule.runtime != runtime; });
  if (rules.empty()) {
    fail_usage("no runtime of {} models is called '{}': there are {}", nested.model.family, runtime,
               known);
  }
  return rules;
}

// Why the submodel is not written as what the runtime would load: the family has no exporter to the
// format, or a format cannot carry the tokenizer.
std::optional<std::string> writer_refusal(const OpenedModel& nested, const Widths& widths,
                                          const RuntimeRule& rule, ExportOptions options) {
  options.format = rule.format;
  options.dtype = rule.dtypes.front();
  try {
    plan_export(nested, widths, nlohmann::json::object(), options);
  } catch (const Error& error) {
    return fmt::format("it cannot be written: {}", error.what());
  }
  return std::nullopt;
}

struct Scored {
  Record record;
  std::string data;
};

// All that the store knows of the widths, by its data: what was searched comes before what was
// confirmed.
std::vector<Scored> scores_of(const KnownScores& known, const Widths& widths) {
  std::vector<Scored> found;
  const std::vector<DataUse> uses = known.store->data_uses();
  for (const auto& [id, row] : known.store->datasets()) {
    const std::string part = part_of(uses, id, known.model);
    for (const Dtype dtype : {Dtype::kF32, Dtype::kF16, Dtype::kBF16}) {
      const auto record = known.store->find(known.model, id, dtype, widths);
      if (record && record->ok()) {
        found.push_back({*record, part.empty() ? row.name : row.name + ", " + part});
      }
    }
  }
  return found;
}

// Loss of the detour, what it adds to the loss of the widths asked for, and on which data: the last
// on which both were scored, else the last of the detour's.
std::vector<Cell> score_cells(const std::optional<KnownScores>& known, const Widths& asked,
                              const Widths& widths) {
  if (!known) return {missing_cell(), missing_cell(), cell("")};
  const std::vector<Scored> theirs = scores_of(*known, widths), own = scores_of(*known, asked);
  for (auto there = theirs.rbegin(); there != theirs.rend(); ++there) {
    for (const Scored& here : own) {
      if (here.record.data != there->record.data || here.record.dtype != there->record.dtype) {
        continue;
      }
      const auto difference =
          stored_difference(*known->store, there->record, here.record, Metric::kLoss);
      return {score_cell(there->record, Metric::kLoss),
              widths == asked || !difference
                  ? missing_cell()
                  : measured_cell(difference->value, difference->standard_error),
              cell(there->data)};
    }
  }
  if (theirs.empty()) return {missing_cell(), missing_cell(), cell("")};
  return {score_cell(theirs.back().record, Metric::kLoss), missing_cell(),
          cell(theirs.back().data)};
}

// What runtimes ask of widths that these do not meet, each demand once, with who makes it.
using Unmet = std::vector<std::pair<RuntimeRule, std::string>>;

void add_unmet(const RuntimeRule& rule, Unmet& unmet) {
  const auto same = std::ranges::find_if(unmet, [&](const auto& other) {
    return other.first.multiple == rule.multiple &&
           other.first.mixed_as.empty() == rule.mixed_as.empty();
  });
  if (same == unmet.end()) {
    unmet.emplace_back(rule, rule.runtime);
  } else if (same->second.find(rule.runtime) == std::string::npos) {
    same->second += ", " + rule.runtime;
  }
}

std::string requirement(const RuntimeRule& rule) {
  std::string text = rule.mixed_as.empty() ? "one width" : "";
  if (rule.multiple > 1) {
    text += fmt::format("{}multiples of {}", text.empty() ? "" : ", ", rule.multiple);
  }
  return text;
}

Table empty_runtimes() {
  return {{{"runtime", "runtime", false},
           {"version", "version", false},
           {"format", "--format", false},
           {"dtypes", "--dtype", false},
           {"loads", "loads", false},
           {"why", "as, or why not", false},
           {"evidence", "known by", false}},
          {}};
}

Table empty_detours(Dtype dtype, const ExampleWords& words) {
  return {{{"requirement", "requirement", false},
           {"runtimes", "of", false},
           {"widths", "widths", false},
           {"direction", "", false},
           {"trained", "trained", false},
           {"params", "parameters"},
           {"relative_params", "change"},
           {"bytes", fmt::format("bytes {}", to_string(dtype)), true, false, false},
           {"flops", in_words("FLOPs/token", words)},
           {"loss", "loss", true, true},
           {"difference", "loss more, paired", true, true},
           {"data", "on", false}},
          {}};
}

Cell dtypes_cell(const RuntimeRule& rule) {
  Cell dtypes = cell(fmt::format("{}", fmt::join(rule.dtypes, " ")));
  dtypes.value = rule.dtypes;
  return dtypes;
}

std::string taken_as(const RuntimeRule& rule) {
  if (!rule.refusal.empty()) return rule.refusal;
  if (rule.mixed_as.empty()) return fmt::format("{}; {}", rule.uniform_as, rule.why_not);
  if (rule.mixed_as == rule.uniform_as) return rule.uniform_as;
  return fmt::format("{}; different widths: {}", rule.uniform_as, rule.mixed_as);
}

std::vector<Cell> runtime_row(const RuntimeRule& rule, const Widths& widths,
                              const std::optional<std::string>& refusal) {
  return {cell(rule.runtime),
          cell(rule.version),
          cell(rule.format),
          dtypes_cell(rule),
          {refusal ? "no" : "yes", !refusal, {}},
          cell(refusal.value_or(is_uniform(kept_widths(widths)) ? rule.uniform_as : rule.mixed_as)),
          cell(std::string(to_string(rule.evidence)))};
}

// What a detour costs beside the widths that were asked for; scores come after it.
std::vector<Cell> detour_row(const Detour& detour, const Widths& asked, const Cost& cost,
                             const Cost& other) {
  const bool same = detour.widths == asked;
  const double change =
      static_cast<double>(other.params - cost.params) / static_cast<double>(cost.params);
  Cell relative = real_cell(change, 4);
  relative.text = same ? "" : fmt::format("{:+.1f} %", 100 * change);
  return {cell(to_string(detour.widths)),
          cell(same        ? "asked for"
               : detour.up ? "up"
                           : "down"),
          {detour.trained ? "yes" : "no", detour.trained, {}},
          quantity_cell(other.params),
          relative,
          quantity_cell(other.bytes),
          quantity_cell(other.flops)};
}

}  // namespace

Explanation explain(const OpenedModel& nested, const Widths& widths, const std::string& runtime,
                    const ExportOptions& options, const CostBasis& basis,
                    const std::optional<KnownScores>& scores) {
  Explanation out{widths, empty_runtimes(),
                  empty_detours(basis.dtype, words_of(nested.model.input.type))};
  Unmet unmet;
  for (const RuntimeRule& rule : rules_of(nested, runtime)) {
    std::optional<std::string> refusal = refusal_of(rule, widths);
    if (refusal) {
      if (rule.refusal.empty()) add_unmet(rule, unmet);
    } else {
      refusal = writer_refusal(nested, widths, rule, options);
    }
    out.runtimes.rows.push_back(runtime_row(rule, widths, refusal));
  }
  const Cost cost = cost_of(nested.model, widths, basis);
  const auto add = [&](const std::string& need, const std::string& who, const Detour& detour) {
    const Cost other = cost_of(nested.model, detour.widths, basis);
    std::vector<Cell> row = {cell(need), cell(who)};
    for (Cell& each : detour_row(detour, widths, cost, other)) row.push_back(std::move(each));
    for (Cell& score : score_cells(scores, widths, detour.widths)) row.push_back(std::move(score));
    out.detours.rows.push_back(std::move(row));
  };
  for (const auto& [rule, who] : unmet) {
    const std::vector<Detour> near = detours(nested.model.space, widths, rule);
    if (!near.empty() && out.detours.rows.empty()) {
      add("", "", {widths, false, is_trained(nested.model.space, widths)});
    }
    for (const Detour& detour : near) add(requirement(rule), who, detour);
  }
  return out;
}

Table takers(const OpenedModel& nested) {
  Table table{{{"runtime", "runtime", false},
               {"format", "--format", false},
               {"dtypes", "--dtype", false},
               {"takes", "takes", false},
               {"why", "as, or why not", false},
               {"evidence", "known by", false}},
              {}};
  for (const RuntimeRule& rule : nested.family->runtimes(nested.model)) {
    const std::string only = requirement(rule);
    const std::string takes = rule.refusal.empty() ? (only.empty() ? "all" : only) : "none";
    table.rows.push_back({cell(rule.runtime), cell(rule.format), dtypes_cell(rule), cell(takes),
                          cell(taken_as(rule)), cell(std::string(to_string(rule.evidence)))});
  }
  return table;
}

}  // namespace mnm
