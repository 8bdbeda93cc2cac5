// The CUDA kernels give the same bits in whatever order a block's threads and a grid's blocks run:
// between barriers none reads what another writes.
#include <gtest/gtest.h>

#include <random>
#include <vector>

#include "kernels/cuda/activation.h"
#include "kernels/cuda/mamba2_scan.h"
#include "kernels/cuda/rope.h"
#include "kernels/cuda/token_sums.h"
#include "tests/kernels/device.h"
#include "tests/kernels/pointwise_cases.h"
#include "tests/kernels/token_sums_cases.h"
#include "tests/support/cuda_on_host/cuda_on_host.h"

namespace mnm {
namespace {

using test::Device;
using test::index;
using Bytes = std::vector<std::byte>;

template <typename T>
void append(Bytes& all, const Device<T>& from) {
  for (const T& value : from.values()) {
    const auto* const bytes = reinterpret_cast<const std::byte*>(&value);
    all.insert(all.end(), bytes, bytes + sizeof value);
  }
}

// `compute` returns what the kernels leave behind.
template <typename Compute>
void expect_same_bits(const std::string& name, const Compute& compute) {
  std::vector<Bytes> results;
  for (const cuda_on_host::Order order : cuda_on_host::kOrders) {
    cuda_on_host::set_order(order);
    results.push_back(compute());
  }
  cuda_on_host::set_order(cuda_on_host::Order::kForward);
  EXPECT_FALSE(results[0].empty()) << name;
  for (std::size_t i = 1; i < results.size(); ++i) EXPECT_TRUE(results[i] == results[0]) << name;
}

TEST(ThreadOrder, IsNothingToTheScan) {
  std::mt19937 random(2);
  std::uniform_real_distribution<float> unit(-1, 1);
  for (const auto& [tokens, heads, dim, state, chunk] :
       {std::array<std::int64_t, 5>{65, 2, 72, 70, 64}, {20, 3, 8, 33, 7}, {1, 1, 1, 1, 1}}) {
    const std::int64_t inner = heads * dim, stride = inner + 2 * state;
    const SsdBatch batch = {.shape = {.tokens = tokens,
                                      .heads = heads,
                                      .head_dim = dim,
                                      .state = state,
                                      .x_stride = stride,
                                      .dt_stride = heads,
                                      .bc_stride = stride,
                                      .y_stride = inner,
                                      .chunk = chunk},
                            .sequences = 2,
                            .x_sequence = tokens * stride,
                            .dt_sequence = tokens * heads,
                            .bc_sequence = tokens * stride,
                            .y_sequence = tokens * inner};
    const auto fill = [&](std::int64_t n, float centre) {
      std::vector<float> values(index(n));
      for (float& x : values) x = centre + unit(random);
      return values;
    };
    const std::vector<float> rows = fill(2 * tokens * stride, 0), dt = fill(2 * tokens * heads, 1);
    const std::vector<float> a = fill(heads, -1), d = fill(heads, 0);
    const std::vector<float> carried = fill(2 * heads * state * dim, 0);
    const SsdBatch& b = batch;
    const std::int64_t states = inner + state;
    expect_same_bits(std::to_string(tokens) + " tokens", [&] {
      const Device rows_d(rows), dt_d(dt), a_d(a), skip_d(d), carried_d(carried);
      const Device y(std::vector<float>(index(2 * b.y_sequence)));
      const Device work(std::vector<float>(index(ssd_cuda_work(b)), NAN));
      EXPECT_EQ(mamba2_scan_cuda(b,
                                 {rows_d.data(), dt_d.data(), a_d.data(), rows_d.data() + inner,
                                  rows_d.data() + states, skip_d.data()},
                                 carried_d.data(), y.data(), work.data()),
                nullptr);
      Bytes all;
      append(all, y);
      append(all, carried_d);
      return all;
    });
  }
}

TEST(ThreadOrder, IsNothingToTheTokensSums) {
  for (const bool reference : {false, true}) {
    for (const Element element : {Element::kF32, Element::kBF16}) {
      test::TokenCase c = {.element = element,
                           .rows = 4,
                           .period = 2,
                           .vocab = 3001,
                           .words = 1100,
                           .reference = reference};
      test::fill(c, 7);
      expect_same_bits(c.name(), [&] {
        const Device logits(c.logits), full(c.full);
        const Device targets(c.targets);
        const Device sums(std::vector<TokenSums>(index(c.rows)));
        const std::vector<float> unset(index(c.rows), NAN);
        const Device loss(unset), accuracy(unset), kl(unset), agreement(unset), acceptance(unset);
        const auto chunks = test::chunks_of(c, logits.data(), full.data(), targets.data());
        for (const LogitChunk& chunk : chunks) {
          EXPECT_EQ(read_logits_cuda(chunk, sums.data()), nullptr);
        }
        EXPECT_EQ(score_tokens_cuda(sums.data(), c.rows, targets.data(), c.period,
                                    {loss.data(), accuracy.data(), reference ? kl.data() : nullptr,
                                     agreement.data()}),
                  nullptr);
        for (const LogitChunk& chunk : chunks) {
          if (!reference) break;
          EXPECT_EQ(add_acceptance_cuda(chunk, sums.data(), acceptance.data()), nullptr);
        }
        Bytes all;
        append(all, sums);
        append(all, loss);
        append(all, kl);
        append(all, agreement);
        append(all, accuracy);
        append(all, acceptance);
        return all;
      });
    }
  }
}

TEST(ThreadOrder, IsNothingToActivationAndRotation) {
  for (const test::ActivationCase& c : test::activation_cases()) {
    if (c.x.bytes.empty() || c.f.act != Act::kSilu) continue;
    expect_same_bits(c.name(), [&] {
      const Device x(c.x.bytes), up(c.up.bytes), x_bias(c.x_bias.bytes), up_bias(c.up_bias.bytes);
      FfnActivation f = c.f;
      f.x = x.data();
      if (!c.up.bytes.empty()) f.up = up.data();
      if (!c.x_bias.bytes.empty()) f.x_bias = x_bias.data();
      if (!c.up_bias.bytes.empty()) f.up_bias = up_bias.data();
      EXPECT_EQ(activate_cuda(f), nullptr);
      return x.values();
    });
  }
  for (const test::RotaryCase& c : test::rotary_cases()) {
    if (c.x.bytes.empty()) continue;
    expect_same_bits(c.name(), [&] {
      const Device x(c.x.bytes), cosines(c.cosines.bytes), sines(c.sines.bytes);
      Rotary r = c.r;
      r.x = x.data(), r.cosines = cosines.data(), r.sines = sines.data();
      EXPECT_EQ(rotate_cuda(r), nullptr);
      return x.values();
    });
  }
}

}  // namespace
}  // namespace mnm
