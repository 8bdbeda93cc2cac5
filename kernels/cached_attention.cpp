#include "kernels/cached_attention.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/tile.h"

namespace mnm {
namespace {

constexpr std::int64_t kKeys = 64;  // at once
constexpr float kNone = -std::numeric_limits<float>::infinity();

// What is known of one query after some of the keys: the largest score, the sum of exp(score -
// largest), and with the same weights the sum of the values, in `out`.
struct Running {
  float largest = kNone, sum = 0;
};

typedef std::uint16_t Halves __attribute__((vector_size(16), aligned(2), may_alias));
typedef std::uint32_t Words __attribute__((vector_size(32)));

// kLanes elements that lie beside each other. (A vector that is returned would depend on which
// registers a machine has.)
MNM_INLINE void widen(const float* from, Lanes& to) { to = lanes(from); }
MNM_INLINE void widen(const Bf16* from, Lanes& to) {
  const Halves stored = *reinterpret_cast<const Halves*>(from);
  to = reinterpret_cast<Lanes>(__builtin_convertvector(stored, Words) << 16);
}

// scores[r, j] = q[r] . k[j] * scale for kRows rows.
template <std::int64_t kRows, typename K>
MNM_INLINE void score_rows(const float* const* q, const K* keys, std::int64_t n,
                           std::int64_t head_dim, float scale, float* scores) {
  for (std::int64_t j = 0; j < n; ++j) {
    const K* const key = keys + j * head_dim;
    Lanes sum[kRows] = {};
    for (std::int64_t d = 0; d < head_dim; d += kLanes) {
      Lanes k;
      widen(key + d, k);
#pragma GCC unroll 4
      for (std::int64_t r = 0; r < kRows; ++r) sum[r] += lanes(q[r] + d) * k;
    }
#pragma GCC unroll 4
    for (std::int64_t r = 0; r < kRows; ++r) {
      float total = 0;
      for (std::int64_t i = 0; i < kLanes; ++i) total += sum[r][i];
      scores[r * kKeys + j] = total * scale;
    }
  }
}

// scores[0, n) become exp(score - largest), and what was summed before is put on that scale.
MNM_INLINE void weigh(float* scores, std::int64_t n, std::int64_t head_dim, Running& running,
                      float* out) {
  float largest = running.largest;
  for (std::int64_t j = 0; j < n; ++j) largest = larger(scores[j], largest);
  if (largest == kNone) {  // nothing that this token sees
    for (std::int64_t j = 0; j < n; ++j) scores[j] = 0;
    return;
  }
  const float before = running.largest == kNone ? 0 : exp_of(running.largest - largest);
  float sum = running.sum * before;
  for (std::int64_t j = 0; j < n; ++j) {
    const bool seen = scores[j] != kNone;
    scores[j] = seen ? exp_of(scores[j] - largest) : 0;
    sum += scores[j];
  }
  running = {largest, sum};
  if (before == 1) return;
  for (std::int64_t d = 0; d < head_dim; d += kLanes) lanes(out + d) *= before;
}

template <typename K>
MNM_INLINE void add_values(const float* scores, const K* values, std::int64_t n,
                           std::int64_t head_dim, float* out) {
  for (std::int64_t d = 0; d < head_dim; d += kLanes) {
    Lanes sum = lanes(out + d);
    for (std::int64_t j = 0; j < n; ++j) {
      Lanes value;
      widen(values + j * head_dim + d, value);
      sum += scores[j] * value;
    }
    lanes(out + d) = sum;
  }
}

// Up to kTileRows queries over keys of the positions [begin, begin + n).
template <typename K>
MNM_INLINE void add_keys(const CachedAttention& a, std::int64_t row, std::int64_t rows,
                         const K* keys, const K* values, std::int64_t begin, std::int64_t n,
                         float* scores, Running* running, float* const* out) {
  const float* q[kTileRows];
  for (std::int64_t r = 0; r < kTileRows; ++r) {
    const std::int64_t i = row + (r < rows ? r : rows - 1);
    q[r] = a.queries + i / a.group * a.query_stride + i % a.group * a.head_dim;
  }
  const float scale = 1 / std::sqrt(static_cast<float>(a.head_dim));
  if (rows == 1) {
    score_rows<1, K>(q, keys, n, a.head_dim, scale, scores);
  } else {
    score_rows<kTileRows, K>(q, keys, n, a.head_dim, scale, scores);
  }
  for (std::int64_t r = 0; r < rows; ++r) {
    float* const of_row = scores + r * kKeys;
    const std::int64_t at = a.position + (row + r) / a.group;
    for (std::int64_t j = 0; j < n; ++j) {
      const bool seen = begin + j <= at && (a.window == 0 || begin + j > at - a.window);
      if (!seen) of_row[j] = kNone;
    }
    weigh(of_row, n, a.head_dim, running[r], out[r]);
    add_values(of_row, values, n, a.head_dim, out[r]);
  }
}

template <typename K>
MNM_INLINE void of_type(const CachedAttention& a, std::span<const KeptKeys> kept, float* work) {
  const std::int64_t rows = a.tokens * a.group;
  float* const scores = work;  // [kTileRows, kKeys]
  // [rows] of {largest, sum}, behind them
  Running* const running = reinterpret_cast<Running*>(work + kTileRows * kKeys);
  const auto out_of = [&](std::int64_t i) {
    return a.out + i / a.group * a.out_stride + i % a.group * a.head_dim;
  };
  for (std::int64_t i = 0; i < rows; ++i) {
    running[i] = {};
    for (std::int64_t d = 0; d < a.head_dim; ++d) out_of(i)[d] = 0;
  }
  for (const KeptKeys& part : kept) {
    for (std::int64_t begin = part.begin; begin < part.end; begin += kKeys) {
      const std::int64_t n = std::min(kKeys, part.end - begin);
      const std::int64_t offset = (begin - part.begin) * a.head_dim;
      for (std::int64_t row = 0; row < rows; row += kTileRows) {
        const std::int64_t count = std::min(kTileRows, rows - row);
        float* out[kTileRows];
        for (std::int64_t r = 0; r < count; ++r) out[r] = out_of(row + r);
        add_keys(a, row, count, static_cast<const K*>(part.keys) + offset,
                 static_cast<const K*>(part.values) + offset, begin, n, scores, running + row, out);
      }
    }
  }
  for (std::int64_t i = 0; i < rows; ++i) {
    const float weight = 1 / running[i].sum;
    for (std::int64_t d = 0; d < a.head_dim; ++d) out_of(i)[d] *= weight;
  }
}

MNM_INLINE void cached_attention_body(const CachedAttention& a, std::span<const KeptKeys> kept,
                                      float* work) {
  a.kept == Element::kF32 ? of_type<float>(a, kept, work) : of_type<Bf16>(a, kept, work);
}

}  // namespace

std::int64_t cached_attention_work(const CachedAttention& attention) {
  return kTileRows * kKeys + 2 * attention.tokens * attention.group;
}

MNM_KERNEL(cached_attention,
           (const CachedAttention& attention, std::span<const KeptKeys> kept, float* work),
           (attention, kept, work))

}  // namespace mnm
