#include "dataset/npy.h"

#include <fmt/format.h>

#include <bit>

namespace mnm {

static_assert(std::endian::native == std::endian::little);

std::string npy_f32(std::span<const float> values) {
  constexpr std::size_t kPrefix = 10;  // magic, version, header length
  std::string head =
      fmt::format("{{'descr': '<f4', 'fortran_order': False, 'shape': ({},), }}", values.size());
  head.append(63 - (kPrefix + head.size()) % 64, ' ').append(1, '\n');
  std::string file("\x93NUMPY\x01\x00", 8);
  file += static_cast<char>(head.size() & 0xff);
  file += static_cast<char>(head.size() >> 8);
  file += head;
  file.append(reinterpret_cast<const char*>(values.data()), values.size_bytes());
  return file;
}

}  // namespace mnm
