// A file that several threads read at known offsets, while its size and time of change are watched.
#pragma once

#include <sys/stat.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <vector>

#include "base/file.h"
#include "base/progress.h"

namespace mnm {

class SourceFile {
 public:
  explicit SourceFile(const std::filesystem::path& path);
  SourceFile(const SourceFile&) = delete;
  SourceFile& operator=(const SourceFile&) = delete;
  ~SourceFile();

  const std::filesystem::path& path() const { return path_; }
  std::uint64_t size() const { return stamp_.size; }

  // Reads exactly into.size() bytes from `offset`. Error if the file ends before.
  void read(std::uint64_t offset, std::span<std::byte> into) const;

  // Appends `length` bytes from `offset` to `out`, inside the kernel where it and both file systems
  // can, else through a small buffer. The meter, if any, counts them. Error where the file ends
  // before.
  void copy_to(OutputFile& out, std::uint64_t offset, std::uint64_t length,
               Meter* meter = nullptr) const;

  // Whether files in that directory can share the pages of this one. Then copy_to() copies nothing
  // where both begin their pages alike. This is tried with a temporary file.
  bool shares_pages_with(const std::filesystem::path& directory) const;

  // How the next reads come. kSequential: one after another, so the kernel knows what to read
  // ahead. kAnnounced: as prefetch() announces them.
  enum class Access : std::uint8_t { kSequential, kAnnounced };
  void expect(Access access);
  // Whether the page cache has most of these bytes.
  bool is_cached(std::uint64_t offset, std::uint64_t length) const;
  // Asks the kernel to begin reading these bytes. Returns at once.
  void prefetch(std::uint64_t offset, std::uint64_t length) const;

  // Reads whole blocks. They come straight from the disk, past the page cache, if the file system
  // can do this and expect(kAnnounced) was called. That leaves the cache to the data that are
  // written, and needs no time to find memory in it: 0.08 s of processor time per GB instead of 1.6
  // s on a virtual machine. `offset`, into.data() and into.size() are multiples of kBlock. Past the
  // end of the file nothing is read, or zeros are. Error if the file has become shorter.
  static constexpr std::uint64_t kBlock = 4096;  // enough for nearly all disks
  void read_blocks(std::uint64_t offset, std::span<std::byte> into) const;

  // A mapping of bytes of the file as the kernel holds them; nothing is copied. Bytes that were not
  // fetched are read when they are first used.
  class Window {
   public:
    Window(const SourceFile& file, std::uint64_t offset, std::uint64_t length);
    Window(const Window&) = delete;
    Window& operator=(const Window&) = delete;
    ~Window();

    std::span<const std::byte> bytes() const { return bytes_; }
    // Reads a part of bytes(). Error if the file ends before or cannot be read.
    void fetch(std::span<const std::byte> part) const;
    // One entry for each page of the window. The lowest bit says whether the page cache has the
    // page.
    std::vector<unsigned char> cached_pages() const;

   private:
    const SourceFile& file_;
    std::uint64_t offset_;
    std::span<std::byte> mapped_;  // from the beginning of a page on
    std::span<const std::byte> bytes_;
  };

  // Error if the file is not the one that was opened, or was written since.
  void check_unchanged() const;

 private:
  struct Stamp {
    std::uint64_t device = 0, inode = 0, size = 0;
    std::int64_t seconds = 0, nanoseconds = 0;  // of the last change of content
    friend bool operator==(const Stamp&, const Stamp&) = default;
  };
  static Stamp stamp_of(const struct stat& status);
  void open_direct();

  std::filesystem::path path_;
  int fd_ = -1;
  int direct_ = -1;  // the same past the page cache, or none
  Stamp stamp_;
  Access access_ = Access::kSequential;
};

}  // namespace mnm
