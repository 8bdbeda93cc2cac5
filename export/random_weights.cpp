#include "export/random_weights.h"

#include <algorithm>
#include <cassert>
#include <cstring>

namespace mnm {
namespace {

constexpr std::size_t kQuantiles = 1 << 16;

// exp(x) for x >= 0, by its series: only sums and products, all positive.
double exponential(double x) {
  double term = 1, sum = 1;
  for (int n = 1; term > sum * 1e-17; ++n) {
    term *= x / n;
    sum += term;
  }
  return sum;
}

// exp(x) - 1 for x >= 0, likewise.
double exponential_minus_one(double x) {
  double term = x, sum = x;
  for (int n = 2; term > sum * 1e-17; ++n) {
    term *= x / n;
    sum += term;
  }
  return sum;
}

// log(x) for x > 0: that of a number in [1, 2), by the series of the area tangent, and as many
// doublings as that takes.
double logarithm(double x) {
  int doublings = 0;
  for (; x >= 2; x /= 2) ++doublings;
  for (; x < 1; x *= 2) --doublings;
  const double z = (x - 1) / (x + 1);
  double term = z, sum = z;
  for (int n = 3; term > sum * 1e-17; n += 2) {
    term *= z * z;
    sum += term / n;
  }
  return 2 * sum + doublings * 0.6931471805599453094;
}

// The normal density, and the integral over it from 0 to x, as density times x + x^3/3 + x^5/15...
// (Marsaglia, "Evaluating the Normal Distribution", J. Stat. Soft. 11, 2004).
struct NormalAt {
  double density, above_half;
  explicit NormalAt(double x) : density(0.3989422804014326779 / exponential(x * x / 2)) {
    double term = x, sum = x;
    for (int n = 3; term > sum * 1e-17; n += 2) {
      term *= x * x / n;
      sum += term;
    }
    above_half = density * sum;
  }
};

std::vector<float> compute_quantiles() {
  std::vector<float> quantiles(kQuantiles);
  constexpr std::size_t kHalf = kQuantiles / 2;
  double x = 0;
  for (std::size_t i = 0; i < kHalf; ++i) {
    const double wanted = (static_cast<double>(i) + 0.5) / kQuantiles;
    // Newton's method, from below: above 0 the integral is concave, so no step goes too far.
    double step = 1;
    while (step > 1e-9) {
      const NormalAt normal(x);
      step = (wanted - normal.above_half) / normal.density;
      x += step;
    }
    quantiles[kHalf + i] = static_cast<float>(x);
    quantiles[kHalf - 1 - i] = -quantiles[kHalf + i];
  }
  return quantiles;
}

// What a share of `quantile` of the numbers that the tensor may start with is below.
double drawn_at(double quantile, const TensorSpec& tensor) {
  const double low = tensor.init_low, high = tensor.init_high;
  switch (tensor.init) {
    case Init::kUniform:
      return low + (high - low) * quantile;
    case Init::kLogOfUniform:
      return logarithm(low + (high - low) * quantile);
    case Init::kInverseSoftplus: {
      const double power = logarithm(low) + (logarithm(high) - logarithm(low)) * quantile;
      const double softplus = power >= 0 ? exponential(power) : 1 / exponential(-power);
      // From 37 on the two are one number in double; from 710 on the exponential is none.
      return softplus > 40 ? softplus : logarithm(exponential_minus_one(softplus));
    }
    default:
      return 0;
  }
}

// The 65,536 equally likely values that the tensor's elements are drawn from.
std::vector<float> values_of(const TensorSpec& tensor) {
  std::vector<float> values(kQuantiles);
  for (std::size_t k = 0; k < kQuantiles; ++k) {
    const double value = tensor.init == Init::kNormal
                             ? tensor.init_std * static_cast<double>(normal_quantiles()[k])
                             : drawn_at((static_cast<double>(k) + 0.5) / kQuantiles, tensor);
    values[k] = static_cast<float>(value);
  }
  return values;
}

// FNV-1a, 64 bits.
std::uint64_t hash_of(std::string_view text) {
  std::uint64_t hash = 0xcbf29ce484222325u;
  for (const char c : text) {
    hash ^= static_cast<unsigned char>(c);
    hash *= 0x100000001b3u;
  }
  return hash;
}

std::uint32_t low(std::uint64_t value) { return static_cast<std::uint32_t>(value); }
std::uint32_t high(std::uint64_t value) { return static_cast<std::uint32_t>(value >> 32); }

// out[i] = the entry of `table` that the i-th 16 random bits choose.
template <std::size_t kSize>
void draw(std::span<std::byte> out, std::uint64_t block, std::uint64_t stream, std::uint64_t seed,
          const std::byte* table) {
  constexpr std::size_t kBlock = RandomWeights::kStep * kSize;
  const PhiloxKey key = {low(seed), high(seed)};
  for (; !out.empty(); ++block) {
    const PhiloxCounter bits = philox({low(block), high(block), low(stream), high(stream)}, key);
    std::array<std::byte, kBlock> values;
    for (std::size_t i = 0; i < bits.size(); ++i) {
      std::memcpy(&values[2 * i * kSize], table + (bits[i] & 0xffff) * kSize, kSize);
      std::memcpy(&values[(2 * i + 1) * kSize], table + (bits[i] >> 16) * kSize, kSize);
    }
    const std::size_t count = std::min(kBlock, out.size());
    std::memcpy(out.data(), values.data(), count);
    out = out.subspan(count);
  }
}

void fill_with(float value, Dtype dtype, std::span<std::byte> bytes) {
  std::array<std::byte, sizeof(float)> element;
  const std::size_t size = size_of(dtype);
  from_f32({&value, 1}, dtype, {element.data(), size});
  for (std::size_t i = 0; i < bytes.size(); i += size) {
    std::memcpy(bytes.data() + i, element.data(), size);
  }
}

}  // namespace

PhiloxCounter philox(PhiloxCounter c, PhiloxKey key) {
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t a = std::uint64_t{0xD2511F53u} * c[0];
    const std::uint64_t b = std::uint64_t{0xCD9E8D57u} * c[2];
    c = {high(b) ^ c[1] ^ key[0], low(b), high(a) ^ c[3] ^ key[1], low(a)};
    key[0] += 0x9E3779B9u;
    key[1] += 0xBB67AE85u;
  }
  return c;
}

std::span<const float> normal_quantiles() {
  static const std::vector<float> quantiles = compute_quantiles();
  return quantiles;
}

const std::vector<std::byte>& RandomWeights::table(const TensorSpec& tensor, Dtype dtype) {
  const Drawn drawn{tensor.init, tensor.init_std, tensor.init_low, tensor.init_high, dtype};
  if (table_.empty() || drawn_ != drawn) {
    table_.resize(kQuantiles * size_of(dtype));
    from_f32(values_of(tensor), dtype, table_);
    drawn_ = drawn;
  }
  return table_;
}

void RandomWeights::fill(const TensorSpec& tensor, Dtype dtype, std::uint64_t begin,
                         std::span<std::byte> bytes) {
  assert(begin % kStep == 0 && bytes.size() % size_of(dtype) == 0);
  if (tensor.init == Init::kZero || tensor.init == Init::kOne) {
    fill_with(tensor.init == Init::kOne ? 1.0f : 0.0f, dtype, bytes);
    return;
  }
  const std::byte* values = table(tensor, dtype).data();
  const auto draw_of_size = size_of(dtype) == 4 ? &draw<4> : &draw<2>;
  draw_of_size(bytes, begin / kStep, hash_of(tensor.name), seed_, values);
}

}  // namespace mnm
