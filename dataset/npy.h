// NumPy's array files: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
// No other file reads or writes them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace mnm {

constexpr std::string_view kNpyMagic = "\x93NUMPY";  // that a file begins with

struct NpyHeader {
  std::string_view descr;            // the type of its elements, in the file: "<u2"
  std::uint64_t offset = 0;          // of the first element, in bytes
  std::vector<std::uint64_t> shape;  // of at most kNpyDimensions
  bool fortran_order = false;        // the first index is the fastest; alike in one dimension

  // The number of elements if these, of `element` bytes each, fill the rest of a file of so many
  // bytes exactly; nothing if they do not.
  std::optional<std::uint64_t> elements_in(std::uint64_t file_bytes, std::uint64_t element) const;
};
inline constexpr std::size_t kNpyDimensions = 8;

// Reads the header of a file that begins with kNpyMagic. Error, which says that `what` cannot be
// read from `name`, if the header is cut off or malformed, if its version is not 1, 2 or 3, or if
// the array has structures for elements, no dimension or too many.
NpyHeader read_npy_header(std::span<const std::byte> file, const std::string& name,
                          std::string_view what);

// What comes before the elements of an array in C order, format 1.0: a multiple of 64 bytes, and at
// least `bytes`, so that a place can be kept for a shape that is not known yet. `descr` is "<f4" or
// another type of NumPy's.
std::string npy_head(std::string_view descr, std::span<const std::int64_t> shape,
                     std::size_t bytes = 0);

// A one-dimensional little-endian float32 array, format 1.0.
std::string npy_f32(std::span<const float> values);

}  // namespace mnm
