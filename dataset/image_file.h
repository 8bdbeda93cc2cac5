// Sets of images as models take them: pixels of f32, normalised, and the number of each image's
// class. docs/formats.md describes the files ("Image sets"); `mixnmatch images` and numpy.save make
// them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/file.h"
#include "dataset/pixel_scale.h"

namespace mnm {

// images.npy and labels.npy of a directory. The pixels stay in the file and are read as they are
// needed. They are one of
//   uint8 [N, height, width, channels]   to which a PixelScale is applied
//   f32 [N, channels, height, width]     normalised already, taken as it is
// Labels are uint8, int32 or int64 [N].
class ImageFile {
 public:
  // Error, which names the file, if one is absent, is no .npy array of such a type and shape or has
  // another size than its header says; if there are no images, or not as many labels; if a label is
  // negative; and if uint8 pixels come without a scale, or with one of other channels.
  ImageFile(const std::filesystem::path& directory, const std::optional<PixelScale>& scale);

  std::int64_t count() const { return static_cast<std::int64_t>(labels_.size()); }
  std::int64_t channels() const { return channels_; }
  std::int64_t height() const { return height_; }
  std::int64_t width() const { return width_; }
  std::int64_t elements() const { return channels_ * height_ * width_; }  // of an image

  // Images [begin, begin + n): [n, channels, height, width], n * elements() numbers. Error, which
  // names the image, if a number of an f32 file is not finite.
  void read(std::int64_t begin, std::int64_t n, std::span<float> out) const;
  const std::vector<std::int64_t>& labels() const { return labels_; }  // [count]
  std::string fingerprint() const;  // of what read() gives, and of the labels

 private:
  void read_shape(const std::optional<PixelScale>& scale);
  void read_labels(const std::filesystem::path& path);

  MappedFile pixels_;
  bool bytes_ = true;         // uint8, else f32
  std::uint64_t offset_ = 0;  // of the first pixel's byte
  std::int64_t channels_ = 0, height_ = 0, width_ = 0;
  // By channel and value: what a byte becomes.
  std::vector<float> scaled_;  // [channels * 256]
  std::vector<std::int64_t> labels_;
};

}  // namespace mnm
