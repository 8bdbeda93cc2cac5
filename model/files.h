// Files and directories, made so that a kill never leaves a half-written one under its final name.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
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
  // By system calls, which do not touch the map: see read_fully. Error also where the file was
  // written since it was opened: what is read would not be of one file.
  void read(std::uint64_t offset, std::span<std::byte> into) const;
  // Error where the file was written since it was opened, or path() names another one by now.
  void check_unchanged() const;

 private:
  std::filesystem::path path_;
  std::span<const std::byte> bytes_;
  std::int64_t written_ = 0;  // when, in nanoseconds: as it was when the file was opened
  int fd_ = -1;
};

// Exactly into.size() bytes from `offset` of an open file. Error where it ends before.
void read_fully(int descriptor, const std::filesystem::path& path, std::uint64_t offset,
                std::span<std::byte> into);

inline constexpr std::uint64_t kPage = 4096;  // bytes that the page cache holds in one piece

// How far written bytes are pushed before a call returns. kToKernel survives the death of this
// process, kToDisk a power cut as well, at the speed of the disk.
enum class Flush : std::uint8_t { kToKernel, kToDisk };

// A file opened for writing that throws, naming path and reason, when a byte cannot be written.
class OutputFile {
 public:
  explicit OutputFile(const std::filesystem::path& path);  // created or truncated
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;
  ~OutputFile();

  // In pieces that begin and end at multiples of kWrite of the file. The page cache gives each of
  // these one block of memory of its size; pieces that straddle them get many small ones, and take
  // twice the time. Larger blocks save nothing more, and take long to find.
  static constexpr std::uint64_t kWrite = 64u << 10;
  std::uint64_t room() const;  // bytes to the next such multiple, 1 to kWrite; of a pipe, kWrite
  void write(std::span<const std::byte> bytes);
  void write(std::string_view text);
  // One after another, gathered by the kernel.
  void write(std::span<const std::span<const std::byte>> pieces);
  // For copy_file_range and its like; nothing is buffered here, so both ways to write mix.
  int descriptor() const { return fd_; }
  std::uint64_t position() const;
  void close(Flush flush = Flush::kToDisk);  // late errors surface here, so call it
  const std::filesystem::path& path() const { return path_; }

 private:
  void write_gathered(std::span<iovec> batch);

  std::filesystem::path path_;
  int fd_ = -1;
};

// A directory that appears whole or not at all: written as a hidden sibling of `target`
// (".name.partial-PID", on the same file system), renamed by commit(), removed by the destructor
// otherwise. It is locked (flock) while it is written, so stale siblings, which nobody locks, are
// told from live ones and removed when a new one is made.
//
// A target that is a link to a directory stands for that directory. One that is empty is used. What
// else is there is an Error, unless `replaceable` finds nothing against it: then commit() swaps it
// out and removes it. It is asked again at that time. Never replaced are a directory that holds
// directories, and one from which this process may not remove files, since those would be left
// behind.
class AtomicDirectory {
 public:
  // Says why a directory may not be replaced, as "it holds 'thesis.tex', ..."; empty: it may.
  using Replaceable = std::function<std::string(const std::filesystem::path& directory)>;

  explicit AtomicDirectory(std::filesystem::path target, Replaceable replaceable = {});
  AtomicDirectory(const AtomicDirectory&) = delete;
  AtomicDirectory& operator=(const AtomicDirectory&) = delete;
  ~AtomicDirectory();

  // The Error that making one would be, where something is at `target`.
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

// Error where `target` is the name of the -wal, -shm or -journal file of a store, whether that file
// is there or not: SQLite would read what is written there as its own.
void require_no_journal(const std::filesystem::path& target);

// Error likewise, and where it is a store itself, or any other database of SQLite.
void require_no_store(const std::filesystem::path& target);

// Error as of require_no_store, and where something else than a file lies at `target`, or than a
// link to one or to nothing: a file that took the place of /dev/null would be a loss to all.
void require_place_of_file(const std::filesystem::path& target);

// A file that appears whole or not at all, the same way; what file lies at `target` stays until
// then. Error as of require_place_of_file.
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

// Text of somebody else's making as JSON. Error names `what` and the position where it is no JSON,
// repeats a key, or nests deeper than 64 levels.
nlohmann::json parse_json(std::string_view text, const std::string& what);
// The same of a file. Infinity, -Infinity and NaN, which Python writes though JSON has no such
// numbers, are read as null.
nlohmann::json read_json(const std::filesystem::path& path);

std::uint64_t free_bytes(const std::filesystem::path& directory);

// Error unless `bytes` are free where `target` is to lie.
void require_space(std::uint64_t bytes, const std::filesystem::path& target);

}  // namespace mnm
