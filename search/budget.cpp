#include "search/budget.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>
#include <utility>

#include "base/error.h"
#include "base/quantity.h"

namespace mnm {
namespace {

// "12ms" as nanoseconds; nothing where it has no unit of time, or is not above 0.
std::optional<std::int64_t> parse_time(std::string_view text) {
  static constexpr std::pair<std::string_view, double> kUnits[] = {
      {"ns", 1}, {"us", 1e3}, {"ms", 1e6}, {"s", 1e9}};
  double value = 0;
  const char* const end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc()) return std::nullopt;
  for (const auto& [unit, factor] : kUnits) {
    if (std::string_view(rest, static_cast<std::size_t>(end - rest)) != unit) continue;
    const double nanoseconds = value * factor;
    if (!(nanoseconds >= 1 && nanoseconds < 0x1p62)) return std::nullopt;
    return std::llround(nanoseconds);
  }
  return std::nullopt;
}

}  // namespace

Budget parse_budget(const std::string& text, CostKind kind) {
  const std::size_t equals = text.find('=');
  const bool named = equals != std::string::npos;
  if (named) kind = parse_cost_kind(text.substr(0, equals));
  const std::string value = named ? text.substr(equals + 1) : text;
  if (const std::optional<std::int64_t> time = parse_time(value)) {
    if (named && kind != CostKind::kLatency) {
      fail_usage("the budget '{}' is a time, and {} is none", text, to_string(kind));
    }
    return {CostKind::kLatency, *time};
  }
  if (kind == CostKind::kLatency) {
    fail_usage("the budget '{}' is no time: expected one such as 12ms, 350us or 1.5s", text);
  }
  const std::int64_t limit = parse_quantity(value);
  if (limit <= 0) fail_usage("the budget '{}' is not positive", text);
  return {kind, limit};
}

std::vector<Budget> parse_budgets(const std::vector<std::string>& texts, CostKind kind) {
  std::vector<Budget> budgets;
  for (const std::string& text : texts) budgets.push_back(parse_budget(text, kind));
  return budgets;
}

std::string cost_text(CostKind kind, const CostBasis& basis) {
  if (kind == CostKind::kLatency) return "nanoseconds of latency";
  std::string text(to_string(kind));
  if (kind == CostKind::kFlops) text += fmt::format(" at a context of {}", basis.context);
  if (kind == CostKind::kMemory) {
    const auto [context, batch] = basis.cache;
    text += batch == 1
                ? fmt::format(" with the cache of {} tokens", context)
                : fmt::format(" with the caches of {} sequences of {} tokens", batch, context);
  }
  return text;
}

bool counts(CostKind kind, CostKind cost, std::span<const Budget> budgets) {
  return cost == kind || std::ranges::count(budgets, kind, &Budget::kind) > 0;
}

bool within(const Cost& cost, std::span<const Budget> budgets) {
  return std::ranges::all_of(
      budgets, [&](const Budget& budget) { return cost.of(budget.kind) <= budget.limit; });
}

}  // namespace mnm
