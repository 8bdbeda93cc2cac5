#include "dataset/image_file.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/error.h"
#include "dataset/npy.h"
#include "model/fingerprint.h"

namespace mnm {
namespace {

constexpr std::size_t kValues = 256;              // of a byte
constexpr std::uint64_t kLargestSide = 1u << 20;  // so that products of sides stay exact

NpyHeader header_of(const MappedFile& file, std::string_view what) {
  const std::string_view bytes(reinterpret_cast<const char*>(file.bytes().data()),
                               file.bytes().size());
  if (!bytes.starts_with(kNpyMagic)) {
    fail("cannot read {} from {}: it is no .npy file", what, file.path().string());
  }
  NpyHeader header = read_npy_header(file.bytes(), file.path().string(), what);
  if (header.fortran_order && header.shape.size() > 1) {
    fail(
        "cannot read {} from {}: it is in Fortran's order, expected C's: save the array with "
        "numpy.ascontiguousarray",
        what, file.path().string());
  }
  return header;
}

// In f32, step by step.
std::vector<float> scaled_bytes(const PixelScale& scale) {
  std::vector<float> scaled;
  for (std::size_t c = 0; c < scale.mean.size(); ++c) {
    for (std::size_t value = 0; value < kValues; ++value) {
      const auto pixel = static_cast<float>(static_cast<double>(value) * scale.scale);
      scaled.push_back((pixel - static_cast<float>(scale.mean[c])) /
                       static_cast<float>(scale.deviation[c]));
    }
  }
  return scaled;
}

}  // namespace

ImageFile::ImageFile(const std::filesystem::path& directory, const std::optional<PixelScale>& scale)
    : pixels_(directory / "images.npy") {
  read_shape(scale);
  read_labels(directory / "labels.npy");
}

void ImageFile::read_shape(const std::optional<PixelScale>& scale) {
  const std::string name = pixels_.path().string();
  const NpyHeader npy = header_of(pixels_, "images");
  bytes_ = npy.descr == "|u1" || npy.descr == "<u1";
  if (!bytes_ && npy.descr != "<f4") {
    fail(
        "cannot read images from {}: its elements are '{}', expected uint8 or little-endian "
        "float32",
        name, npy.descr);
  }
  const auto& shape = npy.shape;
  const char* const expected =
      bytes_ ? "[N, height, width, channels]" : "[N, channels, height, width]";
  if (shape.size() != 4 || std::any_of(shape.begin() + 1, shape.end(), [](std::uint64_t size) {
        return size < 1 || size > kLargestSide;
      })) {
    fail("cannot read images from {}: the array has shape [{}], expected {}", name,
         fmt::join(shape, ", "), expected);
  }
  if (shape[0] == 0) fail("cannot read images from {}: it holds none", name);
  if (!npy.elements_in(pixels_.bytes().size(), bytes_ ? 1 : sizeof(float))) {
    fail("cannot read images from {}: it has another size than its header says, [{}]", name,
         fmt::join(shape, ", "));
  }
  offset_ = npy.offset;
  const auto size = [&](std::size_t i) { return static_cast<std::int64_t>(shape[i]); };
  channels_ = bytes_ ? size(3) : size(1);
  height_ = bytes_ ? size(1) : size(2);
  width_ = bytes_ ? size(2) : size(3);
  labels_.resize(shape[0]);
  if (!bytes_) return;
  if (!scale) {
    fail(
        "cannot normalise the pixels of {}: the checkpoint has no preprocessor_config.json, and no "
        "pretrained_cfg in config.json",
        name);
  }
  if (static_cast<std::int64_t>(scale->mean.size()) != channels_) {
    fail("cannot normalise the pixels of {}: they have {} channels, the checkpoint has means of {}",
         name, channels_, scale->mean.size());
  }
  scaled_ = scaled_bytes(*scale);
}

void ImageFile::read_labels(const std::filesystem::path& path) {
  const MappedFile file(path);
  const NpyHeader npy = header_of(file, "labels");
  std::size_t width = 0;
  if (npy.descr == "|u1" || npy.descr == "<u1") width = 1;
  if (npy.descr == "<i4") width = 4;
  if (npy.descr == "<i8") width = 8;
  if (width == 0 || npy.shape.size() != 1) {
    fail(
        "cannot read labels from {}: elements '{}' of shape [{}], expected uint8, int32 or int64 "
        "of one dimension",
        path.string(), npy.descr, fmt::join(npy.shape, ", "));
  }
  const auto elements = npy.elements_in(file.bytes().size(), width);
  if (!elements) {
    fail("cannot read labels from {}: it has another size than its header says, [{}]",
         path.string(), npy.shape.front());
  }
  if (*elements != labels_.size()) {
    fail("cannot read {}: it has {} labels, and {} has {} images", path.string(), *elements,
         pixels_.path().string(), labels_.size());
  }
  std::vector<std::byte> bytes(*elements * width);
  file.read(npy.offset, bytes);
  for (std::size_t i = 0; i < labels_.size(); ++i) {
    std::int32_t narrow = 0;
    if (width == 1) labels_[i] = std::to_integer<std::int64_t>(bytes[i]);
    if (width == 4) {
      std::memcpy(&narrow, bytes.data() + 4 * i, 4);
      labels_[i] = narrow;
    }
    if (width == 8) std::memcpy(&labels_[i], bytes.data() + 8 * i, 8);
    if (labels_[i] < 0) {
      fail("cannot read {}: label {} is {}, expected 0 or more", path.string(), i, labels_[i]);
    }
  }
}

void ImageFile::read(std::int64_t begin, std::int64_t n, std::span<float> out) const {
  const auto each = static_cast<std::size_t>(elements());
  const auto first = static_cast<std::uint64_t>(begin) * each;
  if (!bytes_) {
    pixels_.read(offset_ + first * sizeof(float), std::as_writable_bytes(out));
    const auto wrong = std::ranges::find_if_not(out, [](float x) { return std::isfinite(x); });
    if (wrong == out.end()) return;
    fail("cannot read images from {}: image {} has a pixel that is {}, expected finite numbers",
         pixels_.path().string(), begin + (wrong - out.begin()) / elements(), *wrong);
  }
  std::vector<std::byte> image(each);
  const auto channels = static_cast<std::size_t>(channels_), pixels = each / channels;
  for (std::size_t i = 0; i < static_cast<std::size_t>(n); ++i) {
    pixels_.read(offset_ + first + i * each, image);
    float* const to = out.data() + i * each;
    for (std::size_t p = 0; p < pixels; ++p) {
      for (std::size_t c = 0; c < channels; ++c) {
        to[c * pixels + p] =
            scaled_[c * kValues + std::to_integer<std::size_t>(image[p * channels + c])];
      }
    }
  }
}

std::string ImageFile::fingerprint() const {
  Fingerprint print;
  print.add(fmt::format("{} images, {} x {} x {}, {}", count(), channels_, height_, width_,
                        bytes_ ? "uint8" : "f32"));
  print.add(std::as_bytes(std::span(scaled_)));
  print.add(pixels_.bytes().subspan(offset_));
  print.add(std::as_bytes(std::span(labels_)));
  return print.hex();
}

}  // namespace mnm
