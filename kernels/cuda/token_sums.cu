// One block per row, kRowThreads threads: each gathers every kRowThreads-th group of eight logits
// in registers, lanes merge by shuffles, warps through shared memory. Compiled for the
// architectures that kernels/CMakeLists.txt names:
//   nvcc -std=c++17 -I. -arch=sm_90 -c kernels/cuda/token_sums.cu
//
// A logit in bf16 is two bytes to read and 9/8 of an exponential, with a reference twice that. At
// d 2048 its product takes 4,096 FLOPs, some 5 ps of an H100 at 800 TFLOP/s; the two bytes take 0.6
// ps of its memory and the exponential 0.3 ps of its special function units.
#include "kernels/cuda/token_sums.h"

#include "kernels/cuda/launch.h"

namespace mnm {
namespace {

__device__ TokenSums from_lane(const TokenSums& s, int offset) {
  constexpr unsigned kAll = 0xffffffffu;
  TokenSums other;
  other.max = __shfl_down_sync(kAll, s.max, offset);
  other.sum = __shfl_down_sync(kAll, s.sum, offset);
  other.target = __shfl_down_sync(kAll, s.target, offset);
  other.best = __shfl_down_sync(kAll, s.best, offset);
  other.full_best = __shfl_down_sync(kAll, s.full_best, offset);
  other.full_max = __shfl_down_sync(kAll, s.full_max, offset);
  other.full_sum = __shfl_down_sync(kAll, s.full_sum, offset);
  other.moved = __shfl_down_sync(kAll, s.moved, offset);
  other.at_best = __shfl_down_sync(kAll, s.at_best, offset);
  return other;
}

template <typename T, bool kFull>
__global__ void __launch_bounds__(kRowThreads)
    read_rows(LogitChunk c, bool vectors, TokenSums* sums) {
  __shared__ TokenSums of_warp[kRowThreads / kWarp];
  const std::int64_t row = blockIdx.x, token = row % c.period;
  const T* const logits = static_cast<const T*>(c.logits) + row * c.stride;
  const T* const full = kFull ? static_cast<const T*>(c.full) + token * c.full_stride : nullptr;
  TokenSums s = sums_of_thread<T, kFull>(logits, full, c.words, c.first, c.targets[token], vectors,
                                         static_cast<int>(threadIdx.x));
  for (int offset = kWarp / 2; offset > 0; offset /= 2) s = merged(s, from_lane(s, offset));
  if (threadIdx.x % kWarp == 0) of_warp[threadIdx.x / kWarp] = s;
  __syncthreads();
  if (threadIdx.x > 0) return;
  for (int warp = 1; warp < kRowThreads / kWarp; ++warp) s = merged(s, of_warp[warp]);
  sums[row] = c.first == 0 ? s : merged(sums[row], s);
}

template <typename T>
__global__ void __launch_bounds__(kRowThreads)
    accept_rows(LogitChunk c, bool vectors, const TokenSums* sums, float* acceptance) {
  __shared__ float of_warp[kRowThreads / kWarp];
  const std::int64_t row = blockIdx.x;
  const Normaliser by = normaliser_of(sums[row]);
  float sum = accepted_of_thread(static_cast<const T*>(c.logits) + row * c.stride,
                                 static_cast<const T*>(c.full) + row % c.period * c.full_stride,
                                 c.words, by, vectors, static_cast<int>(threadIdx.x));
  for (int offset = kWarp / 2; offset > 0; offset /= 2) {
    sum += __shfl_down_sync(0xffffffffu, sum, offset);
  }
  if (threadIdx.x % kWarp == 0) of_warp[threadIdx.x / kWarp] = sum;
  __syncthreads();
  if (threadIdx.x > 0) return;
  for (int warp = 1; warp < kRowThreads / kWarp; ++warp) sum += of_warp[warp];
  acceptance[row] = (c.first == 0 ? by.start : acceptance[row]) + sum;
}

struct ScoreRow {
  const TokenSums* sums;
  const std::int64_t* targets;
  std::int64_t period;
  TokenMetrics metrics;
  __device__ void operator()(std::int64_t row) const {
    const TokenSums s = sums[row];
    metrics.loss[row] = loss_of(s);
    metrics.accuracy[row] = accuracy_of(s, targets[row % period]);
    if (!metrics.kl) return;
    metrics.kl[row] = kl_of(s);
    metrics.agreement[row] = agreement_of(s);
  }
};

template <typename T>
bool takes_vectors_of(const LogitChunk& c) {
  return takes_vectors(static_cast<const T*>(c.logits), c.stride) &&
         (!c.full || takes_vectors(static_cast<const T*>(c.full), c.full_stride));
}

}  // namespace

const char* read_logits_cuda(const LogitChunk& c, TokenSums* sums) {
  if (c.rows < 1) return nullptr;
  if (c.rows > kMostBlocks) return "too many rows of logits for one launch";
  const auto blocks = static_cast<unsigned>(c.rows);
  with_element(c.element, [&](auto element) {
    using T = decltype(element);
    const bool vectors = takes_vectors_of<T>(c);
    if (c.full) {
      launch_kernel(blocks, kRowThreads, read_rows<T, true>, c, vectors, sums);
    } else {
      launch_kernel(blocks, kRowThreads, read_rows<T, false>, c, vectors, sums);
    }
  });
  return launched();
}

const char* score_tokens_cuda(const TokenSums* sums, std::int64_t rows, const std::int64_t* targets,
                              std::int64_t period, const TokenMetrics& metrics) {
  return launch_items(ScoreRow{sums, targets, period, metrics}, rows);
}

const char* add_acceptance_cuda(const LogitChunk& c, const TokenSums* sums, float* acceptance) {
  if (c.rows < 1) return nullptr;
  if (c.rows > kMostBlocks) return "too many rows of logits for one launch";
  with_element(c.element, [&](auto element) {
    using T = decltype(element);
    launch_kernel(static_cast<unsigned>(c.rows), kRowThreads, accept_rows<T>, c,
                  takes_vectors_of<T>(c), sums, acceptance);
  });
  return launched();
}

}  // namespace mnm
