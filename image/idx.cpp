#include "image/idx.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>
#include <utility>

#include "image/gzip.h"
#include "model/error.h"
#include "model/files.h"
#include "model/fingerprint.h"

namespace mnm {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kMostBytes = std::uint64_t{1} << 40;

// The bytes of a file of so many dimensions, and its sizes.
struct IdxFile {
  IdxFile(const fs::path& path, std::size_t dimensions) {
    const MappedFile file(path);
    const std::string name = path.string();
    const bool zipped = is_gzip(file.bytes());
    const auto first = [&](std::uint64_t most) {
      if (zipped) return gunzip(file.bytes(), name, most);
      const auto head = file.bytes().first(std::min<std::uint64_t>(most, file.bytes().size()));
      return std::vector<std::byte>(head.begin(), head.end());
    };
    const std::size_t head = 4 + 4 * dimensions;
    const std::vector<std::byte> header = first(head);
    const auto number = [&](std::size_t at) {
      std::uint32_t value = 0;
      for (std::size_t i = 0; i < 4; ++i) {
        value = value << 8 | std::to_integer<std::uint32_t>(header[at + i]);
      }
      return value;
    };
    const std::uint32_t magic = 0x800 + static_cast<std::uint32_t>(dimensions);
    if (header.size() < head || number(0) != magic) {
      fail("cannot read {}: it is no IDX file of {} (bytes with {} dimensions, magic {:#x})", name,
           dimensions == 1 ? "labels" : "pictures", dimensions, magic);
    }
    std::uint64_t bytes = 1;
    for (std::size_t i = 0; i < dimensions; ++i) {
      sizes.push_back(number(4 + 4 * i));
      if (sizes.back() != 0 && bytes > kMostBytes / sizes.back()) {
        fail("cannot read {}: its header says sizes of {}, which are too large", name,
             fmt::join(sizes, " x "));
      }
      bytes *= sizes.back();
    }
    content = first(head + bytes + 1);
    if (content.size() != head + bytes) {
      fail("cannot read {}: its header says {} bytes of data, it holds {}", name, bytes,
           content.size() > head + bytes ? "more" : std::to_string(content.size() - head));
    }
    content.erase(content.begin(), content.begin() + static_cast<std::ptrdiff_t>(head));
  }

  std::vector<std::uint64_t> sizes;
  std::vector<std::byte> content;
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
      : pixels_(pictures, 3),
        extent_{static_cast<std::int64_t>(pixels_.sizes[1]),
                static_cast<std::int64_t>(pixels_.sizes[2])} {
    kind = "idx";
    const fs::path path = options.labels.empty() ? labels_beside(pictures) : options.labels;
    const IdxFile labels(path, 1);
    if (labels.sizes[0] != pixels_.sizes[0]) {
      fail("cannot read {}: it has {} pictures, and {} has {} labels", pictures.string(),
           pixels_.sizes[0], path.string(), labels.sizes[0]);
    }
    for (std::size_t i = 0; i < labels.content.size(); ++i) {
      images.push_back({std::to_string(i), std::to_integer<std::int64_t>(labels.content[i])});
    }
    classes = class_names(images, options.classes, pictures.string());
    Fingerprint print;
    print.add(fmt::format("{} x {}", extent_.height, extent_.width));
    print.add(std::span(pixels_.content));
    print.add(std::span(labels.content));
    fingerprint = print.hex();
  }

  Image decode(std::size_t index, const DecodeOptions& options) const override {
    if (extent_.height < 1 || extent_.width < 1) {
      fail("cannot decode picture {}: it has {} x {} pixels", images[index].name, extent_.width,
           extent_.height);
    }
    if (exceeds(extent_, options.max_pixels)) {
      fail("cannot decode picture {}: it has {} x {} pixels, the limit is {} in all",
           images[index].name, extent_.width, extent_.height, options.max_pixels);
    }
    Image image = blank_image(extent_, 1);
    const auto* const from = reinterpret_cast<const std::uint8_t*>(pixels_.content.data());
    std::copy_n(from + index * image.pixels.size(), image.pixels.size(), image.pixels.begin());
    return in_channels(std::move(image), options.channels);
  }

 private:
  IdxFile pixels_;
  Extent extent_;
};

}  // namespace

std::unique_ptr<ImageSource> open_idx(const fs::path& pictures, const SourceOptions& options) {
  return std::make_unique<Idx>(pictures, options);
}

}  // namespace mnm
