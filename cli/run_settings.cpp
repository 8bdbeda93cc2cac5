#include "cli/run_settings.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "cli/stored_json.h"
#include "text/utf8.h"

namespace mnm {
namespace {

// What the settings of a run hold for an option; nothing where it was not given.
std::vector<std::string> stored_texts(const nlohmann::ordered_json& options,
                                      const std::string& name, std::int64_t run) {
  const auto found = options.find(name);
  if (found == options.end()) return {};
  if (!found->is_array() ||
      !std::ranges::all_of(*found, [](const auto& text) { return text.is_string(); })) {
    fail(
        "run {} cannot be resumed: its settings hold a value of type {} for --{}, where a list of "
        "texts belongs; "
        "the store was changed by another program",
        run, found->is_array() ? "list, not of texts," : found->type_name(), name);
  }
  return found->get<std::vector<std::string>>();
}

}  // namespace

std::string run_settings(const OptionTable& options) {
  nlohmann::ordered_json settings;
  for (const std::string& name : options.names_of_run()) {
    std::vector<std::string> texts = options.texts(name);
    if (texts.empty()) continue;
    if (options.is_path(name)) {
      texts = {std::filesystem::absolute(texts.front()).string()};
      if (valid_utf8(texts.front()) != texts.front().size()) {
        fail_usage(
            "search: the path {} is not UTF-8, and the store keeps it as text, to resume by: give "
            "it another name",
            texts.front());
      }
    }
    settings["options"][name] = texts;
  }
  return settings.dump();
}

void restore_settings(OptionTable& options, const std::string& command, const RunRow& run) {
  if (run.command != command) {
    fail_usage("run {} is of '{}' and not of '{}': it cannot be resumed", run.id, run.command,
               command);
  }
  // What nests deep is nothing of ours, and takes as deep a stack to print.
  const auto settings = stored_json(run.settings).is_null()
                            ? nlohmann::ordered_json()
                            : nlohmann::ordered_json::parse(run.settings);
  if (!settings.is_object() || !settings.contains("options") || !settings["options"].is_object()) {
    fail("run {} has no settings to resume with: the store was written by another program", run.id);
  }
  for (const std::string& name : options.names_of_run()) {
    const std::vector<std::string> texts = stored_texts(settings["options"], name, run.id);
    if (!options.given(name)) {
      if (!texts.empty()) options.restore(name, texts);
      continue;
    }
    if (options.is_path(name) || options.texts(name) == texts) continue;
    fail_usage("run {} has {} {}: a resumed run keeps its settings, so leave the option out",
               run.id, name,
               texts.empty() ? options.fallback(name) : fmt::format("{}", fmt::join(texts, ", ")));
  }
}

}  // namespace mnm
