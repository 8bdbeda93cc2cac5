#include "image/idx.h"

#include <fmt/format.h>

#include <algorithm>
#include <span>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "base/shell_word.h"
#include "image/gzip.h"
#include "model/fingerprint.h"

namespace mnm {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kMostBytes = std::uint64_t{1} << 40;
constexpr std::uint64_t kMostUnzipped = std::uint64_t{1} << 30;  // bytes, held in memory
constexpr std::uint64_t kMostPictures = std::uint64_t{1} << 24;  // each is listed in memory
constexpr std::size_t kStep = std::size_t{1} << 20;              // bytes read at a time

// A file of bytes in so many dimensions. Its header is read first, and judged before its data.
class IdxFile {
 public:
  IdxFile(const fs::path& path, std::size_t dimensions)
      : file_(path), head_(4 + 4 * dimensions), zipped_(is_gzip(file_.bytes())) {
    std::vector<std::byte> header(std::min<std::uint64_t>(head_, file_.bytes().size()));
    if (zipped_) {
      header = gunzip(file_.bytes(), name(), head_);
    } else {
      file_.read(0, header);
    }
    const auto number = [&](std::size_t at) {
      std::uint32_t value = 0;
      for (std::size_t i = 0; i < 4; ++i) {
        value = value << 8 | std::to_integer<std::uint32_t>(header[at + i]);
      }
      return value;
    };
    const std::uint32_t magic = 0x800 + static_cast<std::uint32_t>(dimensions);
    if (header.size() < head_ || number(0) != magic) {
      fail("cannot read {}: it is no IDX file of {} (bytes with {} dimensions, magic {:#x})",
           name(), dimensions == 1 ? "labels" : "pictures", dimensions, magic);
    }
    for (std::size_t i = 0; i < dimensions; ++i) sizes_.push_back(number(4 + 4 * i));
    require_sizes();
  }

  std::string name() const { return file_.path().string(); }
  std::uint64_t count() const { return sizes_[0]; }
  Extent extent() const {
    return {static_cast<std::int64_t>(sizes_[1]), static_cast<std::int64_t>(sizes_[2])};
  }
  std::uint64_t bytes() const { return bytes_; }  // of the data

  // Before read(). Error if there is not as much data as the header says.
  void load() {
    std::uint64_t held = file_.bytes().size() - std::min(file_.bytes().size(), head_);
    if (zipped_) {
      unzipped_ = gunzip(file_.bytes(), name(), head_ + bytes_ + 1);
      file_.check_unchanged();
      held = unzipped_.size() - std::min(unzipped_.size(), head_);
    }
    if (held != bytes_) {
      fail("cannot read {}: its header says {} bytes of data, it holds {}", name(), bytes_,
           held > bytes_ ? "more" : std::to_string(held));
    }
  }
  void check_unchanged() const {
    if (!zipped_) file_.check_unchanged();
  }
  // Data from `begin` on. Several threads may call this at once.
  void read(std::uint64_t begin, std::span<std::byte> into) const {
    if (zipped_) {
      std::copy_n(unzipped_.data() + head_ + begin, into.size(), into.data());
    } else {
      file_.read(head_ + begin, into);
    }
  }

 private:
  void require_sizes() {
    for (const std::uint64_t size : sizes_) {
      if (size != 0 && bytes_ > kMostBytes / size) {
        fail("cannot read {}: its header says sizes of {}, which are too large", name(),
             fmt::join(sizes_, " x "));
      }
      bytes_ *= size;
    }
    if (count() > kMostPictures) {
      fail("cannot read {}: its header says {} pictures, the limit is {}; split it", name(),
           count(), kMostPictures);
    }
    if (count() > 0 && bytes_ == 0) {
      fail("cannot read {}: its header says sizes of {}, expected at least 1 pixel", name(),
           fmt::join(sizes_, " x "));
    }
    for (std::size_t i = 1; i < sizes_.size(); ++i) {
      if (sizes_[i] <= static_cast<std::uint64_t>(kLargestSide)) continue;
      fail(
          "cannot read {}: its header says sizes of {}, expected pictures with sides of at most {}",
          name(), fmt::join(sizes_, " x "), kLargestSide);
    }
    if (!zipped_) return;
    if (bytes_ > kMostUnzipped) {
      fail(
          "cannot read {}: its header says {} bytes of data, the limit is {} in a gzip file; "
          "unpack it first: {}",
          name(), bytes_, kMostUnzipped, filter_command("gunzip", file_.path(), ""));
    }
    // Each picture costs some bytes besides its pixels.
    if (sizes_.size() > 1 && count() > file_.bytes().size()) {
      fail(
          "cannot read {}: its header says {} pictures, in a gzip file of {} bytes the limit is "
          "one "
          "for each byte; unpack it first: {}",
          name(), count(), file_.bytes().size(), filter_command("gunzip", file_.path(), ""));
    }
    if (bytes_ / kMostRatio > file_.bytes().size()) {
      fail("cannot read {}: its header says {} bytes of data, a gzip file of {} cannot hold them",
           name(), bytes_, file_.bytes().size());
    }
  }

  MappedFile file_;
  std::size_t head_;  // bytes
  bool zipped_;
  std::vector<std::uint64_t> sizes_;
  std::uint64_t bytes_ = 1;
  std::vector<std::byte> unzipped_;  // with the header
};

// The file of labels that goes with one of pictures.
fs::path labels_beside(const fs::path& pictures) {
  std::string name = pictures.filename().string();
  const auto replace = [&](std::string_view from, std::string_view to) {
    const std::size_t at = name.find(from);
    if (at != std::string::npos) name.replace(at, from.size(), to);
    return at != std::string::npos;
  };
  if (replace("images", "labels")) {
    replace("idx3", "idx1");
    const fs::path beside = pictures.parent_path() / name;
    if (fs::exists(beside)) return beside;
    if (name.ends_with(".gz") &&
        fs::exists(pictures.parent_path() / name.substr(0, name.size() - 3))) {
      return pictures.parent_path() / name.substr(0, name.size() - 3);
    }
    if (fs::exists(beside.string() + ".gz")) return beside.string() + ".gz";
  }
  fail("cannot read {}: no file of its labels lies beside it; name it with --labels",
       pictures.string());
}

class Idx final : public ImageSource {
 public:
  Idx(const fs::path& pictures, const SourceOptions& options)
      : pixels_(pictures, 3), extent_(pixels_.extent()) {
    kind = "idx";
    IdxFile labels(options.labels.empty() ? labels_beside(pictures) : options.labels, 1);
    if (labels.count() != pixels_.count()) {
      fail("cannot read {}: it has {} pictures, and {} has {} labels", pictures.string(),
           pixels_.count(), labels.name(), labels.count());
    }
    Fingerprint print;
    print.add(fmt::format("{} x {}", extent_.height, extent_.width));
    std::vector<std::byte> step;
    const auto each = [&](IdxFile& file, const auto& use) {
      file.load();
      for (std::uint64_t at = 0; at < file.bytes(); at += step.size()) {
        step.resize(std::min<std::uint64_t>(kStep, file.bytes() - at));
        file.read(at, step);
        print.add(std::span<const std::byte>(step));
        use(step);
      }
    };
    each(pixels_, [](const auto&) {});
    images.reserve(labels.count());
    each(labels, [&](const std::vector<std::byte>& bytes) {
      for (const std::byte label : bytes) {
        images.push_back({std::to_string(images.size()), std::to_integer<std::int64_t>(label)});
      }
    });
    classes = class_names(images, options.classes, pictures.string());
    fingerprint = print.hex();
  }

  Image decode(std::size_t index, const DecodeOptions& options) const override {
    if (exceeds(extent_, options.max_pixels)) {
      fail("cannot decode picture {}: it has {} x {} pixels, the limit is {} in all",
           images[index].name, extent_.width, extent_.height, options.max_pixels);
    }
    constexpr std::uint64_t kChannels = 1 + 3;  // as it is stored, and as colours
    if (options.reserve) {
      options.reserve(kChannels * static_cast<std::uint64_t>(extent_.height * extent_.width));
    }
    Image image = blank_image(extent_, 1);
    pixels_.read(index * image.pixels.size(), std::as_writable_bytes(std::span(image.pixels)));
    return in_channels(std::move(image), options.channels);
  }

  void check_unchanged() const override { pixels_.check_unchanged(); }

 private:
  IdxFile pixels_;
  Extent extent_;
};

}  // namespace

std::unique_ptr<ImageSource> open_idx(const fs::path& pictures, const SourceOptions& options) {
  return std::make_unique<Idx>(pictures, options);
}

}  // namespace mnm
