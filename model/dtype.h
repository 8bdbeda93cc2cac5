// Element types of tensors in checkpoints, and exact conversions between them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace mnm {

// kF64 is a type of stored tensors only. They are read as f32. Nothing is computed or written in
// f64, so parse_dtype does not know it.
enum class Dtype : std::uint8_t { kF32, kF16, kBF16, kF64 };
inline constexpr Dtype kComputed[] = {Dtype::kF32, Dtype::kF16, Dtype::kBF16};

std::size_t size_of(Dtype dtype);          // bytes per element
std::string_view to_string(Dtype dtype);   // "f32", "f16", "bf16": options and the store
std::string_view safetensors_name(Dtype);  // "F32", "F16", "BF16", "F64"
std::string_view torch_name(Dtype);        // "float32", "float16", "bfloat16": config.json
Dtype parse_dtype(std::string_view name);  // any of the three spellings of a
                                           // computed one; UsageError otherwise

float bf16_to_f32(std::uint16_t bits);
float f16_to_f32(std::uint16_t bits);
std::uint16_t f32_to_bf16(float value);  // round to nearest even; NaN stays NaN
std::uint16_t f32_to_f16(float value);   // round to nearest even; overflow becomes infinity

// out[i] = the i-th element of `bytes`, which holds out.size() elements of `dtype`, unaligned.
void to_f32(std::span<const std::byte> bytes, Dtype dtype, std::span<float> out);
// bytes <- in, converted to `dtype`.
void from_f32(std::span<const float> in, Dtype dtype, std::span<std::byte> bytes);

}  // namespace mnm
