// The readout of final hidden states on a CUDA device, for vocabularies of 128k and 262k words:
// after its losses were held against LibTorch's own, its time beside that of the product alone, and
// the memory that it takes beside the head and the states. One JSON object a line. bench/gpu runs
// it.
#include <ATen/ATen.h>
#include <ATen/Context.h>
#include <ATen/core/grad_mode.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <vector>

#include "eval/readout.h"
#include "model/error.h"

namespace mnm {
namespace {

constexpr std::int64_t kHidden = 2048, kSequences = 4, kContext = 2048;
constexpr std::int64_t kRows = kSequences * kContext;
constexpr LogitTile kTile = {2048, 8192, 0, 0};  // as the evaluator has it on a device

// A model of nothing but a head.
class Head final : public Fold {
 public:
  explicit Head(const at::Tensor& weight) : weight_(weight) {}
  void load(std::size_t) override {}
  void unload(std::size_t) override {}
  State embed(const at::Tensor&) override { fail("this model has no embedding"); }
  State step(std::size_t, const State&, std::span<const Child>) override {
    fail("this model has no layers");
  }
  State extend(std::size_t, const State&, Width, std::int64_t, LayerCache&) override {
    fail("this model has no layers");
  }
  at::Tensor readout(const State& state) override { return state.tensors.front(); }
  at::Tensor logits(const at::Tensor& rows) override { return at::mm(rows, weight_.t()); }
  at::Tensor logits_of(const at::Tensor& rows, std::int64_t first, std::int64_t count) override {
    return at::mm(rows, weight_.narrow(0, first, count).t());
  }

 private:
  at::Tensor weight_;
};

// Median seconds of several, each waited for.
template <typename Work>
double seconds_of(const Work& work) {
  work();
  std::vector<double> seconds;
  for (int round = 0; round < 7; ++round) {
    at::detail::getCUDAHooks().deviceSynchronize(0);
    const auto start = std::chrono::steady_clock::now();
    work();
    at::detail::getCUDAHooks().deviceSynchronize(0);
    seconds.push_back(
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  std::nth_element(seconds.begin(), seconds.begin() + 3, seconds.end());
  return seconds[3];
}

// The worst difference of a sequence's mean loss, KL or agreement from LibTorch's, in double from
// the same rounded logits.
void verify(Head& head, const at::Tensor& hidden, const at::Tensor& full, const Batch& batch,
            const at::Tensor& measured) {
  for (std::int64_t sequence = 0; sequence < kSequences; ++sequence) {
    at::Tensor sums = at::zeros({3}, at::TensorOptions(at::kCUDA).dtype(at::kDouble));
    constexpr std::int64_t kAtOnce = 256;
    for (std::int64_t token = 0; token < kContext; token += kAtOnce) {
      const auto logits_of = [&](const at::Tensor& from) {
        return head.logits(from[0][sequence].narrow(0, token, kAtOnce)).to(at::kDouble);
      };
      const at::Tensor x = logits_of(hidden), a = logits_of(full);
      const at::Tensor q = at::log_softmax(x, 1), p = at::log_softmax(a, 1);
      const at::Tensor target = batch.targets[sequence].narrow(0, token, kAtOnce).unsqueeze(1);
      sums[0] -= q.gather(1, target).sum();
      sums[1] += p.exp().mul(p - q).sum();
      const at::Tensor best = a.eq(a.amax({1}, true)).to(at::kInt).argmax(1, true);
      sums[2] += x.gather(1, best).squeeze(1).eq(x.amax({1})).sum();
    }
    const at::Tensor apart = (sums / kContext - measured[0].select(1, sequence)).abs().cpu();
    // Means of values below 32, each off by some 64 roundings of f32 (tests/kernels bounds one);
    // and a product of another shape may round a logit or two to bf16's other neighbour, 2^-7
    // of 16.
    const double rounding = 64 * 32 * 0x1p-24 + 2 * 0x1p-7 * 16 / kContext;
    for (std::int64_t metric = 0; metric < 3; ++metric) {
      const double off = apart[metric].item<double>();
      const double tolerance = metric == 2 ? 2.0 / kContext : rounding;
      if (!(off <= tolerance)) {
        fail(
            "the readout's metric {} of sequence {} is off by {:.2e}, more than {:.2e}: nothing "
            "was timed",
            metric, sequence, off, tolerance);
      }
    }
  }
}

void bench(std::int64_t vocab) {
  const auto options = at::TensorOptions(at::kCUDA).dtype(at::kBFloat16);
  Head head(at::randn({vocab, kHidden}, options).mul_(0.05));
  const at::Tensor hidden = at::randn({1, kSequences, kContext, kHidden}, options);
  const at::Tensor full = hidden + at::randn_like(hidden) * 0.1;
  Batch batch;
  batch.tokens = at::randint(vocab, {kSequences, kContext}, options.dtype(at::kLong));
  batch.targets = at::randint(vocab, {kSequences, kContext}, options.dtype(at::kLong));
  LogitTile tile = kTile;
  tile.vocab = vocab;
  Readout alone(head, tile, batch), compared(head, tile, batch);
  compared.set_reference({{full}});
  tile.kept = static_cast<std::uint64_t>(kRows * vocab) * sizeof(std::uint16_t);
  Readout kept(head, tile, batch);
  kept.set_reference({{full}});
  verify(head, hidden, full, batch, compared.measure({{hidden}}));

  c10::DeviceAllocator* const allocator = c10::getDeviceAllocator(at::kCUDA);
  const auto allocated = [&] { return allocator->getDeviceStats(0).allocated_bytes[0]; };
  const std::int64_t before = allocated().current;
  allocator->resetPeakStats(0);
  alone.measure({{hidden}});
  const std::int64_t work = allocated().peak - before;
  allocator->resetPeakStats(0);
  compared.measure({{hidden}});
  const std::int64_t work_compared = allocated().peak - before;

  const at::Tensor rows = hidden.view({kRows, kHidden});
  const double in_one = seconds_of([&] { head.logits(rows); });
  const double in_tiles = seconds_of([&] {
    for (std::int64_t row = 0; row < kRows; row += kTile.rows) {
      for (std::int64_t word = 0; word < vocab; word += kTile.words) {
        head.logits_of(rows.narrow(0, row, kTile.rows), word, std::min(kTile.words, vocab - word));
      }
    }
  });
  const double loss = seconds_of([&] { alone.measure({{hidden}}); });
  const double all = seconds_of([&] { compared.measure({{hidden}}); });
  const double with_kept = seconds_of([&] { kept.measure({{hidden}}); });
  const double flops = 2.0 * static_cast<double>(kRows * kHidden) * static_cast<double>(vocab);
  fmt::print(
      "{{\"vocab\": {}, \"rows\": {}, \"flops\": {}, \"product_seconds\": {}, "
      "\"product_in_tiles_seconds\": {}, \"loss_seconds\": {}, \"compared_seconds\": {}, "
      "\"kept_seconds\": {}, \"work_bytes\": {}, \"compared_work_bytes\": {}}}\n",
      vocab, kRows, flops, in_one, in_tiles, loss, all, with_kept, work, work_compared);
  std::fflush(stdout);
}

int run() {
  try {
    if (!at::hasCUDA() || at::detail::getCUDAHooks().deviceCount() == 0) {
      fail("cannot time the readout: LibTorch finds no CUDA device here");
    }
    const at::NoGradGuard no_grad;
    at::manual_seed(1);
    for (const std::int64_t vocab : {128256, 262144}) bench(vocab);
    return 0;
  } catch (const std::exception& error) {
    fmt::print(stderr, "gpu_readout: {}\n", error.what());
    return 1;
  }
}

}  // namespace
}  // namespace mnm

int main() { return mnm::run(); }
