#include "dataset/image_examples.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/error.h"
#include "base/json.h"
#include "model/fingerprint.h"

namespace mnm {
namespace {

void refuse_options_of_tokens(const ExampleOptions& options, const NestedModel& model) {
  if (options.context != 0 && options.context != model.max_context) {
    fail_usage("a context of {} is not possible: the model computes {} positions of every image",
               options.context, model.max_context);
  }
  if (!options.positions.all()) {
    fail_usage("a share of the positions cannot be scored: the model has one output for an image");
  }
  if (options.format != TokenFormat::kRecognised) {
    fail_usage("a format of tokens was given, but the model reads images");
  }
}

// The names that lie beside the images, if they do.
void check_classes(const std::filesystem::path& directory, std::int64_t classes) {
  const std::filesystem::path path = directory / "classes.json";
  if (!std::filesystem::exists(path)) return;
  const nlohmann::json names = read_json(path);
  if (!names.is_array()) fail("cannot read {}: expected a list of the classes", path.string());
  if (std::cmp_equal(names.size(), classes)) return;
  fail(
      "cannot score images of {}: it has {} classes, and the model {}: use a set with the model's "
      "classes in their order",
      directory.string(), names.size(), classes);
}

void check_images(const ImageFile& file, const std::filesystem::path& directory,
                  const NestedModel& model) {
  const std::vector<std::int64_t> shape = {file.channels(), file.height(), file.width()};
  if (shape != model.input.shape) {
    const bool square = shape[0] == model.input.shape[0] && shape[1] == shape[2];
    fail(
        "cannot score images of {}: they are {} (channels, height, width), and the model reads {}: "
        "make the set with 'mixnmatch images --model'{}",
        directory.string(), fmt::join(shape, " x "), fmt::join(model.input.shape, " x "),
        square ? fmt::format(", or give --image-size {}, to which positions are resized", shape[1])
               : "");
  }
  check_classes(directory, model.vocab_size);
  const std::vector<std::int64_t>& labels = file.labels();
  const auto beyond =
      std::ranges::find_if(labels, [&](std::int64_t label) { return label >= model.vocab_size; });
  if (beyond != labels.end()) {
    fail("cannot score images of {}: image {} has label {}, and the model's labels are 0 to {}",
         directory.string(), beyond - labels.begin(), *beyond, model.vocab_size - 1);
  }
}

using PixelHash = std::string;

// Of each image, counted.
std::unordered_map<PixelHash, std::int64_t> counted(const ImageExamples& set) {
  std::unordered_map<PixelHash, std::int64_t> images;
  for (std::int64_t i = 0; i < set.count; ++i) {
    Fingerprint print;
    print.add(inputs_of(set, i, 1).bytes());
    ++images[print.hex()];
  }
  return images;
}

}  // namespace

InputSpec ImageExamples::input() const {
  return {InputType::kPixels, {file->channels(), file->height(), file->width()}};
}

void ImageExamples::read_inputs(std::int64_t begin, std::int64_t n,
                                std::span<std::byte> out) const {
  file->read(begin, n, {reinterpret_cast<float*>(out.data()), out.size() / sizeof(float)});
}

void ImageExamples::read_targets(std::int64_t begin, std::int64_t n,
                                 std::span<std::int64_t> out) const {
  std::ranges::copy(std::span(file->labels())
                        .subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(n)),
                    out.begin());
}

std::int64_t ImageExamples::shared_with(const Examples& other) const {
  const auto* const same = dynamic_cast<const ImageExamples*>(&other);
  if (!same || same->input() != input()) return 0;
  const auto mine = counted(*this), theirs = counted(*same);
  std::int64_t of_mine = 0, of_theirs = 0;
  for (const auto& [hash, images] : mine) {
    const auto found = theirs.find(hash);
    if (found == theirs.end()) continue;
    of_mine += images;
    of_theirs += found->second;
  }
  return std::max(of_mine, of_theirs);
}

bool is_image_set(const std::filesystem::path& path) {
  std::error_code error;
  return std::filesystem::exists(path / "images.npy", error);
}

ImageExamples load_image_examples(const ExampleOptions& options, const NestedModel& model) {
  refuse_options_of_tokens(options, model);
  if (!is_image_set(options.path)) {
    fail(
        "cannot read images from {}: it is no image set, and the model reads images: 'mixnmatch "
        "images' makes one",
        options.path.string());
  }
  ImageExamples data;
  data.file = std::make_shared<const ImageFile>(
      options.path, options.pixels ? options.pixels() : std::optional<PixelScale>());
  check_images(*data.file, options.path, model);
  data.context = model.max_context;
  data.count = data.file->count();
  if (options.max_tokens > 0) {
    data.count = std::min(data.count, options.max_tokens / data.context);
  }
  if (data.count == 0) {
    fail_usage("{} holds {} images of {} positions each: not one is within the {} to be used",
               options.path.string(), data.file->count(), data.context, options.max_tokens);
  }
  const std::filesystem::path set = std::filesystem::absolute(options.path).lexically_normal();
  data.name = (set.has_filename() ? set : set.parent_path()).filename().string();
  Fingerprint fingerprint;
  fingerprint.add(fmt::format("{} of ", data.count));
  fingerprint.add(data.file->fingerprint());
  data.fingerprint = fingerprint.hex();
  return data;
}

}  // namespace mnm
