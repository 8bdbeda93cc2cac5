#include <fmt/format.h>

#include <algorithm>
#include <cstdio>

#include "base/error.h"
#include "base/shell_word.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/print.h"
#include "cli/stored_json.h"
#include "db/store.h"
#include "report/table.h"
#include "study/store_rows.h"

namespace mnm {
namespace {

Table model_table(const Store& store) {
  Table table{{{"model", "model"},
               {"name", "name", false},
               {"family", "family", false},
               {"granularities", "widths", false},
               {"fingerprint", "fingerprint", false}},
              {}};
  for (const auto& [id, row] : store.models()) {
    table.rows.push_back({cell(id), cell(row.name), cell(row.family), cell(row.granularities),
                          cell(row.fingerprint)});
  }
  return table;
}

Table data_table(const Store& store) {
  Table table{{{"data", "data"},
               {"name", "name", false},
               {"part", "used for", false},
               {"sequences", "sequences"},
               {"context", "context"},
               {"fingerprint", "fingerprint", false}},
              {}};
  const std::vector<DataUse> uses = store.data_uses();
  for (const auto& [id, row] : store.datasets()) {
    table.rows.push_back({cell(id), cell(row.name), cell(part_of(uses, id)), cell(row.sequences),
                          cell(row.context), cell(row.fingerprint)});
  }
  return table;
}

Table run_table(const Store& store) {
  Table table{{{"run", "run"},
               {"session", "session", true, false, false},
               {"command", "command", false},
               {"strategy", "strategy", false},
               {"model", "model"},
               {"data", "data"},
               {"part", "used for", false},
               {"dtype", "dtype", false},
               {"seed", "seed"},
               {"status", "status", false},
               {"owner", "owner", false, false, false},
               {"records", "records"},
               {"started", "started", false},
               {"device", "device", false, false, false},
               {"build", "build", false, false, false},
               {"command_line", "command line", false, false, false},
               {"settings", "settings", false, false, false}},
              {}};
  for (const RunRow& run : store.runs()) {
    Cell seed = cell(std::to_string(run.seed));
    seed.value = run.seed;
    table.rows.push_back({cell(run.id),
                          cell(run.session),
                          cell(run.command),
                          cell(run.strategy),
                          cell(run.model),
                          cell(run.data),
                          cell(run.part),
                          cell(std::string(to_string(run.dtype))),
                          seed,
                          cell(run.status),
                          cell(run.owner),
                          cell(run.records),
                          cell(run.started),
                          cell(run.device),
                          cell(run.build),
                          cell(run.command_line),
                          {"", stored_json(run.settings), {}}});
  }
  return table;
}

Table artifact_table(const Store& store) {
  Table table{{{"artifact", "artifact"},
               {"model", "model"},
               {"record", "record"},
               {"widths", "widths", false},
               {"format", "format", false},
               {"bytes", "bytes"},
               {"path", "path", false},
               {"created", "created", false},
               {"fingerprint", "fingerprint", false, false, false},
               {"check", "check", false, false, false},
               {"command_line", "command line", false, false, false}},
              {}};
  for (const Store::Artifact& artifact : store.artifacts()) {
    table.rows.push_back({cell(artifact.id),
                          cell(artifact.model),
                          artifact.record ? cell(*artifact.record) : missing_cell(),
                          cell(to_string(artifact.widths)),
                          cell(artifact.format),
                          quantity_cell(artifact.bytes),
                          cell(artifact.path),
                          cell(artifact.created),
                          cell(artifact.fingerprint),
                          {"", stored_json(artifact.check), {}},
                          cell(artifact.command_line)});
  }
  return table;
}

// Empty where resuming a run would do nothing, or another process would refuse it.
std::string why_resume(const RunRow& run, const std::vector<RunRow>& all) {
  if (run.command != "search") return "";
  if (run.status == "stopped") return "was stopped and can go on";
  if (run.status == "running") {
    return run.owner.empty() ? "was killed, unless it runs on another machine, and can go on" : "";
  }
  const nlohmann::json settings = stored_json(run.settings);
  if (!settings.is_object() || !settings.contains("options") ||
      !settings["options"].contains("confirm")) {
    return "";
  }
  for (const RunRow& other : all) {
    if (other.session != run.session || other.id == run.id) continue;
    if (other.command == "confirm" && other.status == "done") return "";
    if (other.command == "search" && (other.status != "done" || other.id > run.id)) return "";
  }
  return "is done but its front is not confirmed, and can go on";
}

Table verification_table(const Store& store) {
  Table table{{{"artifact", "artifact"},
               {"runtime", "runtime", false},
               {"version", "version", false},
               {"worst", "worst difference"},
               {"tolerance", "tolerance"},
               {"agrees", "agrees", false},
               {"machine", "machine", false},
               {"created", "created", false}},
              {}};
  const auto real = [](double value) { return Cell{fmt::format("{:.2g}", value), value, {}}; };
  for (const Store::Verification& found : store.verifications()) {
    table.rows.push_back({cell(found.artifact),
                          cell(found.runtime),
                          cell(found.version),
                          found.worst ? real(*found.worst) : missing_cell(),
                          real(found.tolerance),
                          {found.agrees ? "yes" : "no", found.agrees, {}},
                          cell(found.machine),
                          cell(found.created)});
  }
  return table;
}

}  // namespace

int runs_command(const Arguments& arguments) {
  std::filesystem::path db;
  bool json = false, csv = false;
  OptionTable options(
      "runs",
      "Lists what a store holds: models, data, runs, artifacts, and the results of verifying "
      "artifacts. --json adds the settings and command line of each run; --csv lists only the "
      "runs.");
  options.option("db", required(path_value(db)), "the store");
  add_output_options(options, json, csv);
  if (!options.parse(arguments)) return 0;
  const OutputFormat output = output_format(json, csv);

  const Store store = Store::open(db, Store::Mode::kRead);
  const std::pair<const char*, Table> tables[] = {{"models", model_table(store)},
                                                  {"data", data_table(store)},
                                                  {"runs", run_table(store)},
                                                  {"artifacts", artifact_table(store)},
                                                  {"verifications", verification_table(store)}};
  if (output == OutputFormat::kCsv) {
    print_table(tables[2].second, output);
    return 0;
  }
  if (output == OutputFormat::kJson) {
    nlohmann::ordered_json out;
    for (const auto& [name, table] : tables) out[name] = table.json();
    print_json(out);
    return 0;
  }
  const char* separator = "";
  for (const auto& [name, table] : tables) {
    if (table.rows.empty()) continue;
    print("{}{}", Lines{separator}, Lines{table.text()});
    separator = "\n";
  }
  if (store.runs().empty()) note("{} holds no runs\n", db.string());
  const auto runs = store.runs();
  for (const RunRow& run : runs) {
    if (const std::string why = why_resume(run, runs); !why.empty()) {
      note("run {} {}: mixnmatch search --db {} --resume {}\n", run.id, why,
           shell_quoted(db.string()), run.id);
    }
  }
  return 0;
}

}  // namespace mnm
