#include "study/evidence.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdlib>
#include <optional>
#include <span>
#include <tuple>
#include <vector>

#include "base/version.h"
#include "model/example_words.h"
#include "report/table.h"
#include "study/front_statistics.h"
#include "study/score_cells.h"
#include "study/store_rows.h"

namespace mnm {
namespace {

using Json = nlohmann::ordered_json;

// Seven digits draw any picture, and take half the place of seventeen. Null where not finite.
Json drawn(double value) {
  if (!std::isfinite(value)) return nullptr;
  return std::strtod(fmt::format("{:.7g}", value).c_str(), nullptr);
}

// Those of images if all data of the store are images.
const ExampleWords& words_of_all(const Store& store) {
  const auto datasets = store.datasets();
  for (const auto& [id, row] : datasets) {
    if (row.kind != datasets.front().second.kind) return words_of(InputType::kTokenIds);
  }
  return words_of(datasets.empty() ? "" : datasets.front().second.kind);
}

Json pair_of(double value, double error) { return Json::array({drawn(value), drawn(error)}); }

std::string base64(std::span<const std::uint8_t> bytes) {
  static constexpr char kDigits[] =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    std::uint32_t group = 0;
    const std::size_t count = std::min<std::size_t>(3, bytes.size() - i);
    for (std::size_t k = 0; k < 3; ++k) group = group << 8 | (k < count ? bytes[i + k] : 0u);
    for (std::size_t k = 0; k < 4; ++k) {
      text += k <= count ? kDigits[group >> (18 - 6 * k) & 63] : '=';
    }
  }
  return text;
}

std::string little_endian(const std::vector<float>& values) {
  std::vector<std::uint8_t> bytes;
  bytes.reserve(4 * values.size());
  for (const float value : values) {
    const auto bits = std::bit_cast<std::uint32_t>(value);
    for (int shift = 0; shift < 32; shift += 8) {
      bytes.push_back(static_cast<std::uint8_t>(bits >> shift));
    }
  }
  return base64(bytes);
}

class GroupsOfStore {
 public:
  GroupsOfStore(const Store& store, const FrontQuery& query)
      : store_(store),
        query_(query),
        models_(store.models()),
        datasets_(store.datasets()),
        uses_(store.data_uses()),
        runs_(store.runs()) {}

  // Of records of one model, dataset and dtype, by ascending cost.
  Json group(std::span<const Record> records, std::span<const Record> front) {
    const Record& first = records.front();
    Json json;
    std::string trained;
    for (const auto& [id, row] : models_) {
      if (id != first.model) continue;
      trained = row.granularities;
      json["model"] = {
          {"name", row.name}, {"family", row.family}, {"fingerprint", row.fingerprint}};
    }
    for (const auto& [id, row] : datasets_) {
      if (id != first.data) continue;
      json["data"] = {{"name", row.name},
                      {"fingerprint", row.fingerprint},
                      {"context", row.context},
                      {"sequences", row.sequences}};
    }
    json["part"] = part_of(uses_, first.data, first.model);
    json["dtype"] = to_string(first.dtype);
    json["widest"] = widest(records);
    json["cost"] = Json::array();
    json["value"] = Json::array();
    for (const Record& record : records) {
      json["cost"].push_back(record.cost.of(query_.cost));
      json["value"].push_back(drawn(record.value(query_.metric)));
    }
    json["front"] = members(records, front, trained);
    json["distinct"] = distinct_members(store_, front, query_.metric).size();
    json["uniform"] = Json::array();
    for (const Record& record : records) {
      if (!record.ok(query_.metric) || !is_uniform_granularity(record.widths, trained)) continue;
      json["uniform"].push_back(member(record));
    }
    json["sensitivity"] = sensitivity(records);
    json["runs"] = runs(first);
    return json;
  }

 private:
  static Width widest(std::span<const Record> records) {
    Width widest = 1;
    for (const Record& record : records) {
      widest = std::max(widest, *std::ranges::max_element(record.widths));
    }
    return widest;
  }

  Json member(const Record& record) {
    const Measured& score = *record[query_.metric];
    Json json = {{"id", record.id},
                 {"widths", to_string(record.widths)},
                 {"cost", record.cost.of(query_.cost)},
                 {"value", drawn(score.value)},
                 {"error", drawn(score.standard_error)}};
    const std::vector<float> examples = store_.per_example(record.id, query_.metric);
    // Base64 takes four bytes for three.
    const std::size_t bytes = examples.size() * sizeof(float) / 3 * 4 + 4;
    if (!examples.empty() && example_bytes_ + bytes <= kExampleBytes) {
      example_bytes_ += bytes;
      json["examples"] = little_endian(examples);
    }
    return json;
  }

  static Json comparison(const std::optional<Comparison>& compared) {
    if (!compared) return nullptr;
    return {{"widths", to_string(compared->other.widths)},
            {"probability", compared->probability ? drawn(*compared->probability) : Json(nullptr)}};
  }

  Json members(std::span<const Record> records, std::span<const Record> front,
               const std::string& trained) {
    const std::vector<double> p = neighbour_p(store_, front, query_.metric);
    Json json = Json::array();
    for (std::size_t i = 0; i < front.size(); ++i) {
      Json shown = member(front[i]);
      shown["p"] = drawn(p[i]);
      // The member is the best within every budget below the next one's cost.
      const auto end = i + 1 < front.size()
                           ? std::ranges::lower_bound(
                                 records, front[i + 1].cost.of(query_.cost), {},
                                 [&](const Record& record) { return record.cost.of(query_.cost); })
                           : records.end();
      const auto best =
          best_within(store_, {records.begin(), end}, trained, query_.metric, query_.cost);
      if (best) {
        shown["runner_up"] = comparison(best->runner_up);
        shown["best_uniform"] = comparison(best->best_uniform);
        const auto uniform =
            best->best_uniform ? std::optional(best->best_uniform->other) : std::nullopt;
        if (const auto bias = winners_bias(store_, front[i], uniform, query_.metric)) {
          const Measured& confirmed = *bias->confirmed[query_.metric];
          shown["confirmed"] = pair_of(confirmed.value, confirmed.standard_error);
          shown["bias"] = pair_of(bias->difference.value, bias->difference.standard_error);
          if (bias->of_lead) {
            shown["bias_of_lead"] = pair_of(bias->of_lead->value, bias->of_lead->standard_error);
          }
        }
      }
      json.push_back(std::move(shown));
    }
    return json;
  }

  // Of one layer at another width than in the widest record, the others as there.
  Json sensitivity(std::span<const Record> records) {
    Json json = Json::array();
    const Record& full = *std::ranges::max_element(records, {}, [&](const Record& record) {
      return record.cost.params;  // whatever the cost that is shown
    });
    for (const Record& record : records) {
      if (record.widths.size() != full.widths.size()) continue;
      std::optional<std::size_t> layer;
      std::size_t differing = 0;
      for (std::size_t i = 0; i < full.widths.size() && differing < 2; ++i) {
        if (record.widths[i] == full.widths[i]) continue;
        ++differing;
        layer = i;
      }
      if (differing != 1) continue;
      const auto difference = stored_difference(store_, record, full, query_.metric);
      if (!difference) continue;
      json.push_back({{"layer", *layer},
                      {"width", record.widths[*layer]},
                      {"value", drawn(difference->value)},
                      {"error", drawn(difference->standard_error)}});
    }
    return json;
  }

  Json runs(const Record& of) const {
    Json json = Json::array();
    for (const RunRow& run : runs_) {
      if (std::tie(run.model, run.data, run.dtype) != std::tie(of.model, of.data, of.dtype)) {
        continue;
      }
      json.push_back({{"id", run.id},
                      {"command", run.command},
                      {"strategy", run.strategy},
                      {"seed", std::to_string(run.seed)},
                      {"started", run.started},
                      {"status", run.status},
                      {"device", run.device},
                      {"build", run.build},
                      {"command_line", run.command_line}});
    }
    return json;
  }

  const Store& store_;
  const FrontQuery& query_;
  std::vector<std::pair<std::int64_t, ModelRow>> models_;
  std::vector<std::pair<std::int64_t, DataRow>> datasets_;
  std::vector<DataUse> uses_;
  std::vector<RunRow> runs_;
  std::size_t example_bytes_ = 0;
};

}  // namespace

Json evidence(const Store& store, const FrontQuery& query, const std::string& db) {
  FrontQuery all_query = query;
  all_query.all = true;
  const std::vector<Record> all = store.front(all_query), front = store.front(query);
  const auto key = [](const Record& record) {
    return std::tuple(record.model, record.data, record.dtype);
  };
  const MetricRow& metric = row_of(query.metric);
  const ExampleWords& words = words_of_all(store);
  Json json = {{"db", db},
               {"build", build_text()},
               {"created", now_utc()},
               {"metric", metric.name},
               {"metric_axis", in_words(metric.unit, words)},
               {"larger_wins", metric.larger_wins},
               {"cost_axis", in_words(cost_axis(query.cost), words)},
               {"alpha", kAlpha},
               {"groups", Json::array()}};
  GroupsOfStore groups(store, query);
  const auto of_group = [&](const std::vector<Record>& records, const Record& record) {
    const auto first = std::ranges::find_if(
        records, [&](const Record& other) { return key(other) == key(record); });
    const auto last = std::find_if(first, records.end(),
                                   [&](const Record& other) { return key(other) != key(record); });
    return std::span<const Record>(first, last);
  };
  for (std::size_t at = 0; at < all.size();) {
    const std::span<const Record> records = of_group(all, all[at]);
    json["groups"].push_back(groups.group(records, of_group(front, all[at])));
    at += records.size();
  }
  return json;
}

}  // namespace mnm
