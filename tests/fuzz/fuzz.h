// What fuzz targets share. A target is a file NOUN_fuzz.cpp with one function, which libFuzzer
// (https://llvm.org/docs/LibFuzzer.html) or tests/fuzz/driver.cpp calls with bytes. A reader
// answers any bytes with a result or one mnm::Error: whatever else it throws ends the program.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <span>
#include <string>
#include <string_view>

#include "base/error.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace mnm::fuzz {

inline std::string_view text_of(const std::uint8_t* data, std::size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}
inline std::span<const std::byte> bytes_of(const std::uint8_t* data, std::size_t size) {
  return std::as_bytes(std::span(data, size));
}

template <typename Body>
void expect_answer(const Body& body) {
  try {
    body();
  } catch (const Error&) {
  }
}

// A directory of this process, for readers that take files.
class Scratch {
 public:
  Scratch() {
    std::string name = (std::filesystem::temp_directory_path() / "mixnmatch_fuzz_XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr) std::abort();
    directory_ = name;
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  ~Scratch() {
    std::error_code error;
    std::filesystem::remove_all(directory_, error);
  }

  std::filesystem::path operator/(std::string_view name) const { return directory_ / name; }
  const std::filesystem::path& path() const { return directory_; }

  // Written long ago, as far as readers see: they wait for the clock's next tick otherwise.
  std::filesystem::path write(std::string_view name, std::string_view bytes) const {
    const std::filesystem::path path = directory_ / name;
    std::ofstream(path, std::ios::binary)
        .write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    const timespec times[2] = {{1, 0}, {1, 0}};
    utimensat(AT_FDCWD, path.c_str(), times, 0);
    return path;
  }

 private:
  std::filesystem::path directory_;
};

}  // namespace mnm::fuzz
