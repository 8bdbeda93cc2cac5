#include "image/image_folder.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <string_view>
#include <utility>

#include "model/error.h"
#include "model/files.h"
#include "model/fingerprint.h"

namespace mnm {
namespace {

namespace fs = std::filesystem;

class ImageFolder final : public ImageSource {
 public:
  explicit ImageFolder(fs::path root) : root_(std::move(root)) {
    kind = "folder";
    for (const fs::directory_entry& entry : fs::directory_iterator(root_)) {
      if (entry.is_directory()) classes.push_back(entry.path().filename().string());
    }
    if (classes.empty()) {
      fail("cannot read images from {}: it has no folders, expected one for each class",
           root_.string());
    }
    std::ranges::sort(classes);
    Fingerprint print;
    for (std::size_t label = 0; label < classes.size(); ++label) list(label, print);
    fingerprint = print.hex();
  }

  Image decode(std::size_t index, const DecodeOptions& options) const override {
    const std::string& name = images[index].name;
    const MappedFile file(root_ / name);
    // Read, not mapped: a file may shrink while it is decoded.
    std::vector<std::byte> bytes(file.bytes().size());
    file.read(0, bytes);
    return decode_image(bytes, name, options);
  }

 private:
  void list(std::size_t label, Fingerprint& print) {
    std::vector<std::pair<std::string, std::string>> found;  // folder, name
    for (const fs::directory_entry& entry :
         fs::recursive_directory_iterator(root_ / classes[label])) {
      if (!entry.is_regular_file() || !is_image_name(entry.path())) continue;
      found.emplace_back(entry.path().parent_path().lexically_relative(root_).string(),
                         entry.path().filename().string());
    }
    std::ranges::sort(found);
    for (const auto& [folder, name] : found) {
      images.push_back({folder + "/" + name, static_cast<std::int64_t>(label)});
      const fs::path path = root_ / images.back().name;
      print.add(images.back().name);
      print.add(fmt::format("{} {} {}", label, fs::file_size(path),
                            fs::last_write_time(path).time_since_epoch().count()));
    }
  }

  fs::path root_;
};

}  // namespace

bool is_image_name(const fs::path& name) {
  constexpr std::string_view kEnds[] = {".jpg", ".jpeg", ".png",  ".ppm", ".bmp", ".pgm",
                                        ".tif", ".tiff", ".webp", ".gif", ".avif"};
  std::string end = name.extension().string();
  std::ranges::transform(end, end.begin(), [](unsigned char c) { return std::tolower(c); });
  return std::ranges::find(kEnds, end) != std::end(kEnds);
}

std::unique_ptr<ImageSource> open_image_folder(const fs::path& root) {
  return std::make_unique<ImageFolder>(root);
}

}  // namespace mnm
