#include "extract/source_file.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

#include "base/error.h"
#include "base/file_clock.h"

#ifndef MADV_POPULATE_READ  // C libraries before 2.35
#define MADV_POPULATE_READ 22
#endif

namespace mnm {
namespace {

// One call of copy_file_range: long enough to make calls rare, short enough that progress and a
// request to stop are never far away (about 10 ms).
constexpr std::uint64_t kCopyStep = 16u << 20;
constexpr std::uint64_t kBuffer = 512u << 10;  // of the fallback
// One POSIX_FADV_WILLNEED reads no more than the device's read-ahead, whose default is this.
constexpr std::uint64_t kPrefetchStep = 128u << 10;

// Errors that mean "not by this way" and not "not at all": an old kernel, two file systems, a file
// system without it, a sandbox that forbids the call.
bool refuses_copy(int error) {
  return error == EXDEV || error == EINVAL || error == ENOSYS || error == EOPNOTSUPP ||
         error == EPERM || error == ETXTBSY;
}

std::uint64_t page_bytes() {
  static const auto bytes = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  return bytes;
}

off_t file_offset(std::uint64_t offset) { return static_cast<off_t>(offset); }

}  // namespace

SourceFile::Stamp SourceFile::stamp_of(const struct stat& status) {
  return {static_cast<std::uint64_t>(status.st_dev), static_cast<std::uint64_t>(status.st_ino),
          static_cast<std::uint64_t>(status.st_size), status.st_mtim.tv_sec,
          status.st_mtim.tv_nsec};
}

SourceFile::SourceFile(const std::filesystem::path& path) : path_(path) {
  fd_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  struct stat status {};
  if (fd_ < 0 || ::fstat(fd_, &status) != 0) {
    const int error = errno;
    if (fd_ >= 0) ::close(fd_);
    fail("cannot read '{}': {}", path.string(), std::strerror(error));
  }
  stamp_ = stamp_of(status);
  let_tick_pass(status.st_mtim);
  ::posix_fadvise(fd_, 0, 0, POSIX_FADV_SEQUENTIAL);
}

SourceFile::~SourceFile() {
  if (direct_ >= 0) ::close(direct_);
  ::close(fd_);
}

void SourceFile::read(std::uint64_t offset, std::span<std::byte> into) const {
  read_fully(fd_, path_, offset, into);
}

void SourceFile::copy_to(OutputFile& out, std::uint64_t offset, std::uint64_t length,
                         Meter* meter) const {
  bool in_kernel = true;
  std::vector<std::byte> buffer;
  // The first step is a short one, after which all begin where OutputFile::write would, and with a
  // page: from there on pages can be shared.
  std::uint64_t step = out.room() < OutputFile::kWrite ? out.room() : kCopyStep;
  while (length > 0) {
    std::uint64_t done = 0;
    if (in_kernel) {
      off_t from = file_offset(offset);
      const ssize_t n =
          ::copy_file_range(fd_, &from, out.descriptor(), nullptr, std::min(length, step), 0);
      if (n < 0 && errno == EINTR) continue;
      // Some file systems answer 0 for what they cannot copy: read() tells that from the end.
      if (n == 0 || (n < 0 && refuses_copy(errno))) {
        in_kernel = false;
        continue;
      }
      if (n < 0) {
        fail("cannot copy {} bytes of '{}' to '{}': {}", length, path_.string(),
             out.path().string(), std::strerror(errno));
      }
      done = static_cast<std::uint64_t>(n);
    } else {
      buffer.resize(static_cast<std::size_t>(std::min(length, kBuffer)));
      read(offset, buffer);
      out.write(buffer);
      done = buffer.size();
    }
    offset += done;
    length -= done;
    step = kCopyStep;
    if (meter != nullptr) meter->add(static_cast<double>(done));
  }
}

bool SourceFile::shares_pages_with(const std::filesystem::path& directory) const {
  if (size() < kPage) return false;
  const int file = ::open(directory.c_str(), O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600);
  if (file < 0) return false;
  file_clone_range range{};
  range.src_fd = fd_;
  range.src_length = kPage;
  const bool shares = ::ioctl(file, FICLONERANGE, &range) == 0;
  ::close(file);
  return shares;
}

void SourceFile::expect(Access access) {
  if (access == access_) return;
  access_ = access;
  if (access == Access::kAnnounced && direct_ < 0) open_direct();
  ::posix_fadvise(fd_, 0, 0,
                  access == Access::kAnnounced ? POSIX_FADV_RANDOM : POSIX_FADV_SEQUENTIAL);
}

// By its name, which may be another file's by now: then there is no way past the page cache.
void SourceFile::open_direct() {
  direct_ = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_DIRECT);
  struct stat status {};
  if (direct_ < 0 || (::fstat(direct_, &status) == 0 && stamp_of(status) == stamp_)) return;
  ::close(direct_);
  direct_ = -1;
}

bool SourceFile::is_cached(std::uint64_t offset, std::uint64_t length) const {
  const Window window(*this, offset, length);
  std::vector<unsigned char> pages = window.cached_pages();
  const auto cached = std::ranges::count_if(pages, [](unsigned char page) { return page & 1; });
  return 2 * static_cast<std::size_t>(cached) >= pages.size();
}

void SourceFile::read_blocks(std::uint64_t offset, std::span<std::byte> into) const {
  if (offset >= size()) return;
  std::uint64_t left = std::min<std::uint64_t>(into.size(), size() - offset);
  while (direct_ >= 0 && left > 0) {
    const ssize_t n = ::pread(direct_, into.data(), into.size(), file_offset(offset));
    if (n < 0 && errno == EINTR) continue;
    // Whatever does not go by this way is read, or refused, in the ordinary one.
    if (n <= 0 || (static_cast<std::uint64_t>(n) < left && n % kBlock != 0)) break;
    const std::uint64_t done = std::min(left, static_cast<std::uint64_t>(n));
    offset += done;
    left -= done;
    into = into.subspan(static_cast<std::size_t>(done));
  }
  read(offset, into.first(static_cast<std::size_t>(left)));
}

void SourceFile::prefetch(std::uint64_t offset, std::uint64_t length) const {
  while (length > 0) {
    const std::uint64_t step = std::min(length, kPrefetchStep);
    ::posix_fadvise(fd_, file_offset(offset), file_offset(step), POSIX_FADV_WILLNEED);
    offset += step;
    length -= step;
  }
}

SourceFile::Window::Window(const SourceFile& file, std::uint64_t offset, std::uint64_t length)
    : file_(file), offset_(offset) {
  const std::uint64_t before = offset % page_bytes();
  const auto size = static_cast<std::size_t>(before + length);
  void* const address =
      ::mmap(nullptr, size, PROT_READ, MAP_SHARED, file.fd_, file_offset(offset - before));
  if (address == MAP_FAILED) {
    fail("cannot map {} bytes of '{}' at byte {}: {}", length, file.path_.string(), offset,
         std::strerror(errno));
  }
  mapped_ = {static_cast<std::byte*>(address), size};
  bytes_ = mapped_.subspan(static_cast<std::size_t>(before));
  ::madvise(address, size, file.access_ == Access::kAnnounced ? MADV_RANDOM : MADV_SEQUENTIAL);
}

std::vector<unsigned char> SourceFile::Window::cached_pages() const {
  std::vector<unsigned char> pages((mapped_.size() + page_bytes() - 1) / page_bytes());
  // Who may not know is told that all are.
  if (::mincore(mapped_.data(), mapped_.size(), pages.data()) != 0) std::ranges::fill(pages, 1);
  return pages;
}

SourceFile::Window::~Window() { ::munmap(mapped_.data(), mapped_.size()); }

void SourceFile::Window::fetch(std::span<const std::byte> part) const {
  const auto at = static_cast<std::size_t>(part.data() - mapped_.data());
  const std::size_t begin = at / page_bytes() * page_bytes();
  if (::madvise(mapped_.data() + begin, at + part.size() - begin, MADV_POPULATE_READ) == 0) return;
  if (errno == EINVAL) return;  // a kernel before 5.14: read when first used
  // Reading in the ordinary way tells what is wrong with the file.
  std::vector<std::byte> buffer(OutputFile::kWrite);
  std::uint64_t from = offset_ + static_cast<std::uint64_t>(part.data() - bytes_.data());
  for (std::size_t left = part.size(); left > 0;) {
    const auto bytes = std::span(buffer).first(std::min(left, buffer.size()));
    file_.read(from, bytes);
    from += bytes.size();
    left -= bytes.size();
  }
}

void SourceFile::check_unchanged() const {
  // By name, so that a file put in this one's place is noticed as well.
  struct stat status {};
  const bool there = ::stat(path_.c_str(), &status) == 0;
  if (there && stamp_of(status) == stamp_) return;
  const bool shorter = there && static_cast<std::uint64_t>(status.st_size) < stamp_.size;
  fail(
      "cannot use what was read of '{}': the file {} while it was read; try again when nothing "
      "writes it",
      path_.string(), shorter ? "was cut short" : "changed");
}

}  // namespace mnm
