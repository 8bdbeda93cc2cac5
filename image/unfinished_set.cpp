#include "image/unfinished_set.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstddef>
#include <cstring>
#include <iterator>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "base/own_file.h"
#include "dataset/npy.h"

namespace mnm {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kHead = 128;  // of images.npy
constexpr const char* kJournal = "journal";
constexpr const char* kParts[] = {kJournal, kImagesFile};
constexpr std::uint64_t kLongestJournal = std::uint64_t{1} << 30;      // bytes
constexpr std::string_view kMark = "mixnmatch unfinished image set ";  // a journal's first bytes
constexpr std::size_t kLongestWhy = std::size_t{1} << 13;  // bytes, of one picture's reason

// Only what an earlier call made is written to: a file of this user that has no second name.
void require_own_file(const struct stat& status, const fs::path& path) {
  if (!is_own_file(status)) {
    fail(
        "cannot write {}: it is no regular file with one name that belongs to this user, so no "
        "earlier call made it; move {} away",
        path.string(), path.parent_path().string());
  }
}

// Makes the directory if nothing is there. Links are not followed.
int open_directory(const fs::path& path) {
  if (mkdir(path.c_str(), 0777) != 0 && errno != EEXIST) {
    fail("cannot make {}: {}", path.string(), std::strerror(errno));
  }
  const int descriptor = open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (descriptor < 0 && (errno == ELOOP || errno == ENOTDIR)) {
    fail("cannot write {}: it is no directory, so no earlier call made it; move it away",
         path.string());
  }
  if (descriptor < 0) fail("cannot write {}: {}", path.string(), std::strerror(errno));
  return descriptor;
}

// Error unless the directory is one that an earlier call left, or empty.
void require_own_directory(int directory, const fs::path& path) {
  struct stat status {};
  if (fstat(directory, &status) != 0) {
    fail("cannot read {}: {}", path.string(), std::strerror(errno));
  }
  if (status.st_uid != geteuid()) {
    fail("cannot write {}: it belongs to another user; move it away", path.string());
  }
  const int copy = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const std::unique_ptr<DIR, int (*)(DIR*)> entries(copy < 0 ? nullptr : fdopendir(copy), closedir);
  if (!entries) {
    const int reason = errno;
    if (copy >= 0) close(copy);
    fail("cannot read {}: {}", path.string(), std::strerror(reason));
  }
  while (const dirent* const entry = readdir(entries.get())) {
    const std::string_view name = entry->d_name;
    if (name == "." || name == "..") continue;
    if (std::ranges::find(kParts, name) == std::end(kParts)) {
      fail("cannot write {}: it holds '{}', which no earlier call made; move it away",
           path.string(), name);
    }
    if (fstatat(directory, entry->d_name, &status, AT_SYMLINK_NOFOLLOW) != 0) {
      fail("cannot read {}: {}", (path / name).string(), std::strerror(errno));
    }
    require_own_file(status, path / name);
  }
}

int open_file(int directory, const fs::path& path, int flags) {
  const int descriptor =
      openat(directory, path.filename().c_str(),
             flags | O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0666);
  if (descriptor < 0) fail("cannot write {}: {}", path.string(), std::strerror(errno));
  struct stat status {};
  try {
    if (fstat(descriptor, &status) != 0) {
      fail("cannot read {}: {}", path.string(), std::strerror(errno));
    }
    require_own_file(status, path);
  } catch (...) {
    close(descriptor);
    throw;
  }
  return descriptor;
}

std::uint64_t size_of(int descriptor, const fs::path& path) {
  struct stat status {};
  if (fstat(descriptor, &status) != 0) {
    fail("cannot read {}: {}", path.string(), std::strerror(errno));
  }
  return static_cast<std::uint64_t>(status.st_size);
}

void write_at(int descriptor, const fs::path& path, std::uint64_t at, const void* data,
              std::size_t count) {
  const auto* from = static_cast<const char*>(data);
  while (count > 0) {
    const ssize_t written = pwrite(descriptor, from, count, static_cast<off_t>(at));
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) fail("cannot write {}: {}", path.string(), std::strerror(errno));
    from += written;
    at += static_cast<std::uint64_t>(written);
    count -= static_cast<std::size_t>(written);
  }
}

void cut_to(int descriptor, const fs::path& path, std::uint64_t size) {
  if (ftruncate(descriptor, static_cast<off_t>(size)) != 0) {
    fail("cannot write {}: {}", path.string(), std::strerror(errno));
  }
}

// A number as std::to_string writes it.
std::optional<std::int64_t> decimal(std::string_view text) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || std::to_string(value) != text) return std::nullopt;
  return value;
}

// What one line of the journal adds.
struct Line {
  std::int64_t next = 0;
  std::vector<UnfinishedSet::Broken> broken;  // ascending
};

// Nothing unless the line could follow one that ends before picture `previous`, of a source of
// `total` pictures.
std::optional<Line> parse_line(std::string_view text, std::int64_t previous, std::int64_t total) {
  const auto json = nlohmann::json::parse(text, nullptr, false);
  if (!json.is_object() || json.size() != 2) return std::nullopt;
  const auto next = json.find("next"), broken = json.find("broken");
  if (next == json.end() || !next->is_number_unsigned() || broken == json.end() ||
      !broken->is_object() || next->get<std::uint64_t>() > static_cast<std::uint64_t>(total)) {
    return std::nullopt;
  }
  Line line{next->get<std::int64_t>(), {}};
  if (line.next <= previous) return std::nullopt;
  for (const auto& [key, why] : broken->items()) {
    const auto index = decimal(key);
    if (!index || *index < previous || *index >= line.next || !why.is_string()) return std::nullopt;
    const auto& reason = why.get_ref<const std::string&>();
    // A byte that is no UTF-8 was written as a mark of three.
    if (reason.size() > 3 * kLongestWhy) return std::nullopt;
    line.broken.push_back({*index, reason});
  }
  // A JSON object has its keys in the order of text, "10" before "9".
  std::ranges::sort(line.broken, {}, &UnfinishedSet::Broken::index);
  return line;
}

}  // namespace

UnfinishedSet::UnfinishedSet(fs::path directory, const std::string& identity, std::int64_t total,
                             std::uint64_t row_bytes)
    : directory_(std::move(directory)), row_bytes_(row_bytes) {
  try {
    lock_ = open_directory(directory_);
    if (flock(lock_, LOCK_EX | LOCK_NB) != 0) {
      fail("cannot write {}: another process is writing it", directory_.string());
    }
    require_own_directory(lock_, directory_);
    pixels_ = open_file(lock_, directory_ / kImagesFile, 0);
    journal_ = open_file(lock_, directory_ / kJournal, O_APPEND);
    read_journal(fmt::format("{}{}\n", kMark, identity), total);
  } catch (...) {
    close_all();
    throw;
  }
}

UnfinishedSet::~UnfinishedSet() { close_all(); }

void UnfinishedSet::close_all() {
  for (const int descriptor : {journal_, pixels_, lock_}) {
    if (descriptor >= 0) close(descriptor);
  }
}

void UnfinishedSet::read_journal(const std::string& first, std::int64_t total) {
  const fs::path path = directory_ / kJournal, pixels = directory_ / kImagesFile;
  const std::uint64_t size = size_of(journal_, path), stored = size_of(pixels_, pixels);
  std::string text(std::min(size, kLongestJournal), '\0');
  read_fully(journal_, path, 0, std::as_writable_bytes(std::span(text)));
  // A process that dies as it begins leaves a part of the mark, and no pixels.
  const bool begun = text.starts_with(kMark);
  if (size > kLongestJournal || (!begun && (stored > 0 || !kMark.starts_with(text)))) {
    fail("cannot write {}: its {} is not what an earlier call left; move it away",
         directory_.string(), kJournal);
  }
  if (!text.starts_with(first)) {
    // The pixels go first: pixels without a journal are somebody else's.
    cut_to(pixels_, pixels, 0);
    cut_to(journal_, path, 0);
    write_at(journal_, path, 0, first.data(), first.size());
  } else {
    std::size_t sound = first.size();  // bytes
    for (std::size_t end; (end = text.find('\n', sound)) != std::string::npos; sound = end + 1) {
      auto line = parse_line(std::string_view(text).substr(sound, end - sound), next_, total);
      if (!line) break;
      const auto added = static_cast<std::uint64_t>(line->next - next_) - line->broken.size();
      const std::uint64_t rows_then = static_cast<std::uint64_t>(rows()) + added;
      if (stored < kHead || rows_then > (stored - kHead) / row_bytes_) break;
      next_ = line->next;
      std::ranges::move(line->broken, std::back_inserter(broken_));
    }
    cut_to(journal_, path, sound);
  }
  cut_to(pixels_, pixels, kHead + static_cast<std::uint64_t>(rows()) * row_bytes_);
}

void UnfinishedSet::append(std::span<const std::uint8_t> pixels, std::int64_t next,
                           std::vector<Broken> broken) {
  const std::uint64_t at = kHead + static_cast<std::uint64_t>(rows()) * row_bytes_;
  write_at(pixels_, directory_ / kImagesFile, at, pixels.data(), pixels.size());
  nlohmann::json line = {{"next", next}, {"broken", nlohmann::json::object()}};
  for (Broken& image : broken) {
    if (image.why.size() > kLongestWhy) image.why.resize(kLongestWhy);
    line["broken"][std::to_string(image.index)] = image.why;
    broken_.push_back(std::move(image));
  }
  next_ = next;
  const std::string text =
      line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
  write_at(journal_, directory_ / kJournal, 0, text.data(), text.size());  // O_APPEND: at the end
}

void UnfinishedSet::finish(const Extent& extent, std::int64_t channels, const fs::path& path) {
  const fs::path from = directory_ / kImagesFile;
  const std::int64_t shape[] = {rows(), extent.height, extent.width, channels};
  const std::string head = npy_head("|u1", shape, kHead);
  write_at(pixels_, from, 0, head.data(), head.size());
  if (fsync(pixels_) != 0) fail("cannot write {}: {}", from.string(), std::strerror(errno));
  if (renameat(lock_, kImagesFile, AT_FDCWD, path.c_str()) != 0) {
    fail("cannot move {} to {}: {}", from.string(), path.string(), std::strerror(errno));
  }
}

void UnfinishedSet::remove() {
  // The set is whole by now. What somebody else has put here meanwhile stays.
  for (const char* const name : kParts) unlinkat(lock_, name, 0);
  rmdir(directory_.c_str());
}

}  // namespace mnm
