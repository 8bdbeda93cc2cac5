#include "image/unfinished_set.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>

#include "dataset/npy.h"
#include "model/error.h"
#include "model/files.h"

namespace mnm {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kHead = 128;  // of images.npy
constexpr const char* kJournal = "journal";

int open_file(const fs::path& path, int flags) {
  const int descriptor = open(path.c_str(), flags | O_CLOEXEC, 0666);
  if (descriptor < 0) fail("cannot write {}: {}", path.string(), std::strerror(errno));
  return descriptor;
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

}  // namespace

UnfinishedSet::UnfinishedSet(fs::path directory, const std::string& identity,
                             std::uint64_t row_bytes)
    : directory_(std::move(directory)), row_bytes_(row_bytes) {
  std::error_code error;
  fs::create_directory(directory_, error);
  if (error) fail("cannot make {}: {}", directory_.string(), error.message());
  try {
    lock_ = open_file(directory_, O_RDONLY | O_DIRECTORY);
    if (flock(lock_, LOCK_EX | LOCK_NB) != 0) {
      fail("cannot write {}: another process is writing it", directory_.string());
    }
    pixels_ = open_file(directory_ / kImagesFile, O_RDWR | O_CREAT);
    journal_ = open_file(directory_ / kJournal, O_RDWR | O_CREAT | O_APPEND);
    read_journal(identity);
  } catch (...) {
    for (const int descriptor : {journal_, pixels_, lock_}) {
      if (descriptor >= 0) close(descriptor);
    }
    throw;
  }
}

UnfinishedSet::~UnfinishedSet() {
  for (const int descriptor : {journal_, pixels_, lock_}) close(descriptor);
}

void UnfinishedSet::read_journal(const std::string& identity) {
  const fs::path path = directory_ / kJournal, pixels = directory_ / kImagesFile;
  const std::string text = read_text(path, std::uint64_t{1} << 30);
  const std::string first = identity + "\n";
  std::size_t sound = 0;  // bytes
  if (text.starts_with(first)) {
    sound = first.size();
    const std::uint64_t stored = fs::file_size(pixels);
    for (std::size_t end; (end = text.find('\n', sound)) != std::string::npos; sound = end + 1) {
      const auto line = nlohmann::json::parse(text.substr(sound, end - sound), nullptr, false);
      if (!line.is_object() || !line.contains("next") || !line.contains("broken")) break;
      std::vector<Broken> broken = broken_;
      for (const auto& [index, why] : line["broken"].items()) {
        broken.push_back({std::stoll(index), why.get<std::string>()});
      }
      const auto next = line["next"].get<std::int64_t>();
      const auto rows = static_cast<std::uint64_t>(next) - broken.size();
      if (kHead + rows * row_bytes_ > stored) break;
      next_ = next;
      broken_ = std::move(broken);
    }
  }
  cut_to(journal_, path, sound);
  cut_to(pixels_, pixels, kHead + static_cast<std::uint64_t>(rows()) * row_bytes_);
  if (sound == 0) write_at(journal_, path, 0, first.data(), first.size());
}

void UnfinishedSet::append(std::span<const std::uint8_t> pixels, std::int64_t next,
                           std::vector<Broken> broken) {
  const std::uint64_t at = kHead + static_cast<std::uint64_t>(rows()) * row_bytes_;
  write_at(pixels_, directory_ / kImagesFile, at, pixels.data(), pixels.size());
  nlohmann::json line = {{"next", next}, {"broken", nlohmann::json::object()}};
  for (Broken& image : broken) {
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
  fs::rename(from, path);
}

void UnfinishedSet::remove() { fs::remove_all(directory_); }

}  // namespace mnm
