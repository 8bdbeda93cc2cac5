#include "study/store_rows.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <vector>

#include "base/error.h"
#include "base/version.h"
#include "text/utf8.h"

namespace mnm {
namespace {

constexpr const char *kSearchPart = "search", *kConfirmPart = "confirm",
                     *kBothParts = "search+confirm";

// The id of the one row that `name` names: by id, else by any of its names, else by the beginning
// of its fingerprint.
template <typename Row, typename Names>
std::int64_t named(const std::vector<std::pair<std::int64_t, Row>>& rows, const std::string& name,
                   std::string_view kind, const Names& names_of) {
  std::vector<std::int64_t> found;
  for (const auto& [id, row] : rows) {
    if (std::to_string(id) == name) return id;
  }
  for (const auto& [id, row] : rows) {
    for (const std::string& known : names_of(id, row)) {
      if (known == name) {
        found.push_back(id);
        break;
      }
    }
  }
  if (found.empty() && name.size() >= 4) {
    for (const auto& [id, row] : rows) {
      if (row.fingerprint.starts_with(name)) found.push_back(id);
    }
  }
  if (found.size() == 1) return found.front();
  std::string known;
  for (const auto& [id, row] : rows) {
    known += fmt::format("{}{} ({})", known.empty() ? "" : ", ", id, row.name);
  }
  if (known.empty()) known = "nothing";
  fail_usage("{} {} of the store {} called '{}'; it has {}", found.empty() ? "no" : "more than one",
             kind, found.empty() ? "is" : "are", name, known);
}

// A file system's names are bytes; the store and every format that notes one hold text.
std::string text_of(const std::string& name) {
  Utf8Stream stream;
  std::string text = stream.feed(name);
  return text + stream.finish();
}

}  // namespace

ModelRow model_row(const OpenedModel& opened) {
  std::filesystem::path directory =
      std::filesystem::weakly_canonical(opened.checkpoint.directory());
  return {opened.checkpoint.fingerprint(), text_of(directory.filename().string()),
          opened.model.family, opened.checkpoint.config().dump(),
          fmt::format("{}", fmt::join(opened.model.space.layers.front().granularities, ","))};
}

DataRow data_row(const Examples& data) {
  return {data.fingerprint, text_of(data.name), data.context, data.count, std::string(data.kind())};
}

void record_run(Store& store, RunRow run, const OpenedModel& opened, const Examples& data,
                std::span<const Score> scores) {
  run.model = store.model(model_row(opened));
  run.data = store.data(data_row(data));
  run.build = build_text();
  const std::int64_t id = store.begin_run(run);
  store.add(id, scores);
  store.finish_run(id, "done");
}

std::int64_t model_named(const Store& store, const std::string& name) {
  return named(store.models(), name, "model", [](std::int64_t, const ModelRow& row) {
    return std::vector<std::string>{row.name};
  });
}

std::int64_t data_named(const Store& store, const std::string& name,
                        std::optional<std::int64_t> scored_with_model) {
  auto rows = store.datasets();
  const std::vector<DataUse> uses = store.data_uses();
  if (scored_with_model) {
    std::erase_if(rows, [&](const auto& row) {
      return std::ranges::none_of(uses, [&](const DataUse& use) {
        return use.model == *scored_with_model && use.data == row.first;
      });
    });
  }
  return named(rows, name, "data", [&](std::int64_t id, const DataRow& row) {
    const std::string part = part_of(uses, id, scored_with_model);
    if (part == kBothParts) return std::vector<std::string>{row.name, kSearchPart, kConfirmPart};
    return std::vector<std::string>{row.name, part};
  });
}

std::vector<Record> records_named(const Store& store, std::span<const Record> all,
                                  const std::string& word) {
  std::int64_t id = 0;
  const auto [stop, error] = std::from_chars(word.data(), word.data() + word.size(), id);
  if (error == std::errc{} && stop == word.data() + word.size()) {
    const std::optional<Record> record = store.record(id);
    if (!record) {
      fail_usage("the store has no record {}; widths are written {}x8, with their count", id, word);
    }
    return {*record};
  }
  std::vector<Record> found;
  std::size_t layers = 0;
  Widths widths;
  for (const Record& record : all) {
    if (record.widths.size() != layers) {
      layers = record.widths.size();
      try {
        widths = parse_widths(word, layers);
      } catch (const UsageError&) {
        widths.clear();  // of another model, maybe
      }
    }
    if (record.widths == widths) found.push_back(record);
  }
  if (found.empty()) fail_usage("the store has no record of widths '{}' that matches", word);
  return found;
}

LatencyRow latency_named(const Store& store, std::int64_t model,
                         const std::optional<std::int64_t>& id) {
  std::vector<LatencyRow> rows = store.latencies(model);
  if (rows.empty()) {
    fail_usage(
        "the store holds no latency of this model: measure it with 'mixnmatch latency DIR --db "
        "FILE'");
  }
  if (!id) return rows.back();
  const auto found = std::ranges::find(rows, *id, &LatencyRow::id);
  if (found == rows.end()) {
    fail_usage("the store holds no latency {} of this model; its newest is {}", *id,
               rows.back().id);
  }
  return *found;
}

LatencyRow latency_named(const Store& store, const OpenedModel& opened,
                         const std::optional<std::int64_t>& id) {
  const std::string fingerprint = opened.checkpoint.fingerprint();
  for (const auto& [model, row] : store.models()) {
    if (row.fingerprint == fingerprint) return latency_named(store, model, id);
  }
  return latency_named(store, 0, id);
}

std::string latency_text(const LatencyRow& row) {
  const Latency& latency = row.measured;
  return fmt::format("latency {} ({} {} tokens, batch {}, {} on {}; sums are off by {:.1f} % rms)",
                     row.id,
                     latency.workload.phase == Phase::kDecode ? "decode after" : "prefill of",
                     latency.workload.length, latency.workload.batch, to_string(latency.dtype),
                     latency.device, 100 * latency.rms_error());
}

std::string part_of(const std::vector<DataUse>& uses, std::int64_t data,
                    std::optional<std::int64_t> model) {
  bool search = false, confirm = false;
  for (const DataUse& use : uses) {
    if (use.data != data || (model && use.model != *model)) continue;
    search |= use.part == kSearchPart || use.part == kBothParts;
    confirm |= use.part == kConfirmPart || use.part == kBothParts;
  }
  return search && confirm ? kBothParts : search ? kSearchPart : confirm ? kConfirmPart : "";
}

std::string data_text(const DataRow& row, const std::string& part) {
  return fmt::format("{}{}{}, {}", row.name, part.empty() ? "" : ", ",
                     part.empty() ? "" : part + " part",
                     examples_text(row.kind, row.sequences, row.context));
}

void require_something_within(const Store& store, const FrontQuery& query) {
  FrontQuery all = query;
  all.all = true;
  if (!store.front(all).empty()) return;
  all.budgets.clear();
  const std::vector<Record> records = store.front(all);
  if (records.empty()) return;
  std::string smallest;
  for (const auto& [kind, limit] : query.budgets) {
    std::int64_t least = records.front().cost.of(kind);
    for (const Record& record : records) least = std::min(least, record.cost.of(kind));
    smallest += fmt::format(
        "{}{} {}", smallest.empty() ? "" : ", ", to_string(kind),
        kind == CostKind::kLatency ? fmt::format("{}ns", least) : std::to_string(least));
  }
  fail_usage("no record of the store meets the budget; the least that one has: {}", smallest);
}

}  // namespace mnm
