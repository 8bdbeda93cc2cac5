// The chunked scan on a CUDA device: scores of every chunk once for all heads, states that chunks
// add, their sums along each sequence, and outputs. Compiled for the architectures that
// kernels/CMakeLists.txt names:
//   nvcc -std=c++17 -I. -arch=sm_90 -c kernels/cuda/mamba2_scan.cu
//
// f32 throughout. At Mamba-2's own sizes (state N 128, heads of P 64, chunks of Q 64) a token and
// head take 2 N P + Q P multiplications and as many additions, 41 K FLOPs, and 8 P + 12 N P / Q
// bytes of x, y and states, 2 KB: 0.6 ns of an H100 either way.
#include "kernels/cuda/mamba2_scan.h"

#include "kernels/cuda/launch.h"

namespace mnm {
namespace {

constexpr int kTile = 64;   // rows and columns of a block's tile; the longest chunk
constexpr int kDepth = 16;  // of an inner product, per round through shared memory
constexpr int kThreads = 256;
constexpr int kSide = 4;  // each thread holds kSide x kSide of the tile

static_assert(kTile == kSsdCudaChunk && kTile * kTile == kThreads * kSide * kSide);

struct Sizes {
  SsdShape s;
  long long sequences, chunks;
  long long x_sequence, dt_sequence, bc_sequence, y_sequence;
};

struct Work {
  float* cum;     // [sequences, heads, chunks, kTile]: sums of dt a from each chunk's start
  float* scores;  // [sequences, chunks, kTile, kTile]: C B^T
  float* states;  // [sequences, chunks, heads, state, head_dim]: added by a chunk, then entering it
};

Sizes sizes_of(const SsdBatch& b) {
  return {b.shape,      b.sequences,   (b.shape.tokens + b.shape.chunk - 1) / b.shape.chunk,
          b.x_sequence, b.dt_sequence, b.bc_sequence,
          b.y_sequence};
}

long long cum_floats(const Sizes& z) { return z.sequences * z.s.heads * z.chunks * kTile; }
long long score_floats(const Sizes& z) { return z.sequences * z.chunks * kTile * kTile; }
long long state_floats(const Sizes& z) {
  return z.sequences * z.chunks * z.s.heads * z.s.state * z.s.head_dim;
}

__device__ int tokens_of(const Sizes& z, long long chunk) {
  const long long left = z.s.tokens - chunk * z.s.chunk;
  return static_cast<int>(left < z.s.chunk ? left : z.s.chunk);
}

// Adds to sum[i][j] the product of tiles a [kTile, depth] and b [depth, kTile], whose elements the
// callables give (and zero outside), for rows kSide * ty + i and columns kSide * tx + j.
template <typename A, typename B>
__device__ void add_product(int depth, const A& a, const B& b, float (&sum)[kSide][kSide]) {
  __shared__ float left[kDepth][kTile + 4], right[kDepth][kTile + 4];
  const int tx = threadIdx.x % (kTile / kSide), ty = threadIdx.x / (kTile / kSide);
  for (int k0 = 0; k0 < depth; k0 += kDepth) {
    for (int i = threadIdx.x; i < kDepth * kTile; i += kThreads) {
      const int k = i / kTile, at = i % kTile;
      left[k][at] = k0 + k < depth ? a(at, k0 + k) : 0.0f;
      right[k][at] = k0 + k < depth ? b(k0 + k, at) : 0.0f;
    }
    __syncthreads();
#pragma unroll
    for (int k = 0; k < kDepth; ++k) {
      float l[kSide], r[kSide];
#pragma unroll
      for (int i = 0; i < kSide; ++i)
        l[i] = left[k][kSide * ty + i], r[i] = right[k][kSide * tx + i];
#pragma unroll
      for (int i = 0; i < kSide; ++i) {
#pragma unroll
        for (int j = 0; j < kSide; ++j) sum[i][j] += l[i] * r[j];
      }
    }
    __syncthreads();
  }
}

// Calls use(row, column, value) for what this thread holds.
template <typename Use>
__device__ void for_each(const float (&sum)[kSide][kSide], const Use& use) {
  const int tx = threadIdx.x % (kTile / kSide), ty = threadIdx.x / (kTile / kSide);
#pragma unroll
  for (int i = 0; i < kSide; ++i) {
#pragma unroll
    for (int j = 0; j < kSide; ++j) use(kSide * ty + i, kSide * tx + j, sum[i][j]);
  }
}

// One thread per sequence, head and chunk.
__global__ void sum_steps(Sizes z, SsdInputs in, float* cum) {
  const long long i = static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= z.sequences * z.s.heads * z.chunks) return;
  const long long chunk = i / z.s.heads % z.chunks, head = i % z.s.heads;
  const long long sequence = i / z.s.heads / z.chunks;
  const int n = tokens_of(z, chunk);
  const float* const dt =
      in.dt + sequence * z.dt_sequence + chunk * z.s.chunk * z.s.dt_stride + head;
  float* const to = cum + ((sequence * z.s.heads + head) * z.chunks + chunk) * kTile;
  float sum = 0;
  for (int t = 0; t < kTile; ++t) {
    if (t < n) sum += dt[t * z.s.dt_stride] * in.a[head];
    to[t] = sum;
  }
}

// One block per sequence and chunk.
__global__ void __launch_bounds__(kThreads) score_chunks(Sizes z, SsdInputs in, float* scores) {
  const long long sequence = blockIdx.x / z.chunks, chunk = blockIdx.x % z.chunks;
  const long long first = sequence * z.bc_sequence + chunk * z.s.chunk * z.s.bc_stride;
  const int n = tokens_of(z, chunk);
  float sum[kSide][kSide] = {};
  add_product(
      static_cast<int>(z.s.state),
      [&](int t, int k) { return t < n ? in.c[first + t * z.s.bc_stride + k] : 0.0f; },
      [&](int k, int t) { return t < n ? in.b[first + t * z.s.bc_stride + k] : 0.0f; }, sum);
  float* const to = scores + static_cast<long long>(blockIdx.x) * kTile * kTile;
  for_each(sum, [&](int t, int s, float value) { to[t * kTile + s] = value; });
}

// A head's chunk, from its block; the state and head_dim are cut into tiles in y and z.
struct Place {
  long long sequence, chunk, head;
  int n;
  const float *x, *dt, *b, *c, *cum;
  __device__ Place(const Sizes& z, const SsdInputs& in, const float* cums)
      : sequence(blockIdx.x / z.s.heads / z.chunks),
        chunk(blockIdx.x / z.s.heads % z.chunks),
        head(blockIdx.x % z.s.heads),
        n(tokens_of(z, chunk)),
        x(in.x + sequence * z.x_sequence + chunk * z.s.chunk * z.s.x_stride + head * z.s.head_dim),
        dt(in.dt + sequence * z.dt_sequence + chunk * z.s.chunk * z.s.dt_stride + head),
        b(in.b + sequence * z.bc_sequence + chunk * z.s.chunk * z.s.bc_stride),
        c(in.c + sequence * z.bc_sequence + chunk * z.s.chunk * z.s.bc_stride),
        cum(cums + ((sequence * z.s.heads + head) * z.chunks + chunk) * kTile) {}
};

// states[sequence, chunk, head] = sum_s exp(cum[n - 1] - cum[s]) dt[s] B[s] (x) x[s]
__global__ void __launch_bounds__(kThreads)
    add_to_states(Sizes z, SsdInputs in, const float* cums, float* states) {
  const Place at(z, in, cums);
  const int n0 = blockIdx.y * kTile, p0 = blockIdx.z * kTile;
  const int state = static_cast<int>(z.s.state), dim = static_cast<int>(z.s.head_dim);
  const float last = at.cum[kTile - 1];
  float sum[kSide][kSide] = {};
  add_product(
      at.n, [&](int i, int s) { return n0 + i < state ? at.b[s * z.s.bc_stride + n0 + i] : 0.0f; },
      [&](int s, int p) {
        return p0 + p < dim ? expf(last - at.cum[s]) * at.dt[s * z.s.dt_stride] *
                                  at.x[s * z.s.x_stride + p0 + p]
                            : 0.0f;
      },
      sum);
  float* const to = states + static_cast<long long>(blockIdx.x) * state * dim;
  for_each(sum, [&](int i, int p, float value) {
    if (n0 + i < state && p0 + p < dim) to[static_cast<long long>(n0 + i) * dim + p0 + p] = value;
  });
}

// One thread per sequence, head and element of a state: what each chunk added becomes what enters
// it.
__global__ void enter_chunks(Sizes z, const float* cums, float* carried, float* states) {
  const long long i = static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x;
  const long long size = z.s.state * z.s.head_dim, all = z.s.heads * size;
  if (i >= z.sequences * all) return;
  const long long sequence = i / all, head = i % all / size;
  const float* const cum = cums + (sequence * z.s.heads + head) * z.chunks * kTile;
  float* const to = states + sequence * z.chunks * all + i % all;
  float value = carried ? carried[i] : 0.0f;
  for (long long chunk = 0; chunk < z.chunks; ++chunk) {
    const float added = to[chunk * all];
    to[chunk * all] = value;
    value = expf(cum[chunk * kTile + kTile - 1]) * value + added;
  }
  if (carried) carried[i] = value;
}

// y = (scores * decay) dt x + exp(cum) C H + d x, for one head's chunk
__global__ void __launch_bounds__(kThreads)
    write_outputs(Sizes z, SsdInputs in, Work work, float* y) {
  const Place at(z, in, work.cum);
  const int p0 = blockIdx.z * kTile;
  const int state = static_cast<int>(z.s.state), dim = static_cast<int>(z.s.head_dim);
  const float* const entering = work.states + static_cast<long long>(blockIdx.x) * state * dim;
  const float* const scores = work.scores + (at.sequence * z.chunks + at.chunk) * kTile * kTile;
  float sum[kSide][kSide] = {};
  add_product(
      state, [&](int t, int k) { return t < at.n ? at.c[t * z.s.bc_stride + k] : 0.0f; },
      [&](int k, int p) {
        return p0 + p < dim ? entering[static_cast<long long>(k) * dim + p0 + p] : 0.0f;
      },
      sum);
  const int ty = threadIdx.x / (kTile / kSide);
#pragma unroll
  for (int i = 0; i < kSide; ++i) {
    const float grown = expf(at.cum[kSide * ty + i]);
#pragma unroll
    for (int j = 0; j < kSide; ++j) sum[i][j] *= grown;
  }
  add_product(
      at.n,
      [&](int t, int s) {
        return s <= t && t < at.n ? scores[t * kTile + s] * expf(at.cum[t] - at.cum[s]) : 0.0f;
      },
      [&](int s, int p) {
        return p0 + p < dim ? at.dt[s * z.s.dt_stride] * at.x[s * z.s.x_stride + p0 + p] : 0.0f;
      },
      sum);
  float* const to =
      y + at.sequence * z.y_sequence + at.chunk * z.s.chunk * z.s.y_stride + at.head * z.s.head_dim;
  const float skip = in.d[at.head];
  for_each(sum, [&](int t, int p, float value) {
    if (t < at.n && p0 + p < dim) {
      to[t * z.s.y_stride + p0 + p] = value + skip * at.x[t * z.s.x_stride + p0 + p];
    }
  });
}

}  // namespace

bool has_cuda_kernels() { return true; }

std::int64_t ssd_cuda_work(const SsdBatch& batch) {
  const Sizes z = sizes_of(batch);
  return cum_floats(z) + score_floats(z) + state_floats(z);
}

const char* mamba2_scan_cuda(const SsdBatch& batch, const SsdInputs& in, float* carried, float* y,
                             float* work) {
  const Sizes z = sizes_of(batch);
  if (z.sequences < 1 || z.s.tokens < 1 || z.s.heads < 1) return nullptr;
  if (z.s.chunk < 1 || z.s.chunk > kTile) return "a chunk has 1 to 64 tokens on a CUDA device";
  const auto blocks = [](long long items, long long per) { return (items + per - 1) / per; };
  const long long scans = z.sequences * z.chunks * z.s.heads;
  const long long elements = z.sequences * z.s.heads * z.s.state * z.s.head_dim;
  const long long state_tiles = blocks(z.s.state, kTile), dim_tiles = blocks(z.s.head_dim, kTile);
  if (scans > kMostBlocks || blocks(elements, kThreads) > kMostBlocks || state_tiles > 65535 ||
      dim_tiles > 65535) {
    return "too many sequences, heads and chunks for one launch";
  }
  Work w;
  w.cum = work;
  w.scores = w.cum + cum_floats(z);
  w.states = w.scores + score_floats(z);
  const auto grid = [](long long n) { return static_cast<unsigned>(n); };
  launch_kernel(grid(blocks(scans, kThreads)), kThreads, sum_steps, z, in, w.cum);
  launch_kernel(grid(z.sequences * z.chunks), kThreads, score_chunks, z, in, w.scores);
  launch_kernel(dim3(grid(scans), grid(state_tiles), grid(dim_tiles)), kThreads, add_to_states, z,
                in, w.cum, w.states);
  launch_kernel(grid(blocks(elements, kThreads)), kThreads, enter_chunks, z, w.cum, carried,
                w.states);
  launch_kernel(dim3(grid(scans), 1, grid(dim_tiles)), kThreads, write_outputs, z, in, w, y);
  return launched();
}

}  // namespace mnm
