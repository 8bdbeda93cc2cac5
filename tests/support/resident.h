// What of a file lies in the system's memory.
#pragma once

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <vector>

namespace mnm::test {

// Writes it out and lets the system forget it. False where the system does not say that it did.
inline bool drop_from_memory(const std::filesystem::path& file) {
  const int descriptor = ::open(file.c_str(), O_RDONLY);
  if (descriptor < 0) return false;
  const bool dropped =
      ::fsync(descriptor) == 0 && ::posix_fadvise(descriptor, 0, 0, POSIX_FADV_DONTNEED) == 0;
  ::close(descriptor);
  return dropped;
}

// How many of these bytes of it are in memory, in whole pages.
inline std::uint64_t resident_bytes(const std::filesystem::path& file, std::uint64_t begin,
                                    std::uint64_t bytes) {
  const auto page = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  const std::uint64_t first = begin / page * page, length = begin + bytes - first;
  const int descriptor = ::open(file.c_str(), O_RDONLY);
  if (descriptor < 0) return bytes;
  void* const map =
      ::mmap(nullptr, length, PROT_READ, MAP_SHARED, descriptor, static_cast<off_t>(first));
  ::close(descriptor);
  if (map == MAP_FAILED) return bytes;
  std::vector<unsigned char> in_memory((length + page - 1) / page);
  const bool known = ::mincore(map, length, in_memory.data()) == 0;
  ::munmap(map, length);
  if (!known) return bytes;
  return page * static_cast<std::uint64_t>(std::ranges::count_if(
                    in_memory, [](unsigned char one) { return (one & 1) != 0; }));
}

}  // namespace mnm::test
