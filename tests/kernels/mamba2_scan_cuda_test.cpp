// The CUDA scan against the sequential one in double. Label `gpu`: without a device it is skipped,
// which is no pass.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "kernels/cuda/mamba2_scan.h"
#include "tests/kernels/device.h"

namespace mnm {
namespace {

std::size_t size(std::int64_t n) { return static_cast<std::size_t>(n); }

using Device = test::Device<float>;

TEST(SsdScanCuda, AgreesWithTheSequentialScanInDouble) {
  MNM_NEEDS_DEVICE();
  std::mt19937 random(1);
  std::uniform_real_distribution<float> unit(-1, 1);
  const auto fill = [&](std::int64_t n) {
    std::vector<float> values(size(n));
    for (float& x : values) x = unit(random);
    return values;
  };
  for (const std::int64_t tokens : {1, 3, 63, 64, 65, 200}) {
    for (const auto& [heads, dim, state] : {std::array<std::int64_t, 3>{1, 16, 16},
                                            {3, 8, 4},
                                            {2, 1, 1},
                                            {5, 24, 33},
                                            {2, 64, 128},
                                            {2, 72, 70}}) {
      for (const std::int64_t chunk : {1, 7, 64}) {
        for (const bool carry : {false, true}) {
          const std::int64_t sequences = 2, inner = heads * dim, stride = inner + 2 * state + 1;
          const SsdBatch batch = {.shape = {.tokens = tokens,
                                            .heads = heads,
                                            .head_dim = dim,
                                            .state = state,
                                            .x_stride = stride,
                                            .dt_stride = heads,
                                            .bc_stride = stride,
                                            .y_stride = inner,
                                            .chunk = chunk},
                                  .sequences = sequences,
                                  .x_sequence = tokens * stride,
                                  .dt_sequence = tokens * heads,
                                  .bc_sequence = tokens * stride,
                                  .y_sequence = tokens * inner};
          const std::vector<float> rows = fill(sequences * tokens * stride), d = fill(heads);
          std::vector<float> dt = fill(sequences * tokens * heads), a = fill(heads);
          for (float& x : dt) x = std::pow(10.0f, 1.5f * x - 1);
          for (float& x : a) x = -std::exp(1.5f * (1 + x));
          const std::int64_t states = heads * state * dim;
          const std::vector<float> carried = fill(sequences * states);

          const Device rows_d(rows), dt_d(dt), a_d(a), skip_d(d), carried_d(carried);
          const Device y_d(std::vector<float>(size(sequences * tokens * inner), 7.0f));
          const Device work(std::vector<float>(size(ssd_cuda_work(batch)), NAN));
          const char* const failure =
              mamba2_scan_cuda(batch,
                               {rows_d.data(), dt_d.data(), a_d.data(), rows_d.data() + inner,
                                rows_d.data() + inner + state, skip_d.data()},
                               carry ? carried_d.data() : nullptr, y_d.data(), work.data());
          ASSERT_EQ(failure, nullptr) << failure;
          const std::vector<float> y = y_d.values(), after = carried_d.values();

          for (std::int64_t i = 0; i < sequences; ++i) {
            const auto scan = [&](bool magnitude, std::vector<double>& out,
                                  std::vector<double>& state_out) {
              std::vector<float> r(rows.begin() + i * tokens * stride,
                                   rows.begin() + (i + 1) * tokens * stride),
                  skip = d;
              out.resize(size(tokens * inner));
              state_out.assign(size(states), 0);
              if (carry) {
                std::copy_n(carried.begin() + i * states, states, state_out.begin());
              }
              if (magnitude) {
                for (float& x : r) x = std::abs(x);
                for (float& x : skip) x = std::abs(x);
                for (double& x : state_out) x = std::abs(x);
              }
              mamba2_scan_sequential(batch.shape,
                                     {r.data(), dt.data() + i * tokens * heads, a.data(),
                                      r.data() + inner, r.data() + inner + state, skip.data()},
                                     state_out.data(), out.data());
            };
            std::vector<double> right, right_state, scale, scale_state;
            scan(false, right, right_state);
            scan(true, scale, scale_state);
            // As mamba2_scan_test.cpp derives it; expf within 2 units as exp_of is.
            double largest = 0;
            for (const float step : dt) {
              for (const float rate : a) largest = std::max(largest, std::abs(double{step} * rate));
            }
            const double n = static_cast<double>(std::min(chunk, tokens));
            const double sum = std::min(largest * n, 104.0 + largest);
            const double tolerance =
                0x1p-24 * (2 * n * sum + static_cast<double>(state) + n +
                           4 * std::ceil(static_cast<double>(tokens) / n) + 20);
            const std::string name = std::to_string(tokens) + " tokens, heads of " +
                                     std::to_string(dim) + ", state " + std::to_string(state) +
                                     ", chunks of " + std::to_string(chunk);
            for (std::size_t at = 0; at < right.size(); ++at) {
              ASSERT_NEAR(y[size(i * tokens * inner) + at], right[at],
                          tolerance * scale[at] + 1e-34)
                  << name << ", at " << at;
            }
            for (std::size_t at = 0; carry && at < right_state.size(); ++at) {
              ASSERT_NEAR(after[size(i * states) + at], right_state[at],
                          tolerance * scale_state[at] + 1e-34)
                  << name << ", state at " << at;
            }
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace mnm
