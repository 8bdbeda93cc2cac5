// NumPy's array files: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
// Read and written here alone.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace mnm {

constexpr std::string_view kNpyMagic = "\x93NUMPY";  // that a file begins with

// Of an array of one dimension.
struct NpyHeader {
  std::string_view descr;    // the type of its elements, in the file: "<u2"
  std::uint64_t offset = 0;  // of the first element, in bytes
  std::uint64_t length = 0;  // elements
};

// Of a file that begins with kNpyMagic. Error, which names the file `name`, where the header is cut
// off or malformed, of another version than 1, 2 or 3, or of an array of other dimensions.
NpyHeader read_npy_header(std::span<const std::byte> file, const std::string& name);

// A one-dimensional little-endian float32 array, format 1.0.
std::string npy_f32(std::span<const float> values);

}  // namespace mnm
