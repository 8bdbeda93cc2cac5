// NumPy's array files: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
// No other file reads or writes them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace mnm {

constexpr std::string_view kNpyMagic = "\x93NUMPY";  // that a file begins with

// The header of an array of one dimension.
struct NpyHeader {
  std::string_view descr;    // the type of its elements, in the file: "<u2"
  std::uint64_t offset = 0;  // of the first element, in bytes
  std::uint64_t length = 0;  // elements
};

// Reads the header of a file that begins with kNpyMagic. Error, which calls the file `name`, if the
// header is cut off or malformed, if its version is not 1, 2 or 3, or if the array does not have
// one dimension.
NpyHeader read_npy_header(std::span<const std::byte> file, const std::string& name);

// What comes before the elements of an array in C order, format 1.0: a multiple of 64 bytes, and at
// least `bytes`, so that a place can be kept for a shape that is not known yet. `descr` is "<f4" or
// another type of NumPy's.
std::string npy_head(std::string_view descr, std::span<const std::int64_t> shape,
                     std::size_t bytes = 0);

// A one-dimensional little-endian float32 array, format 1.0.
std::string npy_f32(std::span<const float> values);

}  // namespace mnm
