#include "model/dtype.h"

#include <bit>
#include <cassert>
#include <cstring>

#include "base/error.h"

namespace mnm {
namespace {

struct Names {
  Dtype dtype;
  std::size_t size;
  std::string_view ours, safetensors, torch;
};
constexpr Names kNames[] = {
    {Dtype::kF32, 4, "f32", "F32", "float32"},
    {Dtype::kF16, 2, "f16", "F16", "float16"},
    {Dtype::kBF16, 2, "bf16", "BF16", "bfloat16"},
    {Dtype::kF64, 8, "f64", "F64", "float64"},
};

const Names& names(Dtype dtype) { return kNames[static_cast<std::size_t>(dtype)]; }

template <float (*kConvert)(std::uint16_t)>
void widen(std::span<const std::byte> bytes, std::span<float> out) {
  for (std::size_t i = 0; i < out.size(); ++i) {
    std::uint16_t bits = 0;
    std::memcpy(&bits, bytes.data() + 2 * i, 2);
    out[i] = kConvert(bits);
  }
}

template <std::uint16_t (*kConvert)(float)>
void narrow(std::span<const float> in, std::span<std::byte> bytes) {
  for (std::size_t i = 0; i < in.size(); ++i) {
    const std::uint16_t bits = kConvert(in[i]);
    std::memcpy(bytes.data() + 2 * i, &bits, 2);
  }
}

}  // namespace

static_assert(std::endian::native == std::endian::little, "tensors are mapped as they are stored");

std::size_t size_of(Dtype dtype) { return names(dtype).size; }
std::string_view to_string(Dtype dtype) { return names(dtype).ours; }
std::string_view safetensors_name(Dtype dtype) { return names(dtype).safetensors; }
std::string_view torch_name(Dtype dtype) { return names(dtype).torch; }

Dtype parse_dtype(std::string_view name) {
  for (const Dtype dtype : kComputed) {
    const Names& row = names(dtype);
    if (name == row.ours || name == row.safetensors || name == row.torch) return row.dtype;
  }
  fail_usage("unknown dtype '{}': f32, f16 and bf16 are supported", name);
}

float bf16_to_f32(std::uint16_t bits) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
}

std::uint16_t f32_to_bf16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) {  // NaN: keep what fits of its payload, never infinity
    const std::uint32_t top = bits >> 16;
    return static_cast<std::uint16_t>((top & 0x7fu) != 0 ? top : top | 0x40u);
  }
  // Half of the last kept bit, less one where that bit is even: a tie goes to the even neighbour.
  return static_cast<std::uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

float f16_to_f32(std::uint16_t bits) {
  const std::uint32_t sign = static_cast<std::uint32_t>(bits & 0x8000u) << 16;
  const std::uint32_t exponent = (bits >> 10) & 0x1fu;
  const std::uint32_t mantissa = bits & 0x3ffu;
  if (exponent == 0x1fu) return std::bit_cast<float>(sign | 0x7f800000u | (mantissa << 13));
  if (exponent != 0)
    return std::bit_cast<float>(sign | ((exponent + 112u) << 23) | (mantissa << 13));
  // Subnormal: mantissa * 2^-24, exact in f32.
  const float magnitude = static_cast<float>(mantissa) * 0x1p-24f;
  return std::bit_cast<float>(sign | std::bit_cast<std::uint32_t>(magnitude));
}

std::uint16_t f32_to_f16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t sign = (bits >> 16) & 0x8000u;
  const std::uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) {  // NaN, as above
    const std::uint32_t payload = (magnitude >> 13) & 0x3ffu;
    return static_cast<std::uint16_t>(sign | 0x7c00u | (payload != 0 ? payload : 0x200u));
  }
  if (magnitude >= 0x477ff000u) {  // from 65520 on, half way past the largest finite value
    return static_cast<std::uint16_t>(sign | 0x7c00u);
  }
  if (magnitude < 0x38800000u) {
    // Below 2^-14 the result is a multiple of 2^-24. Adding 0.5 lets f32's own rounding, to
    // nearest even at 2^-24, drop the rest; the sum's low bits are then the answer.
    const float sum = std::bit_cast<float>(magnitude) + 0.5f;
    return static_cast<std::uint16_t>(sign | (std::bit_cast<std::uint32_t>(sum) - 0x3f000000u));
  }
  const std::uint32_t rounded = magnitude + 0xfffu + ((magnitude >> 13) & 1u);
  return static_cast<std::uint16_t>(sign | ((rounded - 0x38000000u) >> 13));
}

void to_f32(std::span<const std::byte> bytes, Dtype dtype, std::span<float> out) {
  assert(bytes.size() == out.size() * size_of(dtype));
  if (out.empty()) return;
  switch (dtype) {
    case Dtype::kF32:
      std::memcpy(out.data(), bytes.data(), bytes.size());
      return;
    case Dtype::kF16:
      return widen<f16_to_f32>(bytes, out);
    case Dtype::kBF16:
      return widen<bf16_to_f32>(bytes, out);
    case Dtype::kF64:
      for (std::size_t i = 0; i < out.size(); ++i) {
        double value = 0;
        std::memcpy(&value, bytes.data() + i * sizeof value, sizeof value);
        out[i] = static_cast<float>(value);
      }
  }
}

void from_f32(std::span<const float> in, Dtype dtype, std::span<std::byte> bytes) {
  assert(bytes.size() == in.size() * size_of(dtype));
  if (in.empty()) return;
  switch (dtype) {
    case Dtype::kF32:
      std::memcpy(bytes.data(), in.data(), bytes.size());
      return;
    case Dtype::kF16:
      return narrow<f32_to_f16>(in, bytes);
    case Dtype::kBF16:
      return narrow<f32_to_bf16>(in, bytes);
    case Dtype::kF64:
      for (std::size_t i = 0; i < in.size(); ++i) {
        const double value = in[i];
        std::memcpy(bytes.data() + i * sizeof value, &value, sizeof value);
      }
  }
}

}  // namespace mnm
