#include <fmt/format.h>

#include <cstdio>

#include "base/error.h"
#include "base/file.h"
#include "base/interrupt.h"
#include "base/json.h"
#include "base/output_place.h"
#include "cli/common_options.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/output_file.h"
#include "cli/print.h"
#include "cli/progress.h"
#include "export/random_checkpoint.h"
#include "families/open_model.h"
#include "model/cost.h"
#include "model/own_files.h"
#include "report/table.h"

namespace mnm {
namespace {

constexpr std::int64_t kMostLayers = 1 << 16;

struct Request {
  std::filesystem::path config, out;
  Nesting nesting;
  std::uint64_t seed = 1;
  std::int64_t layers = 0;
  std::optional<Dtype> dtype;
  HuggingFaceOptions huggingface;
  bool force = false, dry_run = false;
};

OptionTable option_table(Request& request) {
  OptionTable options(
      "random",
      "Writes a nested checkpoint for a config.json, with random weights as at the start of "
      "training. With it you can try what a large model takes when you do not have the model. The "
      "same seed gives the same bytes on every machine.");
  options
      .argument("CONFIG", required(path_value(request.config, "CONFIG")),
                "a config.json, or a directory that holds one")
      .section("model");
  add_nesting_options(options, request.nesting);
  options
      .option("layers", count_value(request.layers, 0, kMostLayers),
              "number of layers: the first ones, or more of the same; 0: as the config says")
      .option("seed", count_value(request.seed), "seed of the weights")
      .section("output")
      .option("out", required(path_value(request.out, "DIR")), "the directory to write")
      .option("dtype", dtype_value(request.dtype), "type of the tensors; else the config's type")
      .option("shard-size", quantity_value(request.huggingface.shard_bytes, "BYTES"),
              "the most bytes of tensors in one file")
      .option("dry-run", flag_value(request.dry_run),
              "list the files and their sizes, write nothing")
      .option("force", flag_value(request.force),
              "replace the directory if it exists and this program wrote it");
  return options;
}

DescribedModel describe(const Request& request) {
  const bool directory = std::filesystem::is_directory(request.config);
  const std::filesystem::path path = directory ? request.config / "config.json" : request.config;
  nlohmann::json config = read_json(path);
  DescribedModel described = describe_model(config, request.nesting, path);
  if (request.layers == 0) return described;
  config = described.family->with_layers(config, request.layers);
  return describe_model(config, request.nesting, path);
}

HuggingFacePlan make_plan(const Request& request, const DescribedModel& described) {
  HuggingFaceOptions options = request.huggingface;
  if (options.shard_bytes == 0) fail_usage("random: --shard-size must be positive");
  options.dtype = request.dtype.value_or(described.model.dtype);
  options.metadata = {{"mixnmatch_random_seed", std::to_string(request.seed)}};
  const Widths full = described.model.space.full();
  nlohmann::json config =
      described.family->huggingface_config(described.model, full, options.dtype);
  config["mixnmatch"] = {{"random_weights", {{"seed", request.seed}}}};
  auto texts = described.family->huggingface_bridge(described.model, full);
  texts["config.json"] = config.dump(2) + "\n";
  return plan_huggingface(described.model, full, std::move(texts), options);
}

void print_plan(const HuggingFacePlan& plan) {
  std::uint64_t bytes = 0;
  print_table(planned_files(plan.files(), bytes), OutputFormat::kText);
}

void write(const Request& request, const HuggingFacePlan& plan) {
  const InterruptGuard guard;
  AtomicDirectory directory(request.out, replaceable(request.force));
  {
    ProgressBar bar("writing");
    write_random_checkpoint(plan, request.seed, directory.path(), bytes_shown_on(bar, guard));
  }
  if (guard.interrupted()) throw Stopped();
  write_own_files_list(directory.path());
  directory.commit();
}

}  // namespace

int random_command(const Arguments& arguments) {
  Request request;
  OptionTable options = option_table(request);
  if (!options.parse(arguments)) return 0;
  require_apart(request.out, request.config);
  require_no_store(request.out);
  AtomicDirectory::require_replaceable(request.out, replaceable(request.force));
  const DescribedModel described = describe(request);
  const HuggingFacePlan plan = make_plan(request, described);
  if (request.dry_run) {
    print_plan(plan);
  } else {
    write(request, plan);
  }
  const Cost cost = cost_of(described.model, plan.slices);
  print("{}: {} layers, {} parameters, {} bytes in {}, seed {}{}\n", request.out.string(),
        described.model.layers(), cost.params, plan.bytes, to_string(plan.dtype), request.seed,
        request.dry_run ? " (dry run: nothing was written)" : "");
  return 0;
}

}  // namespace mnm
