#include "kernels/mamba2_scan.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <limits>
#include <random>
#include <string>
#include <vector>

namespace mnm {
namespace {

std::size_t size(std::int64_t n) { return static_cast<std::size_t>(n); }

// A scan's inputs in strided rows, as a block of Mamba-2 has them.
struct Scan {
  SsdShape shape;
  std::vector<float> rows;  // [tokens, x | B | C | two floats of others]
  std::vector<float> dt;    // [tokens, heads + 1]
  std::vector<float> a, d;
  std::vector<float> carried;  // empty: begins with zeros
  std::string name;

  SsdInputs inputs() const {
    const std::int64_t inner = shape.heads * shape.head_dim;
    return {
        rows.data(), dt.data(), a.data(), rows.data() + inner, rows.data() + inner + shape.state,
        d.data()};
  }
  std::int64_t states() const { return shape.heads * shape.state * shape.head_dim; }
};

Scan random_scan(std::int64_t tokens, std::int64_t heads, std::int64_t head_dim, std::int64_t state,
                 std::int64_t chunk, bool carried, unsigned seed) {
  Scan scan;
  const std::int64_t inner = heads * head_dim, stride = inner + 2 * state + 2;
  scan.shape = {.tokens = tokens,
                .heads = heads,
                .head_dim = head_dim,
                .state = state,
                .x_stride = stride,
                .dt_stride = heads + 1,
                .bc_stride = stride,
                .y_stride = inner + 3,
                .chunk = chunk};
  std::mt19937 random(seed);
  std::uniform_real_distribution<float> unit(-1, 1);
  scan.rows.resize(size(tokens * stride));
  for (float& x : scan.rows) x = unit(random);
  for (std::int64_t i = 0; i < tokens * (heads + 1); ++i) {
    scan.dt.push_back(std::pow(10.0f, 1.5f * unit(random) - 1));  // 0.003 to 3
  }
  for (std::int64_t h = 0; h < heads; ++h) {
    scan.a.push_back(-std::exp(1.5f * (1 + unit(random))));  // -1 to -20
    scan.d.push_back(unit(random));
  }
  if (carried) {
    for (std::int64_t i = 0; i < scan.states(); ++i) scan.carried.push_back(unit(random));
  }
  scan.name = std::to_string(tokens) + " tokens, " + std::to_string(heads) + " heads of " +
              std::to_string(head_dim) + ", state " + std::to_string(state) + ", chunks of " +
              std::to_string(chunk) + (carried ? ", carried on" : "");
  return scan;
}

std::vector<Scan> scans() {
  std::vector<Scan> all;
  unsigned seed = 0;
  for (const std::int64_t tokens : {1, 2, 3, 7, 8, 9, 31, 32, 33, 64, 65, 200}) {
    for (const auto& [heads, head_dim, state] : {std::array<std::int64_t, 3>{1, 16, 16},
                                                 {3, 8, 4},
                                                 {2, 1, 1},
                                                 {5, 24, 33},
                                                 {2, 64, 128}}) {
      for (const std::int64_t chunk : {1, 5, 8, 32, 64}) {
        if (tokens == 200 && chunk == 1 && state == 128) continue;
        all.push_back(random_scan(tokens, heads, head_dim, state, chunk, seed % 2 == 1, seed));
        ++seed;
      }
    }
  }
  return all;
}

struct Result {
  std::vector<double> y, carried;
};

Result sequential(const Scan& scan) {
  Result result;
  result.y.resize(size(scan.shape.tokens * scan.shape.y_stride));
  result.carried.assign(scan.carried.begin(), scan.carried.end());
  result.carried.resize(size(scan.states()));
  mamba2_scan_sequential(scan.shape, scan.inputs(), result.carried.data(), result.y.data());
  return result;
}

// The sum of the absolute values of everything that is added up: the same scan of absolute values.
Result magnitude(const Scan& scan) {
  Scan same = scan;
  for (std::vector<float>* values : {&same.rows, &same.d, &same.carried}) {
    for (float& x : *values) x = std::abs(x);
  }
  return sequential(same);
}

// What f32 explains, relative to the sum of absolute values: chunk sums of dt a are off by as many
// roundings as they have terms, times their size, and the exponential of it is off by as much.
// Where the sum is below -86, exp_of ends at 4e-38. Sizes enter by the largest sum up to that,
// since what is smaller has decayed. Products and sums add one rounding per term: the state, the
// tokens of a chunk, and a few for dt x, the decay and the skip; and one decay and one sum per
// chunk.
double relative(const Scan& scan) {
  const double chunk = static_cast<double>(std::min(scan.shape.chunk, scan.shape.tokens));
  const double chunks = std::ceil(static_cast<double>(scan.shape.tokens) / chunk);
  double largest = 0;
  for (const float dt : scan.dt) {
    for (const float a : scan.a) largest = std::max(largest, std::abs(double{dt} * a));
  }
  const double sum = std::min(largest * chunk, 86.0 + largest);
  return 0x1p-24 *
         (2 * chunk * sum + static_cast<double>(scan.shape.state) + chunk + 4 * chunks + 20);
}

void expect_near(const std::vector<float>& out, const std::vector<double>& right,
                 const std::vector<double>& scale, double tolerance, const std::string& name) {
  double worst = 0;
  std::size_t at = 0;
  for (std::size_t i = 0; i < out.size(); ++i) {
    const double error = std::abs(out[i] - right[i]) / (tolerance * scale[i] + 1e-34);
    if (!(error <= worst)) worst = error, at = i;
  }
  EXPECT_LE(worst, 1) << name << ": at " << at << " " << out[at] << ", expected " << right[at];
}

TEST(SsdScan, ChunksAgreeWithTheSequentialScanInDouble) {
  for (const Scan& scan : scans()) {
    const Result right = sequential(scan), scale = magnitude(scan);
    std::vector<float> y(right.y.size(), 0), carried(scan.carried);
    std::vector<float> work(size(ssd_work(scan.shape)), std::numeric_limits<float>::quiet_NaN());
    mamba2_scan(scan.shape, scan.inputs(), carried.empty() ? nullptr : carried.data(), y.data(),
                work.data());
    expect_near(y, right.y, scale.y, relative(scan), scan.name);
    if (!carried.empty()) {
      expect_near(carried, right.carried, scale.carried, relative(scan), scan.name + ", state");
    }
  }
}

TEST(SsdScan, APrefixOfTheHeadsIsAScanOfItsOwn) {
  const Scan scan = random_scan(70, 6, 8, 12, 16, false, 5);
  std::vector<float> all(size(scan.shape.tokens * scan.shape.y_stride)), some(all.size(), 7.0f);
  std::vector<float> work(size(ssd_work(scan.shape)));
  mamba2_scan(scan.shape, scan.inputs(), nullptr, all.data(), work.data());
  SsdShape prefix = scan.shape;
  prefix.heads = 2;
  mamba2_scan(prefix, scan.inputs(), nullptr, some.data(), work.data());
  for (std::int64_t t = 0; t < scan.shape.tokens; ++t) {
    for (std::int64_t i = 0; i < scan.shape.heads * scan.shape.head_dim; ++i) {
      const std::size_t at = size(t * scan.shape.y_stride + i);
      EXPECT_EQ(some[at], i < 2 * scan.shape.head_dim ? all[at] : 7.0f);  // the same bits
    }
  }
}

TEST(SsdScan, PiecesThatCarryOnAreTheWhole) {
  const Scan scan = random_scan(150, 3, 16, 20, 32, true, 8);
  const Result right = sequential(scan), scale = magnitude(scan);
  for (const std::int64_t piece : {1, 3, 32, 33, 149}) {
    std::vector<float> y(right.y.size(), 0), carried(scan.carried);
    std::vector<float> work(size(ssd_work(scan.shape)));
    for (std::int64_t t = 0; t < scan.shape.tokens; t += piece) {
      SsdShape shape = scan.shape;
      shape.tokens = std::min(piece, scan.shape.tokens - t);
      SsdInputs in = scan.inputs();
      in.x += t * shape.x_stride, in.b += t * shape.bc_stride, in.c += t * shape.bc_stride;
      in.dt += t * shape.dt_stride;
      mamba2_scan(shape, in, carried.data(), y.data() + t * shape.y_stride, work.data());
    }
    // Every piece is at least one chunk of its own, at most one per token.
    expect_near(y, right.y, scale.y, relative(scan) + 0x1p-24 * 4 * 150, scan.name);
  }
}

TEST(SsdScan, NaNReachesNoEarlierTokenAndNoOtherHead) {
  Scan scan = random_scan(40, 2, 8, 4, 16, false, 3);
  scan.rows[size(20 * scan.shape.x_stride + 3)] = std::numeric_limits<float>::quiet_NaN();
  std::vector<float> y(size(scan.shape.tokens * scan.shape.y_stride), 0);
  std::vector<float> work(size(ssd_work(scan.shape)));
  mamba2_scan(scan.shape, scan.inputs(), nullptr, y.data(), work.data());
  for (std::int64_t t = 0; t < 40; ++t) {
    for (std::int64_t i = 0; i < 16; ++i) {
      if (i < 8 && i != 3) continue;  // other channels of that head may or may not
      EXPECT_EQ(std::isnan(y[size(t * scan.shape.y_stride + i)]), i == 3 && t >= 20)
          << t << " " << i;
    }
  }
}

// A loss, the sum of y times fixed weights, by the definition in double.
double loss_of(const Scan& scan, const std::vector<float>& dy) {
  const Result result = sequential(scan);
  double loss = 0;
  for (std::size_t i = 0; i < dy.size(); ++i) loss += dy[i] * result.y[i];
  return loss;
}

TEST(SsdScanBackward, AgreesWithCentralDifferencesOfTheDefinition) {
  for (const auto& [tokens, heads, head_dim, state, chunk] :
       {std::array<std::int64_t, 5>{1, 1, 2, 3, 8},
        {7, 2, 3, 2, 3},
        {20, 2, 4, 5, 8},
        {33, 3, 2, 4, 16},
        {12, 1, 17, 18, 5}}) {
    Scan scan = random_scan(tokens, heads, head_dim, state, chunk, false, 11);
    std::vector<float> dy(size(tokens * scan.shape.y_stride), 0);
    std::mt19937 random(7);
    std::uniform_real_distribution<float> unit(-1, 1);
    for (std::int64_t t = 0; t < tokens; ++t) {
      for (std::int64_t i = 0; i < heads * head_dim; ++i) {
        dy[size(t * scan.shape.y_stride + i)] = unit(random);
      }
    }
    std::vector<float> drows(scan.rows.size(), 0), ddt(scan.dt.size(), 0);
    std::vector<float> da(scan.a.size(), 0), dd(scan.d.size(), 0);
    std::vector<float> work(size(ssd_backward_work(scan.shape)),
                            std::numeric_limits<float>::quiet_NaN());
    float* const bc = drows.data() + heads * head_dim;
    mamba2_scan_backward(scan.shape, scan.inputs(), dy.data(),
                         {drows.data(), ddt.data(), da.data(), bc, bc + state, dd.data()},
                         work.data());
    const auto check = [&](std::vector<float>& values, const std::vector<float>& gradient,
                           const char* what) {
      double largest = 0;
      for (const float g : gradient) largest = std::max(largest, std::abs(double{g}));
      for (std::size_t i = 0; i < values.size(); ++i) {
        const float before = values[i], step = 0x1p-10f * std::max(0.03f, std::abs(before));
        values[i] = before + step;
        const double above = loss_of(scan, dy), up = values[i];
        values[i] = before - step;
        const double below = loss_of(scan, dy), down = values[i];
        values[i] = before;
        const double expected = (above - below) / (up - down);
        // The third derivative's part, relative 2^-20 / 6 times (a dt tokens)^2 < 60^2 at worst for
        // dt and a; and f32 of sums of at most tokens * (state + head_dim) terms.
        EXPECT_NEAR(gradient[i], expected, 2e-3 * std::abs(expected) + 1e-4 * (largest + 1e-3))
            << scan.name << ": d" << what << " at " << i;
      }
    };
    check(scan.rows, drows, "rows");
    check(scan.dt, ddt, "dt");
    check(scan.a, da, "a");
    check(scan.d, dd, "d");
  }
}

}  // namespace
}  // namespace mnm
