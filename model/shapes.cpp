#include "model/shapes.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "base/error.h"

namespace mnm {

std::optional<std::int64_t> try_element_count(std::span<const std::int64_t> shape) {
  if (std::ranges::any_of(shape, [](std::int64_t size) { return size < 0; })) return std::nullopt;
  if (std::ranges::find(shape, 0) != shape.end()) return 0;
  std::int64_t count = 1;
  for (const std::int64_t size : shape) {
    if (__builtin_mul_overflow(count, size, &count)) return std::nullopt;
  }
  return count;
}

std::int64_t element_count(std::span<const std::int64_t> shape) {
  const auto count = try_element_count(shape);
  if (!count) fail("shape {} has a negative size or more elements than 2^63", shape_text(shape));
  return *count;
}

std::int64_t checked_add(std::int64_t a, std::int64_t b) {
  std::int64_t sum = 0;
  if (__builtin_add_overflow(a, b, &sum)) fail("{} + {} does not fit 64 bits", a, b);
  return sum;
}

std::int64_t checked_mul(std::int64_t a, std::int64_t b) {
  std::int64_t product = 0;
  if (__builtin_mul_overflow(a, b, &product)) fail("{} * {} does not fit 64 bits", a, b);
  return product;
}

std::string shape_text(std::span<const std::int64_t> shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

}  // namespace mnm
