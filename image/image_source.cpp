#include "image/image_source.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "base/shell_word.h"
#include "image/idx.h"
#include "image/image_folder.h"
#include "image/webdataset.h"

namespace mnm {

std::vector<std::byte> read_encoded(const MappedFile& file, std::uint64_t begin, std::uint64_t size,
                                    const std::string& name, const DecodeOptions& options) {
  const std::uint64_t most = most_encoded(options);
  if (size > most) {
    fail("cannot decode {}: its file has {} bytes, the limit is {} for {} pixels", name, size, most,
         options.max_pixels);
  }
  if (options.reserve) options.reserve(size);
  // Read, not mapped: a file may shrink while it is decoded.
  std::vector<std::byte> bytes(size);
  file.read(begin, bytes);
  return bytes;
}

std::vector<std::string> class_names(const std::vector<ListedImage>& images,
                                     const std::vector<std::string>& given,
                                     const std::string& source) {
  constexpr std::int64_t kMost = 1'000'000;
  std::int64_t largest = -1;
  for (const ListedImage& image : images) {
    if (image.label < 0 || image.label >= kMost) {
      fail("cannot read {}: {} has label {}, expected 0 to {}", source, image.name, image.label,
           kMost - 1);
    }
    if (!given.empty() && image.label >= static_cast<std::int64_t>(given.size())) {
      fail("cannot read {}: {} has label {}, but there are {} names of classes", source, image.name,
           image.label, given.size());
    }
    largest = std::max(largest, image.label);
  }
  if (!given.empty()) return given;
  std::vector<std::string> names;
  for (std::int64_t i = 0; i <= largest; ++i) names.push_back(std::to_string(i));
  return names;
}

std::unique_ptr<ImageSource> open_image_source(std::span<const std::filesystem::path> paths,
                                               const SourceOptions& options) {
  if (paths.empty()) fail_usage("no source of images is given");
  const std::filesystem::path& first = paths.front();
  if (!std::filesystem::exists(first)) fail("cannot read images: there is no {}", first.string());
  const bool directory = std::filesystem::is_directory(first);
  if (first.extension() == ".tgz" || first.stem().extension() == ".tar") {
    const bool gzip = first.extension() == ".tgz" || first.extension() == ".gz";
    fail("cannot read {}: it is compressed; unpack it first{}", first.string(),
         gzip ? ": " + filter_command("gunzip", first, first.extension() == ".gz" ? "" : ".tar")
              : std::string());
  }
  const bool archive = !directory && is_tar(MappedFile(first));
  if (paths.size() > 1 && !archive) {
    fail_usage("{} is no tar archive: of other sources give one alone", first.string());
  }
  if (!options.labels.empty() && (directory || archive)) {
    fail_usage("a file of labels goes with an IDX file, not with {}", first.string());
  }
  std::unique_ptr<ImageSource> source;
  if (directory) {
    if (!options.classes.empty()) {
      fail_usage("the classes of {} are its folders: no other names can be given", first.string());
    }
    source = open_image_folder(first);
  } else if (archive) {
    source = open_webdataset(paths, options);
  } else {
    source = open_idx(first, options);
  }
  if (source->images.empty()) fail("cannot read images from {}: it holds none", first.string());
  return source;
}

}  // namespace mnm
