#include "image/webdataset.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <iterator>
#include <optional>
#include <set>
#include <string_view>

#include "base/error.h"
#include "image/image_folder.h"
#include "image/tar.h"
#include "model/fingerprint.h"

namespace mnm {
namespace {

namespace fs = std::filesystem;

struct MemberName {
  std::string_view key, end;  // "shard/000017", ".jpg"
};

MemberName split(std::string_view name) {
  const std::size_t slash = name.rfind('/');
  const std::size_t point = name.find('.', slash == std::string_view::npos ? 0 : slash + 1);
  if (point == std::string_view::npos) return {name, {}};
  return {name.substr(0, point), name.substr(point)};
}

// The last parts of a path, as many as `parts` says or as there are.
std::string end_of(const fs::path& path, std::ptrdiff_t parts) {
  const std::ptrdiff_t all = std::distance(path.begin(), path.end());
  fs::path end;
  for (auto it = std::next(path.begin(), std::max<std::ptrdiff_t>(all - parts, 0));
       it != path.end(); ++it) {
    end /= *it;
  }
  return end.string();
}

// What the archives are called in the set: their file names, with as many of their folders as tell
// all of them apart. UsageError if one is given twice.
std::vector<std::string> names_apart(std::span<const fs::path> archives) {
  std::set<fs::path> paths;
  for (const fs::path& archive : archives) {
    if (!paths.insert(fs::absolute(archive).lexically_normal()).second) {
      fail_usage("the archive {} is given twice", archive.string());
    }
  }
  for (std::ptrdiff_t parts = 1;; ++parts) {
    std::vector<std::string> names;
    for (const fs::path& archive : archives) {
      names.push_back(end_of(fs::absolute(archive).lexically_normal(), parts));
    }
    if (std::set(names.begin(), names.end()).size() == names.size()) return names;
  }
}

// Members of one key.
struct Example {
  const TarMember* picture = nullptr;
  std::optional<std::int64_t> label;
};

class WebDataset final : public ImageSource {
 public:
  WebDataset(std::span<const fs::path> archives, const SourceOptions& options)
      : names_(names_apart(archives)) {
    kind = "webdataset";
    Fingerprint print;
    for (const fs::path& path : archives) {
      const MappedFile& file = archives_.emplace_back(path);
      if (!is_tar(file)) fail("cannot read {}: it is no tar archive", path.string());
      print.add(fmt::format("{} {}", file.bytes().size(),
                            fs::last_write_time(path).time_since_epoch().count()));
      read(archives_.size() - 1);
      file.check_unchanged();
    }
    classes = class_names(images, options.classes, archives.front().string());
    for (const ListedImage& image : images)
      print.add(fmt::format("{} {}", image.name, image.label));
    fingerprint = print.hex();
  }

  Image decode(std::size_t index, const DecodeOptions& options) const override {
    const Place& place = places_[index];
    const std::string& name = images[index].name;
    return decode_image(
        read_encoded(archives_[place.archive], place.offset, place.size, name, options), name,
        options);
  }

  void check_unchanged() const override {
    for (const MappedFile& archive : archives_) archive.check_unchanged();
  }

 private:
  struct Place {
    std::size_t archive = 0;
    std::uint64_t offset = 0, size = 0;
  };

  void read(std::size_t archive) {
    const MappedFile& file = archives_[archive];
    const std::string shown = file.path().string();
    const std::vector<TarMember> members = list_tar(file.bytes(), shown);
    std::set<std::string_view> keys;
    for (std::size_t i = 0; i < members.size();) {
      const std::string_view key = split(members[i].name).key;
      if (!keys.insert(key).second) {
        fail("cannot read {}: members of '{}' do not follow each other", shown, key);
      }
      Example example;
      for (; i < members.size() && split(members[i].name).key == key; ++i) {
        take(members[i], file, example);
      }
      add(example, key, archive);
    }
  }

  static void take(const TarMember& member, const MappedFile& file, Example& example) {
    const std::string_view end = split(member.name).end;
    if (end == ".cls") {
      const std::string_view text(
          reinterpret_cast<const char*>(file.bytes().data() + member.offset), member.size);
      if (example.label) {
        fail("cannot read {}: '{}' is the second class of its key", file.path().string(),
             member.name);
      }
      std::int64_t label = 0;
      const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), label);
      const std::string_view tail = text.substr(static_cast<std::size_t>(rest - text.data()));
      if (error != std::errc() || tail.find_first_not_of(" \r\n") != std::string_view::npos) {
        fail("cannot read {}: '{}' holds no number of a class", file.path().string(), member.name);
      }
      example.label = label;
    } else if (is_image_name(fmt::format("picture{}", end))) {
      if (example.picture) {
        fail("cannot read {}: '{}' is the second picture of its key", file.path().string(),
             member.name);
      }
      example.picture = &member;
    }
  }

  void add(const Example& example, std::string_view key, std::size_t archive) {
    const std::string shown = archives_[archive].path().string();
    if (!example.picture) {
      if (!example.label) return;  // notes about the set, such as _info.json
      fail("cannot read {}: '{}' has a class and no picture", shown, key);
    }
    if (!example.label) {
      fail("cannot read {}: '{}' has no class, expected '{}.cls'", shown, example.picture->name,
           key);
    }
    images.push_back(
        {fmt::format("{}/{}", names_[archive], example.picture->name), *example.label});
    places_.push_back({archive, example.picture->offset, example.picture->size});
  }

  std::vector<std::string> names_;  // [archives]
  std::vector<MappedFile> archives_;
  std::vector<Place> places_;  // [images]
};

}  // namespace

bool is_tar(const MappedFile& file) { return has_tar_header(file.bytes()); }

std::unique_ptr<ImageSource> open_webdataset(std::span<const fs::path> archives,
                                             const SourceOptions& options) {
  return std::make_unique<WebDataset>(archives, options);
}

}  // namespace mnm
