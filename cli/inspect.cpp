#include <fmt/format.h>

#include <algorithm>
#include <cstdio>

#include "artifact/explain.h"
#include "artifact/probe_files.h"
#include "base/error.h"
#include "base/file.h"
#include "base/quantity.h"
#include "cli/common_options.h"
#include "cli/left_aside.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/print.h"
#include "families/image_patches.h"
#include "families/open_model.h"
#include "model/cost.h"
#include "model/example_words.h"
#include "model/fingerprint.h"
#include "model/shapes.h"
#include "report/escape.h"
#include "report/table.h"

namespace mnm {
namespace {

struct Request {
  ModelOptions model;
  CostBasis basis;
  std::optional<Dtype> dtype;
  bool json = false;
};

// "64, 128, 256, 512", or of each run of layers that agree: "layers 0 to 3: 64, 128; layer 4: 64".
std::string space_text(const WidthSpace& space) {
  std::string text;
  std::size_t first = 0;
  for (std::size_t layer = 1; layer <= space.layers.size(); ++layer) {
    const LayerChoices& choices = space.layers[first];
    if (layer < space.layers.size() && space.layers[layer].granularities == choices.granularities &&
        space.layers[layer].step == choices.step &&
        space.layers[layer].may_skip == choices.may_skip) {
      continue;
    }
    std::string part;
    if (first + 1 == layer && space.layers.size() > 1) {
      part = fmt::format("layer {}: ", first);
    } else if (first > 0 || layer < space.layers.size()) {
      part = fmt::format("layers {} to {}: ", first, layer - 1);
    }
    part += fmt::format("{}", fmt::join(choices.granularities, ", "));
    if (choices.step == 1) part += ", and any width below";
    if (choices.step > 1) part += fmt::format(", and multiples of {}", choices.step);
    if (choices.may_skip) part += ", or left out";
    text.append(text.empty() ? "" : "; ").append(part);
    first = layer;
  }
  return text;
}

struct Inspected {
  OpenedModel opened;
  std::string fingerprint;  // empty where there are no tensors
  std::uint64_t bytes = 0;  // of the tensors
};

// What of the tensors the fingerprint is of.
std::uint64_t hashed_bytes(const Inspected& inspected) {
  return std::min(inspected.bytes, SampledBytes::kSampled);
}

std::string fingerprint_text(const Inspected& inspected) {
  if (inspected.fingerprint.empty()) return "none: a config without tensors";
  if (hashed_bytes(inspected) == inspected.bytes) {
    return inspected.fingerprint + " (of every byte)";
  }
  return fmt::format("{} (of names, shapes and {}B of {}B, evenly spaced)", inspected.fingerprint,
                     quantity(static_cast<double>(hashed_bytes(inspected))),
                     quantity(static_cast<double>(inspected.bytes)));
}

Inspected inspect(const ModelOptions& options) {
  if (const auto config = bare_config(options.directory)) {
    return {without_weights(*config, options.nesting), "", 0};
  }
  OpenedModel opened = open_model(options.directory, options.nesting);
  std::string fingerprint = opened.checkpoint.fingerprint();
  std::uint64_t bytes = 0;
  for (const StoredTensor& tensor : opened.checkpoint.tensors()) bytes += tensor.data.size();
  return {std::move(opened), std::move(fingerprint), bytes};
}

// Of a config from outside: "?" where it is not there or no text.
std::string text_of(const nlohmann::json& object, const char* key) {
  if (!object.is_object() || !object.contains(key) || !object[key].is_string()) return "?";
  return printable(object[key].get<std::string>());
}

// What export and random note in a config.
void print_provenance(const nlohmann::json& note) {
  if (!note.is_object()) return;
  if (note.contains("source")) {
    print("cut from     {} ({}) at {}\n", text_of(note["source"], "name"),
          text_of(note["source"], "fingerprint"), text_of(note, "widths"));
  }
  if (note.contains("random_weights")) print("weights      random\n");
}

void print_foreign(const std::filesystem::path& directory, bool json) {
  const std::string fingerprint = artifact_fingerprint(directory);
  const Table probe = probe_table(directory, fingerprint),
              verified = verified_table(directory, fingerprint);
  if (json) {
    nlohmann::ordered_json out;
    out["directory"] = directory.string();
    for (const auto& row : probe.rows) out["probe"][row[0].text] = row[1].value;
    out["verified"] = verified.json();
    print_json(out);
    return;
  }
  print("{}: an export\n{}", directory.string(), Lines{probe.text()});
  if (!verified.rows.empty()) print("\n{}", Lines{verified.text()});
}

bool has_state(const NestedModel& model) {
  return std::ranges::any_of(model.mixing, [](const LayerMixing& layer) {
    return layer.state_per_width > 0 || (layer.window > 0 && layer.kv_per_token > 0);
  });
}

Table cost_table(const NestedModel& model, const CostBasis& basis) {
  Table table{{{"widths", "uniform", false},
               {"params", "parameters"},
               {"non_embedding", "non-embedding"},
               {"bytes", fmt::format("bytes {}", to_string(basis.dtype))},
               {"flops", in_words("FLOPs/token", words_of(model.input.type))},
               {"kv_bytes", "KV bytes/token"},
               {"state_bytes", "state bytes", true, false, has_state(model)},
               {"relative_flops", "of full"}},
              {}};
  const double full = static_cast<double>(cost_of(model, model.space.full(), basis).flops);
  for (std::size_t level = 0; level < model.space.levels(); ++level) {
    const Widths widths = model.space.uniform(level);
    const Cost cost = cost_of(model, widths, basis);
    Cell share = real_cell(static_cast<double>(cost.flops) / full, 4);
    share.text = fmt::format("{:.0f} %", 100 * static_cast<double>(cost.flops) / full);
    table.rows.push_back({cell(to_string(widths)), quantity_cell(cost.params),
                          quantity_cell(cost.non_embedding), quantity_cell(cost.bytes),
                          quantity_cell(cost.flops), quantity_cell(cost.kv_bytes),
                          quantity_cell(cost.state_bytes), share});
  }
  return table;
}

// Submodels that the model's authors have published, with what they state beside what is counted.
Table published_table(const OpenedModel& opened, const CostBasis& basis) {
  Table table{{{"name", "published", false},
               {"widths", "widths", false},
               {"params", "parameters"},
               {"non_embedding", "effective"},
               {"stated", "stated, billions"},
               {"flops", "FLOPs/token"}},
              {}};
  for (const NamedWidths& named : opened.family->published(opened.model)) {
    const Cost cost = cost_of(opened.model, named.widths, basis);
    table.rows.push_back({cell(named.name), cell(to_string(named.widths)),
                          quantity_cell(cost.params), quantity_cell(cost.non_embedding),
                          real_cell(named.billions, 2), quantity_cell(cost.flops)});
  }
  return table;
}

// Parameters of tables of which each layer reads its own columns. They are embeddings, and need not
// be in fast memory.
std::int64_t layer_embeddings(const NestedModel& model) {
  std::int64_t sum = 0;
  for (const TensorSpec& spec : model.table.tensors) {
    const bool by_layers = spec.layer < 0 && spec.cut_dim >= 0;
    if (by_layers && spec.role == Role::kEmbedding) sum += element_count(spec.shape);
  }
  return sum;
}

OptionTable option_table(Request& request) {
  auto& [model, basis, dtype, json] = request;
  OptionTable options(
      "inspect",
      "Shows what a checkpoint holds: its family, its layers, the widths that they may take, how "
      "many submodels that makes, the exact cost of each uniform submodel, and which runtimes take "
      "which submodels. For an export it also shows the results of scripts/verify. It reads "
      "weights "
      "only for the fingerprint. A config.json is enough, if you do not have the model.");
  add_model_options(options, model);
  add_image_size_option(options, model.nesting);
  options.section("costs")
      .option("context", count_value(basis.context, 1, 1 << 30, "TOKENS"),
              "tokens per sequence for counting FLOPs, or the most that the model allows if that "
              "is less")
      .option("dtype", dtype_value(dtype), "type for counting bytes; else the checkpoint's")
      .section("output")
      .option("json", flag_value(json), "results as JSON");
  return options;
}

// What is known of an export: which runtimes load it, and what those that were asked computed.
struct Exported {
  Explanation runtimes;
  Table verified;
  bool as_exported = true;
};

nlohmann::json provenance_of(const NestedModel& model) {
  return model.config.contains("mixnmatch") ? model.config["mixnmatch"] : nlohmann::json();
}

// Nothing where it is no export.
std::optional<Exported> exported(const Inspected& inspected, const std::filesystem::path& directory,
                                 const CostBasis& basis) {
  const NestedModel& model = inspected.opened.model;
  const nlohmann::json provenance = provenance_of(model);
  if (!provenance.is_object() || !provenance.contains("widths")) return std::nullopt;
  Exported artifact{explain(inspected.opened, model.space.full(), "", {}, basis, {}), {}};
  if (!std::filesystem::is_directory(directory)) return artifact;
  const std::string fingerprint = artifact_fingerprint(directory);
  artifact.verified = verified_table(directory, fingerprint);
  artifact.as_exported = is_as_exported(directory, fingerprint);
  return artifact;
}

nlohmann::ordered_json space_json(const WidthSpace& space) {
  auto layers = nlohmann::ordered_json::array();
  for (const LayerChoices& choices : space.layers) {
    layers.push_back({{"granularities", choices.granularities},
                      {"step", choices.step},
                      {"may_skip", choices.may_skip}});
  }
  return layers;
}

void print_as_json(const Request& request, const Inspected& inspected,
                   const std::optional<Exported>& artifact) {
  const NestedModel& model = inspected.opened.model;
  nlohmann::ordered_json out;
  out["directory"] = request.model.directory.string();
  out["fingerprint"] =
      inspected.fingerprint.empty() ? nlohmann::json() : nlohmann::json(inspected.fingerprint);
  out["fingerprint_bytes"] = hashed_bytes(inspected);
  out["tensor_bytes"] = inspected.bytes;
  if (const Checkpoint& checkpoint = inspected.opened.checkpoint;
      !checkpoint.left_aside().empty()) {
    out["left_aside"] = left_aside_json(checkpoint);
  }
  out["family"] = model.family;
  out["dtype"] = to_string(model.dtype);
  out["layers"] = model.layers();
  out["hidden_size"] = model.hidden_size;
  out["vocab_size"] = model.vocab_size;
  out["max_context"] = model.max_context == kAnyContext ? nlohmann::ordered_json()
                                                        : nlohmann::ordered_json(model.max_context);
  out["tied_head"] = model.tied_head;
  out["reads"] = words_of(model.input.type).kind;
  out["submodels"] = model.space.submodels();
  out["width_space"] = space_json(model.space);
  out["cost_basis"] = {{"dtype", to_string(request.basis.dtype)},
                       {"context", request.basis.context}};
  out["uniform"] = cost_table(model, request.basis).json();
  if (const Table published = published_table(inspected.opened, request.basis);
      !published.rows.empty()) {
    out["published"] = published.json();
  }
  if (const std::int64_t own = layer_embeddings(model); own > 0) out["layer_embeddings"] = own;
  if (const auto provenance = provenance_of(model); !provenance.is_null()) {
    out["provenance"] = provenance;
  }
  if (artifact) {
    out["runtimes"] = artifact->runtimes.runtimes.json();
    out["verified"] = artifact->verified.json();
    out["as_exported"] = artifact->as_exported;
  } else {
    out["takers"] = takers(inspected.opened).json();
  }
  print_json(out);
}

std::string input_text(const NestedModel& model) {
  if (!model.reads_tokens()) {
    return fmt::format("images of {} (channels, height, width), {} positions, {} classes",
                       fmt::join(model.input.shape, " x "), model.max_context, model.vocab_size);
  }
  return fmt::format("vocabulary {}, context {}", model.vocab_size,
                     model.max_context == kAnyContext ? "any" : std::to_string(model.max_context));
}

void print_as_text(const Request& request, const Inspected& inspected,
                   const std::optional<Exported>& artifact) {
  const NestedModel& model = inspected.opened.model;
  print("{}: {}, {} layers, hidden size {}, {}, stored in {}\n", request.model.directory.string(),
        model.family, model.layers(), model.hidden_size, input_text(model), to_string(model.dtype));
  print("widths       {}\n", space_text(model.space));
  print("submodels    {}{}\n", model.space.submodels_text(),
        model.space.submodels() == 1 && !artifact
            ? ", as the config names no narrower widths: 'mixnmatch nest' makes an ordinary "
              "checkpoint nested; --granularities names widths that were trained"
            : "");
  print("fingerprint  {}\n", fingerprint_text(inspected));
  if (const std::string text = left_aside_text(inspected.opened.checkpoint); !text.empty()) {
    print("left aside   {}\n", text);
  }
  if (const std::string text = resized_positions_text(model); !text.empty()) {
    print("images       {}, as transformers does it\n", text);
  }
  print_provenance(provenance_of(model));
  print("\n{}", Lines{cost_table(model, request.basis).text()});
  if (const Table published = published_table(inspected.opened, request.basis);
      !published.rows.empty()) {
    print("\n{}", Lines{published.text()});
  }
  if (const std::int64_t own = layer_embeddings(model); own > 0) {
    print(
        "\nOf the full model's parameters {} are embeddings that single layers read, a row per "
        "token; they need not be in fast memory.\n",
        quantity(static_cast<double>(own)));
  }
  if (model.reads_tokens()) {
    print("\nFLOPs are forward, at a context of {} tokens.\n", request.basis.context);
  }
  if (!artifact) {
    print("\n{}", Lines{takers(inspected.opened).text()});
    return;
  }
  print("\n{}", Lines{artifact->runtimes.runtimes.text()});
  if (!artifact->verified.rows.empty()) print("\n{}", Lines{artifact->verified.text()});
  if (!artifact->as_exported) {
    print("\nNOT as exported: a file is changed, gone or too many.\n");
  }
}

}  // namespace

int inspect_command(const Arguments& arguments) {
  Request request;
  OptionTable options = option_table(request);
  if (!options.parse(arguments)) return 0;
  const std::filesystem::path& directory = request.model.directory;
  if (is_foreign_artifact(directory)) {
    print_foreign(directory, request.json);
    return 0;
  }
  const Inspected inspected = inspect(request.model);
  const NestedModel& model = inspected.opened.model;
  CostBasis& basis = request.basis;
  basis.dtype = request.dtype.value_or(model.dtype);
  if (model.max_context > 0) {
    basis.context = model.positions(std::min(basis.context, model.max_context));
  }
  const std::optional<Exported> artifact = exported(inspected, directory, basis);
  (request.json ? print_as_json : print_as_text)(request, inspected, artifact);
  return 0;
}

}  // namespace mnm
