#include <fmt/format.h>

#include <thread>

#include "base/error.h"
#include "base/file.h"
#include "base/interrupt.h"
#include "base/quantity.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/output_file.h"
#include "cli/print.h"
#include "cli/progress.h"
#include "image/image_set.h"
#include "image/preprocessor_config.h"
#include "report/table.h"

namespace mnm {
namespace {

constexpr std::size_t kListed = 20;  // broken images, for people

struct Request {
  std::vector<std::string> sources;
  std::filesystem::path out, labels, classes, model;
  std::string convention = "torchvision", filter = "bilinear";
  std::int64_t resize = 0, squash = 0, crop = 0, channels = 3;
  std::int64_t max_pixels = kMaxPixels;
  bool skip_broken = false, force = false, json = false, csv = false;
  int threads = 0;
};

OptionTable option_table(Request& request) {
  OptionTable options(
      "images",
      "Decodes images once into a set: uint8 pixels of one size, labels, and the names of the "
      "classes, as .npy files. Sources are a directory with a folder for each class, MNIST's IDX "
      "files (gzipped too), and WebDataset's tar archives; files are JPEG and PNG. Pixels are "
      "those "
      "that Pillow gives. A checkpoint says how images are resized and cropped; options say it "
      "otherwise. If the command is stopped, the same command goes on from there.");
  options
      .argument("SOURCE", required(texts_value(request.sources, "")),
                "a directory of classes, an IDX file of pictures, or tar archives")
      .option("labels", path_value(request.labels),
              "IDX: the file of labels; else the one beside the pictures")
      .option("classes", path_value(request.classes),
              "a file with the name of a class on each line, for IDX and tar")
      .section("resizing")
      .option("model", path_value(request.model, "DIR"),
              "a checkpoint: take the rules from its preprocessor_config.json, or from "
              "pretrained_cfg in its config.json")
      .option("convention", choice_value(request.convention, kConventions),
              "whose rules of cropping and of EXIF's orientation; only transformers turns images")
      .option("resize", count_value(request.resize, 0, kLargestSide),
              "size of the shorter side, in pixels; 0: not so")
      .option("squash", count_value(request.squash, 0, kLargestSide),
              "size of both sides, whatever the shape; 0: not so")
      .option("crop", count_value(request.crop, 0, kLargestSide),
              "then the size of a square around the centre; 0: none")
      .option("filter", choice_value(request.filter, kResizeFilters), "how pixels are resized")
      .option("channels", count_value(request.channels, 1, 3), "3: colours; 1: grey")
      .section("output")
      .option("out", required(path_value(request.out, "SET")), "the directory to write")
      .option("max-pixels", quantity_value(request.max_pixels, "N"),
              "an image with more pixels is broken; the default is Pillow's limit")
      .option("skip-broken", flag_value(request.skip_broken),
              "leave broken images out; else they stop the command once all are listed")
      .option("threads", threads_value(request.threads), "threads that decode; 0: all")
      .option("force", flag_value(request.force),
              "replace the set if it exists and this program wrote it");
  add_output_options(options, request.json, request.csv);
  return options;
}

// What the checkpoint says, if one is given, and then what options say.
Preparation preparation_of(const Request& request, const OptionTable& options) {
  Preparation preparation;
  if (!request.model.empty()) {
    const auto found = read_preprocessing(request.model);
    if (!found) {
      fail(
          "{} says nothing about images: there is no preprocessor_config.json, and no "
          "pretrained_cfg in config.json; give the rules as options",
          request.model.string());
    }
    preparation = found->preparation;
  }
  const bool own = request.model.empty();
  const auto said = [&](const char* name) { return own || options.given(name); };
  if (request.resize > 0 && request.squash > 0) {
    fail_usage("images: give --resize or --squash, not both");
  }
  if (request.channels == 2) fail_usage("images: --channels must be 1 or 3");
  if (said("convention")) preparation.convention = parse_convention(request.convention);
  if (said("filter")) preparation.filter = parse_resize_filter(request.filter);
  if (said("channels")) preparation.channels = request.channels;
  if (request.resize > 0) {
    preparation.fit = Fit::kShortest;
    preparation.size = {request.resize, request.resize};
  } else if (request.squash > 0) {
    preparation.fit = Fit::kSquash;
    preparation.size = {request.squash, request.squash};
  }
  if (request.crop > 0) {
    preparation.crop = Extent{request.crop, request.crop};
  } else if (options.given("crop")) {
    preparation.crop.reset();
  }
  return preparation;
}

std::vector<std::string> lines_of(const std::filesystem::path& path) {
  std::vector<std::string> lines;
  if (path.empty()) return lines;
  const std::string text = read_text(path);
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    std::string line = text.substr(at, end - at);
    if (line.ends_with('\r')) line.pop_back();
    lines.push_back(std::move(line));
    at = end + 1;
  }
  if (lines.empty()) fail("{} is empty, expected the name of a class on each line", path.string());
  return lines;
}

ImageSetResult make(const Request& request, const ImageSource& source,
                    const Preparation& preparation) {
  const InterruptGuard guard;
  ImageSetOptions options;
  options.target = request.out;
  options.replaceable = replaceable(request.force);
  options.max_pixels = request.max_pixels;
  options.skip_broken = request.skip_broken;
  options.threads = request.threads > 0 ? static_cast<unsigned>(request.threads)
                                        : std::max(1u, std::thread::hardware_concurrency());
  ProgressBar bar("decoding");
  double before = -1;  // images that an earlier call had decoded
  const ProgressSink sink = [&](const Progress& progress) {
    if (before < 0) before = progress.done;
    const double done = progress.done - before, seconds = bar.seconds();
    const double left = seconds_left(done / std::max(progress.total - before, 1.0), seconds);
    bar.show(progress.share(),
             fmt::format("{:.0f} of {:.0f} images, {:.0f}/s, {} left", progress.done,
                         progress.total, done / std::max(seconds, 1e-9), duration_text(left)));
    return !guard.interrupted();
  };
  return make_image_set(source, preparation, options, sink);
}

void list_broken(const ImageSetResult& result) {
  for (std::size_t i = 0; i < std::min(result.broken.size(), kListed); ++i) {
    note("{}\n", result.broken[i].why);
  }
  if (result.broken.size() > kListed) {
    note("... and {} more broken images\n", result.broken.size() - kListed);
  }
}

void print_result(const Request& request, const ImageSource& source, const Preparation& preparation,
                  const ImageSetResult& result) {
  const OutputFormat format = output_format(request.json, request.csv);
  Table table{{{"images", "images"},
               {"broken", "broken"},
               {"classes", "classes"},
               {"height", "height"},
               {"width", "width"},
               {"channels", "channels"},
               {"preparation", "preparation", false},
               {"path", "written to", false}},
              {}};
  table.rows.push_back({cell(result.count), cell(static_cast<std::int64_t>(result.broken.size())),
                        cell(static_cast<std::int64_t>(source.classes.size())),
                        cell(result.extent.height), cell(result.extent.width),
                        cell(result.channels), cell(preparation.text()),
                        cell(request.out.string())});
  print_table(table, format);
}

}  // namespace

int images_command(const Arguments& arguments) {
  Request request;
  OptionTable options = option_table(request);
  if (!options.parse(arguments)) return 0;
  output_format(request.json, request.csv);  // before any work
  const Preparation preparation = preparation_of(request, options);
  const std::vector<std::filesystem::path> paths(request.sources.begin(), request.sources.end());
  for (const auto& path : paths) require_apart(request.out, path);
  for (const auto& path : {request.labels, request.classes, request.model}) {
    require_apart(request.out, path);
  }
  require_target(request.out, request.force);
  const auto source = open_image_source(paths, {request.labels, lines_of(request.classes)});
  if (source->without_class > 0) {
    note("{} holds images beside its folders of classes, which are left out: {}\n",
         paths.front().string(), source->without_class);
  }
  ImageSetResult result;
  try {
    result = make(request, *source, preparation);
  } catch (const Stopped&) {
    note("stopped; the same command goes on from {}\n", unfinished_set(request.out).string());
    return 1;
  }
  if (result.resumed > 0) {
    note("{} of {} images were read by an earlier run\n", result.resumed, source->images.size());
  }
  list_broken(result);
  if (!result.written) {
    if (result.count == 0) {
      fail("none of {} images can be read, so {} was not written", source->images.size(),
           request.out.string());
    }
    fail(
        "{} of {} images are broken, so {} was not written; leave them out with --skip-broken, "
        "which goes on from {}",
        result.broken.size(), source->images.size(), request.out.string(),
        unfinished_set(request.out).string());
  }
  print_result(request, *source, preparation, result);
  return 0;
}

}  // namespace mnm
