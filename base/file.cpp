#include "base/file.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <set>
#include <system_error>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/file_clock.h"
#include "base/interrupt.h"
#include "base/output_place.h"

namespace mnm {
namespace {

namespace fs = std::filesystem;

std::string reason(int error) { return std::generic_category().message(error); }

[[noreturn]] void fail_on(std::string_view attempt, const fs::path& path, int error) {
  fail("cannot {} '{}': {}", attempt, path.string(), reason(error));
}

void close_quietly(int& fd) {
  if (fd >= 0) ::close(fd);
  fd = -1;
}

struct OpenedFile {
  int fd = -1;
  std::uint64_t size = 0;
  std::int64_t written = 0;  // nanoseconds
};

std::int64_t written_at(const struct stat& status) {
  return status.st_mtim.tv_sec * std::int64_t{1'000'000'000} + status.st_mtim.tv_nsec;
}

OpenedFile open_regular(const fs::path& path) {
  // O_NONBLOCK: a FIFO under this name must be refused, not waited for.
  OpenedFile file;
  file.fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (file.fd < 0) fail_on("open", path, errno);
  struct stat status {};
  if (::fstat(file.fd, &status) != 0) {
    const int error = errno;
    close_quietly(file.fd);
    fail_on("read", path, error);
  }
  if (!S_ISREG(status.st_mode)) {
    close_quietly(file.fd);
    fail("cannot read '{}': it is {}, not a file", path.string(),
         S_ISDIR(status.st_mode) ? "a directory" : "a device or pipe");
  }
  file.size = static_cast<std::uint64_t>(status.st_size);
  file.written = written_at(status);
  let_tick_pass(status.st_mtim);  // from here on a writer is noticed
  return file;
}

// Makes a rename or creation in `directory` survive a power cut, where the file system can.
void sync_directory(const fs::path& directory) {
  int fd = ::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return;
  ::fsync(fd);
  close_quietly(fd);
}

// The target as parent and name, the name being neither empty nor a dot.
fs::path normal_target(const fs::path& target) {
  fs::path path = target.lexically_normal();
  if (!path.has_filename()) path = path.parent_path();
  if (!path.has_filename() || path.filename() == "." || path.filename() == "..") {
    fail("cannot write '{}': it names no new file or directory", target.string());
  }
  struct stat status {};
  // Known now, and not only once all is written and gets its name.
  if (::lstat(path.c_str(), &status) != 0 && errno == ENAMETOOLONG) {
    fail_on("write", path, ENAMETOOLONG);
  }
  return path;
}

fs::path parent_of(const fs::path& path) {
  return path.has_parent_path() ? path.parent_path() : fs::path(".");
}

void require_parent(const fs::path& target) {
  std::error_code error;
  const fs::path parent = parent_of(target);
  if (fs::is_directory(parent, error)) return;
  if (error && error != std::errc::no_such_file_or_directory) {
    fail_on("write", target, error.value());
  }
  fail("cannot write '{}': there is no directory '{}', make it first", target.string(),
       parent.string());
}

std::string partial_prefix(const fs::path& target) {
  constexpr std::size_t kMost = 200;  // bytes: a name of 255, the most there is, gets no longer
  return fmt::format(".{}.partial-", target.filename().string().substr(0, kMost));
}

// Opens and locks what lies at `path`; -1 if it is gone or somebody else's.
int lock_existing(const fs::path& path) {
  int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  if (fd < 0) return -1;
  struct stat status {};
  // Between opening and locking, a cleaner may have removed it: nothing links to it then.
  if (::flock(fd, LOCK_EX | LOCK_NB) != 0 || ::fstat(fd, &status) != 0 || status.st_nlink == 0) {
    close_quietly(fd);
  }
  return fd;
}

// The empty file beside a directory that is being written. It says that this program made it.
fs::path mark_of(const fs::path& partial) { return fs::path(partial) += ".mark"; }
// Where a replaced directory lies for a moment.
fs::path old_of(const fs::path& partial) { return fs::path(partial) += ".old"; }

void leave_mark(const fs::path& partial) {
  int fd = ::open(mark_of(partial).c_str(), O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0666);
  close_quietly(fd);
}

bool exists_at_all(const fs::path& path) {
  struct stat status {};
  return ::lstat(path.c_str(), &status) == 0;
}

bool is_mark(const fs::path& path) {
  struct stat status {};
  return ::lstat(path.c_str(), &status) == 0 && S_ISREG(status.st_mode) && status.st_size == 0;
}

// Once nothing is left that it stands for.
void remove_mark(const fs::path& partial) {
  if (exists_at_all(partial) || exists_at_all(old_of(partial))) return;
  if (is_mark(mark_of(partial))) ::unlink(mark_of(partial).c_str());
}

// The name that make_partial gave, of the name of what was written so, of its mark or of what it
// replaced: `prefix`, digits, and perhaps a dot and more digits. Empty if it is no such name.
std::string partial_name(std::string name, std::string_view prefix) {
  for (const std::string_view suffix : {".mark", ".old"}) {
    if (name.ends_with(suffix)) name.resize(name.size() - suffix.size());
  }
  if (!name.starts_with(prefix)) return "";
  std::string_view number = std::string_view(name).substr(prefix.size());
  const auto take_digits = [&] {
    const std::size_t digits = std::min(number.find_first_not_of("0123456789"), number.size());
    number.remove_prefix(digits);
    return digits > 0;
  };
  if (!take_digits()) return "";
  if (number.starts_with('.')) {
    number.remove_prefix(1);
    if (!take_digits()) return "";
  }
  return number.empty() ? name : "";
}

// The path by which a user knows what is being written: with the target in place of its partial
// name. Of a target with a longer name than partial_prefix takes, the first part of it.
fs::path known_as(const fs::path& path) {
  constexpr std::string_view kMark = ".partial-";
  fs::path known;
  for (const fs::path& part : path) {
    const std::string name = part.string();
    const std::size_t at = name.rfind(kMark);
    const bool partial = at != name.npos && at > 0 && name.front() == '.' &&
                         !partial_name(name, name.substr(0, at + kMark.size())).empty();
    known /= partial ? name.substr(1, at - 1) : name;
  }
  return known;
}

// Removes what a killed process wrote as `partial`, unless somebody holds it locked: a file, an
// empty directory, or a directory with its mark. Any other directory is not this program's. What
// was at `target` before goes back there, if the process was killed while the name was vacant.
void remove_stale(const fs::path& partial, const fs::path& target) {
  std::error_code ignored;
  const bool marked = is_mark(mark_of(partial));
  int fd = -1;
  if (exists_at_all(partial)) {
    fd = lock_existing(partial);
    if (fd < 0) return;
  }
  if (marked && exists_at_all(target)) {
    fs::remove_all(old_of(partial), ignored);
  } else if (marked) {
    ::rename(old_of(partial).c_str(), target.c_str());
  }
  if (marked || !fs::is_directory(partial, ignored)) {
    fs::remove_all(partial, ignored);
  } else {
    ::rmdir(partial.c_str());
  }
  close_quietly(fd);
  remove_mark(partial);
}

// Removes what killed processes left beside `target`, or puts it back there.
void remove_stale_siblings(const fs::path& target) {
  const std::string prefix = partial_prefix(target);
  const fs::path parent = parent_of(target);
  std::error_code ignored;
  std::set<std::string> names;
  for (fs::directory_iterator it(parent, ignored), end; !ignored && it != end;
       it.increment(ignored)) {
    names.insert(partial_name(it->path().filename().string(), prefix));
  }
  names.erase("");
  for (const std::string& name : names) remove_stale(parent / name, target);
}

// Makes a locked sibling of `target` with `create`, which returns 0 or sets errno. Names that are
// taken are passed over: process numbers repeat between containers that share a directory.
template <typename Create>
std::pair<fs::path, int> make_partial(const fs::path& target, const Create& create) {
  require_parent(target);
  remove_stale_siblings(target);
  const fs::path base = parent_of(target) / fmt::format("{}{}", partial_prefix(target), ::getpid());
  for (int attempt = 0; attempt < 100; ++attempt) {
    fs::path path = base;
    if (attempt > 0) path += fmt::format(".{}", attempt);
    if (create(path) != 0) {
      if (errno == EEXIST) continue;
      fail_on("write", target, errno);
    }
    const int fd = lock_existing(path);
    if (fd >= 0) return {std::move(path), fd};
  }
  fail("cannot write '{}': all temporary names beside it ({}...) are taken", target.string(),
       base.string());
}

// What a link to a directory names, else the path itself.
fs::path followed(fs::path target) {
  std::error_code error;
  if (!fs::is_symlink(target, error) || !fs::is_directory(target, error)) return target;
  return fs::canonical(target);
}

bool unsupported(int error) { return error == EINVAL || error == ENOSYS || error == ENOTSUP; }

}  // namespace

MappedFile::MappedFile(const fs::path& path) : path_(path) {
  const OpenedFile file = open_regular(path);
  fd_ = file.fd;
  written_ = file.written;
  if (file.size == 0) return;
  void* const address = ::mmap(nullptr, file.size, PROT_READ, MAP_SHARED, fd_, 0);
  if (address == MAP_FAILED) {
    const int error = errno;
    close_quietly(fd_);
    fail_on("map", path, error);
  }
  bytes_ = {static_cast<const std::byte*>(address), static_cast<std::size_t>(file.size)};
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : path_(std::move(other.path_)),
      bytes_(std::exchange(other.bytes_, {})),
      written_(other.written_),
      fd_(std::exchange(other.fd_, -1)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  // By way of a temporary, so that what this held is released and self-moves do no harm.
  MappedFile taken(std::move(other));
  std::swap(path_, taken.path_);
  std::swap(bytes_, taken.bytes_);
  std::swap(written_, taken.written_);
  std::swap(fd_, taken.fd_);
  return *this;
}

MappedFile::~MappedFile() {
  if (!bytes_.empty()) ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
  close_quietly(fd_);
}

void MappedFile::read(std::uint64_t offset, std::span<std::byte> into) const {
  read_fully(fd_, path_, offset, into);
  struct stat status {};
  if (::fstat(fd_, &status) == 0 && written_at(status) == written_) return;
  fail(
      "cannot use what was read of '{}': the file was written since it was opened; try again when "
      "nothing writes it",
      path_.string());
}

void MappedFile::check_unchanged() const {
  struct stat opened {
  }, named{};
  if (::fstat(fd_, &opened) == 0 && written_at(opened) == written_ &&
      ::stat(path_.c_str(), &named) == 0 && named.st_dev == opened.st_dev &&
      named.st_ino == opened.st_ino) {
    return;
  }
  fail(
      "cannot use what was read of '{}': the file was written or replaced since it was opened; try "
      "again when nothing writes it",
      path_.string());
}

void read_fully(int descriptor, const fs::path& path, std::uint64_t offset,
                std::span<std::byte> into) {
  while (!into.empty()) {
    const ssize_t n = ::pread(descriptor, into.data(), into.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      fail("cannot read '{}' at byte {}: {}", path.string(), offset, reason(errno));
    }
    if (n == 0) {
      fail("cannot read '{}' at byte {}: the file ends there, it was cut short while it was read",
           path.string(), offset);
    }
    offset += static_cast<std::uint64_t>(n);
    into = into.subspan(static_cast<std::size_t>(n));
  }
}

OutputFile::OutputFile(const fs::path& path) : path_(path) {
  fd_ = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (fd_ < 0) fail_on("write", known_as(path), errno);
}

OutputFile::~OutputFile() { close_quietly(fd_); }

void OutputFile::write(std::span<const std::byte> bytes) { write({&bytes, 1}); }

void OutputFile::write(std::span<const std::span<const std::byte>> pieces) {
  std::uint64_t room = this->room();
  std::vector<iovec> batch;
  for (std::span<const std::byte> piece : pieces) {
    while (!piece.empty()) {
      const auto n = static_cast<std::size_t>(std::min<std::uint64_t>(room, piece.size()));
      batch.push_back({const_cast<std::byte*>(piece.data()), n});
      piece = piece.subspan(n);
      room -= n;
      if (room > 0 && batch.size() < IOV_MAX) continue;
      write_gathered(batch);
      batch.clear();
      if (room == 0) room = kWrite;
    }
  }
  if (!batch.empty()) write_gathered(batch);
}

void OutputFile::write_gathered(std::span<iovec> batch) {
  while (!batch.empty()) {
    const ssize_t n = ::writev(fd_, batch.data(), static_cast<int>(batch.size()));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail_on("write", known_as(path_), errno);
    auto left = static_cast<std::size_t>(n);
    while (!batch.empty() && left >= batch.front().iov_len) {
      left -= batch.front().iov_len;
      batch = batch.subspan(1);
    }
    if (batch.empty()) break;
    batch.front().iov_base = static_cast<std::byte*>(batch.front().iov_base) + left;
    batch.front().iov_len -= left;
  }
}

void OutputFile::write(std::string_view text) { write(std::as_bytes(std::span(text))); }

std::uint64_t OutputFile::room() const {
  const off_t at = ::lseek(fd_, 0, SEEK_CUR);
  return at < 0 ? kWrite : kWrite - static_cast<std::uint64_t>(at) % kWrite;
}

std::uint64_t OutputFile::position() const {
  const off_t at = ::lseek(fd_, 0, SEEK_CUR);
  if (at < 0) fail_on("write", known_as(path_), errno);
  return static_cast<std::uint64_t>(at);
}

void OutputFile::close(Flush flush) {
  if (fd_ < 0) return;
  // Devices and pipes have nothing to flush.
  const bool failed = flush == Flush::kToDisk && ::fsync(fd_) != 0;
  const int flush_error = failed && errno != EINVAL && errno != ENOTSUP ? errno : 0;
  const int close_error = ::close(std::exchange(fd_, -1)) != 0 ? errno : 0;
  if (flush_error != 0) fail_on("write", known_as(path_), flush_error);
  if (close_error != 0) fail_on("write", known_as(path_), close_error);
}

AtomicDirectory::AtomicDirectory(fs::path target, Replaceable replaceable)
    : target_(followed(normal_target(target))), replaceable_(std::move(replaceable)) {
  remove_stale_siblings(target_);  // before anything else is asked about what is at the target
  require_replaceable(target_, replaceable_);
  defer_interrupts();
  std::tie(partial_, lock_) =
      make_partial(target_, [](const fs::path& path) { return ::mkdir(path.c_str(), 0777); });
  leave_mark(partial_);
}

void AtomicDirectory::require_replaceable(const fs::path& given, const Replaceable& replaceable) {
  // "name/" is no directory if "name" is a file, and then nothing seems to be there.
  const fs::path target = followed(normal_target(given));
  require_no_store(target);
  if (!exists_at_all(target)) return;
  std::error_code error;
  if (!fs::is_directory(target, error)) {
    fail("cannot replace '{}': it is no directory, remove it first", target.string());
  }
  if (fs::is_empty(target, error)) return;
  if (!replaceable) {
    fail("cannot write '{}': it exists, choose another place or pass --force", target.string());
  }
  for (fs::directory_iterator it(target, error), end; !error && it != end; it.increment(error)) {
    if (it->is_directory() && !it->is_symlink()) {
      fail(
          "cannot replace '{}': it holds the directory '{}', so it was not written by this "
          "program; remove it yourself or choose another place",
          target.string(), it->path().filename().string());
    }
  }
  if (error) fail_on("replace", target, error.value());
  if (const std::string why_not = replaceable(target); !why_not.empty()) {
    fail("cannot replace '{}': {}; remove it yourself or choose another place", target.string(),
         why_not);
  }
  if (::access(target.c_str(), W_OK | X_OK) != 0) {
    fail("cannot replace '{}': what it holds cannot be removed: {}", target.string(),
         reason(errno));
  }
}

AtomicDirectory::~AtomicDirectory() {
  if (!committed_) {
    std::error_code ignored;
    fs::remove_all(partial_, ignored);
    remove_mark(partial_);
  }
  close_quietly(lock_);
}

void AtomicDirectory::commit(Flush flush) {
  if (flush == Flush::kToDisk) ::fsync(lock_);
  const fs::path old = move_to_target();
  committed_ = true;
  if (flush == Flush::kToDisk) sync_directory(parent_of(target_));
  // The replaced directory is nobody's any more: what cannot be removed now is stale, and removed
  // by the next writer that can.
  std::error_code ignored;
  if (!old.empty()) fs::remove_all(old, ignored);
  remove_mark(partial_);
}

// Gives the partial directory its final name; returns where a replaced one lies now, or nothing.
fs::path AtomicDirectory::move_to_target() {
  const auto rename_with = [&](unsigned flags) {
    const int failed = ::renameat2(AT_FDCWD, partial_.c_str(), AT_FDCWD, target_.c_str(), flags);
    return failed != 0 ? errno : 0;
  };
  const auto require_permission = [&] {
    if (!replaceable_ && !fs::is_empty(target_)) {
      fail("cannot write '{}': it has come into being meanwhile", target_.string());
    }
    require_replaceable(target_, replaceable_);
  };
  int error = rename_with(RENAME_NOREPLACE);
  if (error == 0) return {};
  if (error == EEXIST) {
    require_permission();
    error = rename_with(RENAME_EXCHANGE);
    if (error == 0) return partial_;
  }
  if (!unsupported(error)) fail_on("write", target_, error);

  // A file system without these flags. A plain rename still refuses to replace anything but an
  // empty directory; to replace a full one, the name is vacant for a moment.
  fs::path old;
  if (exists_at_all(target_)) {
    require_permission();
    old = old_of(partial_);
    if (::rename(target_.c_str(), old.c_str()) != 0) fail_on("replace", target_, errno);
  }
  if (::rename(partial_.c_str(), target_.c_str()) != 0) {
    error = errno;
    if (!old.empty()) ::rename(old.c_str(), target_.c_str());
    fail_on("write", target_, error);
  }
  return old;
}

AtomicFile::AtomicFile(const fs::path& target) : target_(normal_target(target)) {
  require_place_of_file(target_);
  defer_interrupts();
  std::tie(partial_, lock_) = make_partial(target_, [](const fs::path& name) {
    int fd = ::open(name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd < 0) return -1;
    close_quietly(fd);
    return 0;
  });
}

AtomicFile::AtomicFile(AtomicFile&& other) noexcept
    : target_(std::move(other.target_)),
      partial_(std::exchange(other.partial_, {})),
      lock_(std::exchange(other.lock_, -1)) {}

AtomicFile::~AtomicFile() {
  if (!partial_.empty()) ::unlink(partial_.c_str());
  close_quietly(lock_);
}

void AtomicFile::commit() {
  if (::rename(partial_.c_str(), target_.c_str()) != 0) fail_on("write", target_, errno);
  partial_.clear();
  sync_directory(parent_of(target_));
}

void write_file_atomically(const fs::path& target, std::string_view content) {
  AtomicFile file(target);
  OutputFile out(file.path());
  out.write(content);
  out.close();
  file.commit();
}

std::string read_text(const fs::path& path, std::uint64_t max_bytes) {
  OpenedFile file = open_regular(path);
  std::string text;
  if (file.size <= max_bytes) text.resize(file.size);
  std::size_t done = 0;
  int error = file.size <= max_bytes ? 0 : EFBIG;
  while (error == 0 && done < text.size()) {
    const ssize_t got = ::read(file.fd, text.data() + done, text.size() - done);
    if (got == 0) break;  // it shrank
    if (got < 0 && errno != EINTR) error = errno;
    if (got > 0) done += static_cast<std::size_t>(got);
  }
  close_quietly(file.fd);
  if (error == EFBIG) {
    fail("cannot read '{}': it has {} bytes, where at most {} make sense", path.string(), file.size,
         max_bytes);
  }
  if (error != 0) fail_on("read", path, error);
  text.resize(done);
  return text;
}

std::uint64_t free_bytes(const fs::path& directory) {
  struct statvfs status {};
  if (::statvfs(directory.c_str(), &status) != 0) {
    fail_on("see the free space of", directory, errno);
  }
  return static_cast<std::uint64_t>(status.f_bavail) * status.f_frsize;
}

void require_space(std::uint64_t bytes, const fs::path& target) {
  const fs::path directory = parent_of(target);
  const std::uint64_t free = free_bytes(directory);
  if (free >= bytes) return;
  fail("cannot write {} bytes to '{}': {} are free there", bytes, known_as(directory).string(),
       free);
}

}  // namespace mnm
