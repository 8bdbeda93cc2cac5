// Arithmetic on tensor shapes that come from outside: every product and sum is checked.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>

namespace mnm {

// The product of the sizes (1 for a scalar). Nothing if a size is negative or the product does not
// fit. A size of 0 makes the product 0, whatever the others are.
std::optional<std::int64_t> try_element_count(std::span<const std::int64_t> shape);

// The same. Error names the shape if there is no such number.
std::int64_t element_count(std::span<const std::int64_t> shape);

// a + b, a * b of counts; Error where the result does not fit.
std::int64_t checked_add(std::int64_t a, std::int64_t b);
std::int64_t checked_mul(std::int64_t a, std::int64_t b);

std::string shape_text(std::span<const std::int64_t> shape);  // "[512, 128]", "[]"

}  // namespace mnm
