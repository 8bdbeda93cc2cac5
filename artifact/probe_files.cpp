#include "artifact/probe_files.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/json.h"
#include "export/probe.h"
#include "export/target.h"

namespace mnm {
namespace {

namespace fs = std::filesystem;

constexpr const char* kVerifiedFile = "verified.json";

Cell bound_cell(double value) { return {fmt::format("{:.2g}", value), value, {}}; }

}  // namespace

bool is_foreign_artifact(const fs::path& directory) {
  std::error_code error;
  return fs::exists(directory / kProbeFile, error) && !fs::exists(directory / "config.json", error);
}

std::string artifact_fingerprint(const fs::path& directory) {
  std::vector<std::string> names;
  for (const fs::directory_entry& entry : fs::directory_iterator(directory)) {
    const std::string name = entry.path().filename().string();
    const bool is_about_it =
        name == kProbeFile || name == kVerifiedFile || name == "README.md" || name.starts_with('.');
    if (entry.is_regular_file() && !is_about_it) names.push_back(name);
  }
  std::ranges::sort(names);
  return fingerprint_of(directory, names);
}

bool is_as_exported(const fs::path& directory, const std::string& fingerprint) {
  std::error_code error;
  return !fs::exists(directory / kProbeFile, error) ||
         read_probe(directory / kProbeFile).artifact == fingerprint;
}

Table probe_table(const fs::path& directory, const std::string& fingerprint) {
  const Probe probe = read_probe(directory / kProbeFile);
  Table table{{{"fact", "", false}, {"value", "", false}}, {}};
  const auto add = [&](const char* fact, Cell value) {
    table.rows.push_back({cell(fact), std::move(value)});
  };
  add("widths", cell(probe.widths));
  add("fingerprint", cell(probe.artifact));
  add("files",
      cell(probe.artifact == fingerprint ? "as exported"
                                         : "NOT as exported: one is changed, gone or too many"));
  add("cut from", cell(probe.fingerprint));
  add("moved by storing", bound_cell(probe.moved));
  add("tolerance in f32", bound_cell(probe.tolerance));
  add("with rounded operands", bound_cell(probe.operand_tolerance));
  return table;
}

Table verified_table(const fs::path& directory, const std::string& fingerprint) {
  Table table{{{"runtime", "verified in", false},
               {"version", "version", false},
               {"agrees", "agrees", false},
               {"worst", "worst difference"},
               {"tolerance", "tolerance"},
               {"machine", "machine", false},
               {"created", "when", false}},
              {}};
  const fs::path path = directory / kVerifiedFile;
  std::error_code error;
  if (!fs::exists(path, error) || !fs::exists(directory / kProbeFile, error)) return table;
  if (!is_as_exported(directory, fingerprint)) return table;
  const nlohmann::json answers = read_json(path);
  try {
    for (const nlohmann::json& one : answers) {
      if (one.at("artifact").get<std::string>() != fingerprint)
        continue;  // of what lay here before
      const nlohmann::json& worst = one.at("worst");
      const bool agrees = one.at("agrees").get<bool>();
      table.rows.push_back({cell(one.at("runtime").get<std::string>()),
                            cell(one.at("version").get<std::string>()),
                            {agrees ? "yes" : "NO", agrees, {}},
                            worst.is_null() ? missing_cell() : bound_cell(worst.get<double>()),
                            bound_cell(one.at("tolerance").get<double>()),
                            cell(one.at("machine").get<std::string>()),
                            cell(one.at("created").get<std::string>())});
    }
  } catch (const nlohmann::json::exception&) {
    fail("cannot read '{}': it is not a list of answers as scripts/verify writes them",
         path.string());
  }
  return table;
}

}  // namespace mnm
