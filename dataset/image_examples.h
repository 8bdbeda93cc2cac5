// Images that a classifier is scored on. An example is an image, and its target is the number of
// its class.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "dataset/examples.h"
#include "dataset/image_file.h"

namespace mnm {

class ImageExamples final : public Examples {
 public:
  std::shared_ptr<const ImageFile> file;  // whose first `count` images these are

  std::string_view kind() const override { return "images"; }
  InputSpec input() const override;
  std::int64_t outputs() const override { return 1; }
  void read_inputs(std::int64_t begin, std::int64_t n, std::span<std::byte> out) const override;
  void read_targets(std::int64_t begin, std::int64_t n, std::span<std::int64_t> out) const override;
  // Counts images that have the same pixels, whatever their labels.
  std::int64_t shared_with(const Examples& other) const override;
};

// Whether the directory holds an image set, by the files in it.
bool is_image_set(const std::filesystem::path& path);

// load_examples (dataset/examples.h) for a model that reads pixels.
ImageExamples load_image_examples(const ExampleOptions& options, const NestedModel& model);

}  // namespace mnm
