// Files and directories that are written so that a kill never leaves a half-written one under its
// final name.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <string_view>

struct iovec;

namespace mnm {

// A read-only memory map of a whole regular file. Empty files give an empty span. The file must not
// shrink while it is mapped: the kernel answers reads past its new end with SIGBUS.
class MappedFile {
 public:
  explicit MappedFile(const std::filesystem::path& path);
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  ~MappedFile();

  std::span<const std::byte> bytes() const { return bytes_; }
  const std::filesystem::path& path() const { return path_; }
  // Reads by system calls, which do not touch the map (read_fully). Error also if the file was
  // written since it was opened, because the bytes would not be those of one file.
  void read(std::uint64_t offset, std::span<std::byte> into) const;
  // Error if the file was written since it was opened, or if path() now names another file.
  void check_unchanged() const;

 private:
  std::filesystem::path path_;
  std::span<const std::byte> bytes_;
  std::int64_t written_ = 0;  // when, in nanoseconds: as it was when the file was opened
  int fd_ = -1;
};

// Reads exactly into.size() bytes from `offset` of an open file. Error if the file ends before.
void read_fully(int descriptor, const std::filesystem::path& path, std::uint64_t offset,
                std::span<std::byte> into);

inline constexpr std::uint64_t kPage = 4096;  // bytes that the page cache holds in one piece

// How far written bytes are pushed before a call returns. With kToKernel they survive the death of
// this process. With kToDisk they also survive a power cut, at the speed of the disk.
enum class Flush : std::uint8_t { kToKernel, kToDisk };

// A file opened for writing. It throws an Error, which names path and reason, when a byte cannot be
// written.
class OutputFile {
 public:
  explicit OutputFile(const std::filesystem::path& path);  // created or truncated
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;
  ~OutputFile();

  // Writes go in pieces that begin and end at multiples of kWrite in the file. The page cache then
  // gives each piece one block of memory of its size. Pieces that straddle such a multiple get many
  // small blocks, and take twice the time. Larger blocks save nothing more, and take long to find.
  static constexpr std::uint64_t kWrite = 64u << 10;
  std::uint64_t room() const;  // bytes to the next such multiple, 1 to kWrite; of a pipe, kWrite
  void write(std::span<const std::byte> bytes);
  void write(std::string_view text);
  // Writes the pieces one after another, gathered by the kernel.
  void write(std::span<const std::span<const std::byte>> pieces);
  // For copy_file_range and the like. Nothing is buffered here, so both ways to write can be mixed.
  int descriptor() const { return fd_; }
  std::uint64_t position() const;
  void close(Flush flush = Flush::kToDisk);  // late errors surface here, so call it
  const std::filesystem::path& path() const { return path_; }

 private:
  void write_gathered(std::span<iovec> batch);

  std::filesystem::path path_;
  int fd_ = -1;
};

// A directory that appears whole or not at all. It is written as a hidden sibling of `target`
// (".name.partial-PID", on the same file system). commit() renames it; otherwise the destructor
// removes it. It is locked (flock) while it is written, and has a mark beside it (".name....mark").
// A sibling with its mark that nobody locks is stale, and is removed when a new one is made.
//
// If `target` is a link to a directory, it stands for that directory. An empty directory at
// `target` is used. Anything else there is an Error, unless `replaceable` has no objection; then
// commit() asks it again, swaps the old directory out and removes it. Two kinds of directory are
// never replaced, because some of their files would be left behind: one that holds directories, and
// one from which this process may not remove files.
class AtomicDirectory {
 public:
  // Says why a directory may not be replaced, such as "it holds 'thesis.tex', ...". Empty: it may
  // be replaced.
  using Replaceable = std::function<std::string(const std::filesystem::path& directory)>;

  explicit AtomicDirectory(std::filesystem::path target, Replaceable replaceable = {});
  AtomicDirectory(const AtomicDirectory&) = delete;
  AtomicDirectory& operator=(const AtomicDirectory&) = delete;
  ~AtomicDirectory();

  // Throws the Error that the constructor would throw because of what is at `target`.
  static void require_replaceable(const std::filesystem::path& target,
                                  const Replaceable& replaceable);

  const std::filesystem::path& path() const { return partial_; }  // write here
  void commit(
      Flush flush = Flush::kToDisk);  // of the names; the files are flushed by their writers

 private:
  std::filesystem::path move_to_target();

  std::filesystem::path target_, partial_;
  Replaceable replaceable_;
  bool committed_ = false;
  int lock_ = -1;  // descriptor of the locked directory
};

// A file that appears whole or not at all, in the same way. A file at `target` stays until
// commit(). Error as in require_place_of_file (base/output_place.h).
class AtomicFile {
 public:
  explicit AtomicFile(const std::filesystem::path& target);
  AtomicFile(AtomicFile&& other) noexcept;
  AtomicFile& operator=(AtomicFile&&) = delete;
  ~AtomicFile();

  const std::filesystem::path& path() const { return partial_; }  // write here, and close
  void commit();

 private:
  std::filesystem::path target_, partial_;
  int lock_ = -1;
};

void write_file_atomically(const std::filesystem::path& target, std::string_view content);

std::string read_text(const std::filesystem::path& path, std::uint64_t max_bytes = 64u << 20);

std::uint64_t free_bytes(const std::filesystem::path& directory);

// Error unless `bytes` are free on the file system that `target` will lie on.
void require_space(std::uint64_t bytes, const std::filesystem::path& target);

}  // namespace mnm
