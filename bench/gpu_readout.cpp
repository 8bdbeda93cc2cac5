// gpu_readout cuda|cpu VOCABULARY...: the readout of final hidden states on a CUDA device; after
// its losses were held against LibTorch's own, its time beside that of the product alone, and the
// memory that it takes beside the head and the states. One JSON object a line. bench/gpu runs it,
// and rehearses with few rows in f32 on the CPU.
#include <ATen/ATen.h>
#include <ATen/Context.h>
#include <ATen/core/grad_mode.h>
#include <c10/core/Allocator.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <c10/util/ThreadLocalDebugInfo.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "fold/readout.h"

namespace mnm {
namespace {

struct Sizes {
  at::Device device;
  at::ScalarType dtype;
  std::int64_t hidden, sequences, context, checked;
  LogitTile tile;

  std::int64_t rows() const { return sequences * context; }
};

// Tiles as the evaluator has them on a device.
Sizes on_gpu() {
  return {at::Device(at::kCUDA, 0), at::kBFloat16, 2048, 4, 2048, 256, {2048, 8192, 0, 0}};
}
Sizes rehearsal() { return {at::kCPU, at::kFloat, 32, 2, 64, 32, {32, 256, 0, 0}}; }

// Bytes that are allocated on the CPU, where the allocator counts none.
class Counter final : public c10::MemoryReportingInfoBase {
 public:
  void reportMemoryUsage(void*, std::int64_t size, std::size_t, std::size_t, c10::Device) override {
    held_ += size;
    peak_ = std::max(peak_, held_);
  }
  bool memoryProfilingEnabled() const override { return true; }
  std::int64_t peak() const { return peak_; }

 private:
  std::int64_t held_ = 0, peak_ = 0;
};

// The most that `work` holds at once, beside what is there before.
template <typename Work>
std::int64_t bytes_of(const Sizes& sizes, const Work& work) {
  if (sizes.device.is_cpu()) {
    const auto counter = std::make_shared<Counter>();
    const c10::DebugInfoGuard guard(c10::DebugInfoKind::PROFILER_STATE, counter);
    work();
    return counter->peak();
  }
  c10::DeviceAllocator* const allocator = c10::getDeviceAllocator(sizes.device.type());
  const auto allocated = [&] { return allocator->getDeviceStats(0).allocated_bytes[0]; };
  const std::int64_t before = allocated().current;
  allocator->resetPeakStats(0);
  work();
  return allocated().peak - before;
}

void wait(const Sizes& sizes) {
  if (sizes.device.is_cuda()) at::detail::getCUDAHooks().deviceSynchronize(0);
}

// A model of nothing but a head.
class Head final : public Fold {
 public:
  explicit Head(const at::Tensor& weight) : weight_(weight) {}
  void load(std::size_t) override {}
  void unload(std::size_t) override {}
  Embedded embed(const Batch&) override { fail("this model has no embedding"); }
  State step(std::size_t, const Givens&, const State&, const Children&) override {
    fail("this model has no layers");
  }
  State extend(std::size_t, const Givens&, const State&, std::span<const Run>) override {
    fail("this model has no layers");
  }
  std::uint64_t element_bytes() const override { return weight_.element_size(); }
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
double seconds_of(const Sizes& sizes, const Work& work) {
  work();
  std::vector<double> seconds;
  for (int round = 0; round < 7; ++round) {
    wait(sizes);
    const auto start = std::chrono::steady_clock::now();
    work();
    wait(sizes);
    seconds.push_back(
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  std::nth_element(seconds.begin(), seconds.begin() + 3, seconds.end());
  return seconds[3];
}

// The worst difference of a sequence's mean loss, accuracy, KL or agreement from LibTorch's, in
// double from the same rounded logits.
void verify(const Sizes& sizes, Head& head, const at::Tensor& hidden, const at::Tensor& full,
            const Batch& batch, const at::Tensor& measured) {
  const auto context = static_cast<double>(sizes.context);
  for (std::int64_t sequence = 0; sequence < sizes.sequences; ++sequence) {
    at::Tensor sums = at::zeros({4}, at::TensorOptions(sizes.device).dtype(at::kDouble));
    for (std::int64_t token = 0; token < sizes.context; token += sizes.checked) {
      const auto logits_of = [&](const at::Tensor& from) {
        return head.logits(from[0][sequence].narrow(0, token, sizes.checked)).to(at::kDouble);
      };
      const at::Tensor x = logits_of(hidden), a = logits_of(full);
      const at::Tensor q = at::log_softmax(x, 1), p = at::log_softmax(a, 1);
      const at::Tensor target =
          batch.targets[sequence].narrow(0, token, sizes.checked).unsqueeze(1);
      sums[0] -= q.gather(1, target).sum();
      sums[1] += x.argmax(1, true).eq(target).sum();
      sums[2] += p.exp().mul(p - q).sum();
      const at::Tensor best = a.eq(a.amax({1}, true)).to(at::kInt).argmax(1, true);
      sums[3] += x.gather(1, best).squeeze(1).eq(x.amax({1})).sum();
    }
    const at::Tensor apart = (sums / context - measured[0].select(1, sequence)).abs().cpu();
    // Means of values below 32, each off by some 64 roundings of f32 (tests/kernels bounds one);
    // and a product of another shape may round a logit or two to bf16's other neighbour, 2^-7
    // of 16.
    const double rounding = 64 * 32 * 0x1p-24 + 2 * 0x1p-7 * 16 / context;
    for (std::int64_t metric = 0; metric < 4; ++metric) {
      const double off = apart[metric].item<double>();
      const double tolerance = metric % 2 == 1 ? 2 / context : rounding;
      if (!(off <= tolerance)) {
        fail(
            "the readout's metric {} of sequence {} is off by {:.2e}, more than {:.2e}: nothing "
            "was timed",
            metric, sequence, off, tolerance);
      }
    }
  }
}

void bench(const Sizes& sizes, std::int64_t vocab) {
  const auto options = at::TensorOptions(sizes.device).dtype(sizes.dtype);
  Head head(at::randn({vocab, sizes.hidden}, options).mul_(0.05));
  const at::Tensor hidden = at::randn({1, sizes.sequences, sizes.context, sizes.hidden}, options);
  const at::Tensor full = hidden + at::randn_like(hidden) * 0.1;
  Batch batch;
  const std::vector<std::int64_t> shape = {sizes.sequences, sizes.context};
  batch.inputs = at::randint(vocab, shape, options.dtype(at::kLong));
  batch.targets = at::randint(vocab, shape, options.dtype(at::kLong));
  LogitTile tile = sizes.tile;
  tile.vocab = vocab;
  Readout alone(head, tile, batch), compared(head, tile, batch);
  compared.set_reference({{full}});
  tile.kept = static_cast<std::uint64_t>(sizes.rows() * vocab) * hidden.element_size();
  Readout kept(head, tile, batch);
  kept.set_reference({{full}});
  verify(sizes, head, hidden, full, batch, compared.measure({{hidden}}));

  const std::int64_t work = bytes_of(sizes, [&] { alone.measure({{hidden}}); });
  const std::int64_t work_compared = bytes_of(sizes, [&] { compared.measure({{hidden}}); });

  const at::Tensor rows = hidden.view({sizes.rows(), sizes.hidden});
  const double in_one = seconds_of(sizes, [&] { head.logits(rows); });
  const double in_tiles = seconds_of(sizes, [&] {
    for (std::int64_t row = 0; row < sizes.rows(); row += tile.rows) {
      for (std::int64_t word = 0; word < vocab; word += tile.words) {
        head.logits_of(rows.narrow(0, row, tile.rows), word, std::min(tile.words, vocab - word));
      }
    }
  });
  const double loss = seconds_of(sizes, [&] { alone.measure({{hidden}}); });
  const double all = seconds_of(sizes, [&] { compared.measure({{hidden}}); });
  const double with_kept = seconds_of(sizes, [&] { kept.measure({{hidden}}); });
  const double flops =
      2.0 * static_cast<double>(sizes.rows() * sizes.hidden) * static_cast<double>(vocab);
  fmt::print(
      "{{\"vocab\": {}, \"rows\": {}, \"flops\": {}, \"product_seconds\": {}, "
      "\"product_in_tiles_seconds\": {}, \"loss_seconds\": {}, \"compared_seconds\": {}, "
      "\"kept_seconds\": {}, \"work_bytes\": {}, \"compared_work_bytes\": {}}}\n",
      vocab, sizes.rows(), flops, in_one, in_tiles, loss, all, with_kept, work, work_compared);
  std::fflush(stdout);
}

int run(const std::vector<std::string>& words) {
  try {
    if (words.size() < 2 || (words[0] != "cuda" && words[0] != "cpu")) {
      fail("usage: gpu_readout cuda|cpu VOCABULARY...");
    }
    const bool gpu = words[0] == "cuda";
    if (gpu && (!at::hasCUDA() || at::detail::getCUDAHooks().deviceCount() == 0)) {
      fail("cannot time the readout: LibTorch finds no CUDA device here");
    }
    const at::NoGradGuard no_grad;
    at::manual_seed(1);
    for (std::size_t i = 1; i < words.size(); ++i) {
      bench(gpu ? on_gpu() : rehearsal(), std::stoll(words[i]));
    }
    return 0;
  } catch (const std::exception& error) {
    fmt::print(stderr, "gpu_readout: {}\n", error.what());
    return 1;
  }
}

}  // namespace
}  // namespace mnm

int main(int count, char** words) { return mnm::run({words + (count > 0 ? 1 : 0), words + count}); }
