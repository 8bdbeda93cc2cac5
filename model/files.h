// Files and directories, made so that a kill never leaves a half-written one under its final name.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>

namespace mnm {

// A read-only memory map of a whole regular file. Empty files give an empty span.
class MappedFile {
 public:
  explicit MappedFile(const std::filesystem::path& path);
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  ~MappedFile();

  std::span<const std::byte> bytes() const { return bytes_; }
  int descriptor() const { return fd_; }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
  std::span<const std::byte> bytes_;
  int fd_ = -1;
};

// A file opened for writing that throws, naming path and reason, when a byte cannot be written.
class OutputFile {
 public:
  explicit OutputFile(const std::filesystem::path& path);  // created or truncated
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;
  ~OutputFile();

  void write(std::span<const std::byte> bytes);
  void write(std::string_view text);
  int descriptor() const { return fd_; }
  std::uint64_t position() const;
  void close();  // flushes to disk; errors surface here, so call it

 private:
  std::filesystem::path path_;
  int fd_ = -1;
};

// A directory that appears whole or not at all: written as a hidden sibling of `target`
// (".name.partial-PID", on the same file system), renamed by commit(), removed by the destructor
// otherwise. Stale siblings of dead processes are removed when a new one is made. Error if
// `target` exists, unless `force`, when commit() swaps it out and removes it.
class AtomicDirectory {
 public:
  AtomicDirectory(std::filesystem::path target, bool force);
  AtomicDirectory(const AtomicDirectory&) = delete;
  AtomicDirectory& operator=(const AtomicDirectory&) = delete;
  ~AtomicDirectory();

  const std::filesystem::path& path() const { return partial_; }  // write here
  void commit();

 private:
  std::filesystem::path target_, partial_;
  bool force_ = false, committed_ = false;
};

// A file that appears whole or not at all, the same way.
void write_file_atomically(const std::filesystem::path& target, std::string_view content);

std::string read_text(const std::filesystem::path& path, std::uint64_t max_bytes = 64u << 20);
nlohmann::json read_json(const std::filesystem::path& path);  // Error names path and position

std::uint64_t free_bytes(const std::filesystem::path& directory);

}  // namespace mnm
