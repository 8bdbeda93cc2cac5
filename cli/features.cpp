#include <fmt/format.h>

#include "base/error.h"
#include "base/interrupt.h"
#include "cli/common_options.h"
#include "cli/example_readers.h"
#include "cli/options.h"
#include "cli/output_file.h"
#include "cli/print.h"
#include "cli/progress.h"
#include "dataset/examples.h"
#include "dataset/feature_file.h"
#include "engine/engine.h"
#include "families/open_model.h"
#include "model/feature_size.h"

namespace mnm {
namespace {

struct Request {
  ModelOptions model;
  ExampleOptions data;
  std::string widths;
  DeviceOptions device;
  std::filesystem::path out;
  bool force = false;
};

OptionTable option_table(Request& request) {
  OptionTable options("features",
                      "Writes what a submodel's head reads of each image, f32 [images, d], as "
                      "NAME-X.npy, and the classes of the images as NAME-y.npy. 'retrieve' "
                      "searches such files, and NumPy reads them.");
  add_model_options(options, request.model);
  add_image_size_option(options, request.model.nesting);
  options
      .option("widths", text_value(request.widths, "WIDTHS"),
              "the submodel: 512x4,256x8, or a single width for all layers; else the full model")
      .section("data")
      .option("data", required(path_value(request.data.path, "SET")), "an image set");
  add_device_options(options, request.device);
  options.section("output")
      .option("out", required(path_value(request.out, "NAME")), "where the two files begin")
      .option("force", flag_value(request.force), "replace earlier ones of such files");
  return options;
}

void require_outputs(const Request& request) {
  const auto require = [&](const std::filesystem::path& path, const OutputKind& kind) {
    require_outside(path, request.model.directory);
    require_outside(path, request.data.path);
    require_writable(path, request.force, kind);
  };
  require(vectors_file(request.out), vectors_kind());
  require(labels_file(request.out), classes_kind());
}

}  // namespace

int features_command(const Arguments& arguments) {
  Request request;
  OptionTable options = option_table(request);
  if (!options.parse(arguments)) return 0;
  require_outputs(request);
  const OpenedModel opened = open_model(request.model.directory, request.model.nesting);
  const NestedModel& model = opened.model;
  if (!model.one_output) {
    fail("cannot write features: the model says each next token, and no class of an example");
  }
  Widths widths = model.space.full();
  if (!request.widths.empty()) {
    widths = parse_widths(request.widths, model.layers());
    model.space.require(widths);
  }
  read_as_model(request.data, opened);
  const std::unique_ptr<const Examples> data = load_examples(request.data, model);
  const InterruptGuard guard;
  ProgressBar bar("encoding");
  Features features{feature_size(model), {}, {}};
  features.vectors = open_engine(request.device.device)
                         .load(model, opened.checkpoint, request.device)
                         ->features(widths, *data, shown_on(bar, guard));
  features.labels.resize(static_cast<std::size_t>(data->count));
  data->read_targets(0, data->count, features.labels);
  write_features(request.out, features);
  bar.note(fmt::format("{} vectors of {} numbers, by {}", features.count(), features.dimension,
                       to_string(widths)));
  return 0;
}

}  // namespace mnm
