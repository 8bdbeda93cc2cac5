#include "image/image_folder.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstring>
#include <map>
#include <string_view>
#include <system_error>
#include <utility>

#include "base/directory.h"
#include "base/error.h"
#include "base/file.h"
#include "model/fingerprint.h"

namespace mnm {
namespace {

namespace fs = std::filesystem;

class ImageFolder final : public ImageSource {
 public:
  explicit ImageFolder(fs::path root) : root_(std::move(root)) {
    kind = "folder";
    enter(root_);
    for (const fs::directory_entry& entry : list_directory(root_)) {
      if (is_folder(entry)) {
        classes.push_back(entry.path().filename().string());
      } else if (is_image_name(entry.path())) {
        ++without_class;
      }
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
    return decode_image(read_encoded(file, 0, file.bytes().size(), name, options), name, options);
  }

 private:
  void list(std::size_t label, Fingerprint& print) {
    std::vector<std::pair<std::string, std::string>> found;  // folder, name
    std::vector<fs::path> folders = {root_ / classes[label]};
    while (!folders.empty()) {
      const fs::path folder = std::move(folders.back());
      folders.pop_back();
      enter(folder);
      for (const fs::directory_entry& entry : list_directory(folder)) {
        if (is_folder(entry)) {
          folders.push_back(entry.path());
        } else if (is_image_name(entry.path())) {
          found.emplace_back(folder.lexically_relative(root_).string(),
                             entry.path().filename().string());
        }
      }
    }
    std::ranges::sort(found);
    for (const auto& [folder, name] : found) {
      images.push_back({folder + "/" + name, static_cast<std::int64_t>(label)});
      const fs::path path = root_ / images.back().name;
      std::error_code ignored;  // such a picture is broken
      print.add(images.back().name);
      print.add(fmt::format("{} {} {}", label, fs::file_size(path, ignored),
                            fs::last_write_time(path, ignored).time_since_epoch().count()));
    }
  }

  // A link that leads nowhere may have led to a folder of pictures, unless it is named as a
  // picture.
  bool is_folder(const fs::directory_entry& entry) const {
    std::error_code error;
    const fs::file_status status = entry.status(error);
    if (!fs::status_known(status) || !fs::exists(status)) {
      if (is_image_name(entry.path())) return false;
      fail("cannot read images from {}: '{}' cannot be followed: {}", root_.string(),
           entry.path().string(), error.message());
    }
    return fs::is_directory(status);
  }

  // Links can lead to one folder in any number of ways, and around in a circle.
  void enter(const fs::path& folder) {
    struct stat status {};
    if (stat(folder.c_str(), &status) != 0) {
      fail("cannot list '{}': {}", folder.string(), std::strerror(errno));
    }
    const auto [known, fresh] = entered_.emplace(std::pair(status.st_dev, status.st_ino), folder);
    if (fresh) return;
    fail("cannot read images from {}: {} and {} are one folder, expected each picture once",
         root_.string(), known->second.string(), folder.string());
  }

  fs::path root_;
  std::map<std::pair<dev_t, ino_t>, fs::path> entered_;
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
