#include "kernels/mamba2_scan.h"

#include <cstring>

#include "kernels/tile.h"

namespace mnm {
namespace {

// Hands out the work space piece by piece; with a null base it only counts.
struct Arena {
  float* base;
  std::int64_t used = 0;
  MNM_INLINE float* take(std::int64_t floats) {
    float* const piece = base ? base + used : nullptr;
    used += padded(floats);
    return piece;
  }
};

// One chunk's view of a scan. Packed rows end in zeros, up to a multiple of a tile's columns.
struct Sizes {
  std::int64_t chunk, wide_chunk, wide_state, wide_dim;
  MNM_INLINE explicit Sizes(const SsdShape& s)
      : chunk(s.chunk),
        wide_chunk(padded(s.chunk)),
        wide_state(padded(s.state)),
        wide_dim(padded(s.head_dim)) {}
};

struct Forward {
  float *states, *bt, *g, *m, *cum, *grown, *left, *x, *y;
  MNM_INLINE Forward(const SsdShape& s, Arena& arena) {
    const Sizes z(s);
    states = arena.take(s.heads * s.state * z.wide_dim);  // [heads, state, dim]
    bt = arena.take(s.state * z.wide_chunk);              // B transposed
    g = arena.take(z.chunk * z.wide_chunk);               // C B^T
    m = arena.take(z.chunk * z.wide_chunk);               // g, decayed and causal
    cum = arena.take(z.wide_chunk);                       // sum of dt a from the chunk's start
    grown = arena.take(z.wide_chunk);                     // exp(cum): of the entering state
    left = arena.take(z.wide_chunk);                      // exp(cum[last] - cum): at the end
    x = arena.take(z.chunk * z.wide_dim);                 // dt x
    y = arena.take(z.chunk * z.wide_dim);
  }
};

MNM_INLINE void zero(float* x, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) x[i] = 0;
}

MNM_INLINE void scale_rows(float* x, std::int64_t rows, std::int64_t width, const float* by) {
  for (std::int64_t r = 0; r < rows; ++r, x += width) {
    for (std::int64_t i = 0; i < width; ++i) x[i] *= by[r];
  }
}

// cum, grown and left of one head's chunk of n tokens.
MNM_INLINE void decays(const float* dt, std::int64_t stride, float a, std::int64_t n,
                       std::int64_t wide, float* cum, float* grown, float* left) {
  float sum = 0;
  for (std::int64_t t = 0; t < n; ++t) cum[t] = sum += dt[t * stride] * a;
  for (std::int64_t t = n; t < wide; ++t) cum[t] = sum;
  for (std::int64_t t = 0; t < wide; ++t) grown[t] = exp_of(cum[t]);
  for (std::int64_t t = 0; t < wide; ++t) left[t] = exp_of(sum - cum[t]);
}

// decay[t, s] = exp(cum[t] - cum[s]) for s <= t, else zero; whole tiles of the lower triangle.
MNM_INLINE void causal_decay(const float* cum, std::int64_t t, std::int64_t to, float* decay) {
  for (std::int64_t s = 0; s < to; ++s) {
    const float since = cum[t] - cum[s];
    decay[s] = s <= t ? exp_of(since < 0 ? since : 0) : 0;
  }
}

MNM_INLINE std::int64_t lower_end(std::int64_t t, std::int64_t wide) {
  const std::int64_t end = padded(t / kTileRows * kTileRows + kTileRows);
  return end < wide ? end : wide;
}

// x = dt x of one head's chunk, packed.
MNM_INLINE void pack_steps(const float* x, std::int64_t stride, const float* dt,
                           std::int64_t dt_stride, std::int64_t n, std::int64_t dim, float* to) {
  pack(x, stride, n, dim, to);
  const std::int64_t width = padded(dim);
  for (std::int64_t t = 0; t < n; ++t) {
    for (std::int64_t p = 0; p < width; ++p) to[t * width + p] *= dt[t * dt_stride];
  }
}

MNM_INLINE void mamba2_scan_body(const SsdShape& s, const SsdInputs& in, float* carried, float* y,
                                 float* work) {
  Arena arena{work};
  const Forward f(s, arena);
  const Sizes z(s);
  const std::int64_t wide = z.wide_chunk, dim = z.wide_dim;
  if (carried) {
    pack(carried, s.head_dim, s.heads * s.state, s.head_dim, f.states);
  } else {
    zero(f.states, s.heads * s.state * dim);
  }
  for (std::int64_t begin = 0; begin < s.tokens; begin += z.chunk) {
    const std::int64_t n = s.tokens - begin < z.chunk ? s.tokens - begin : z.chunk;
    const float* const b = in.b + begin * s.bc_stride;
    const float* const c = in.c + begin * s.bc_stride;
    pack_transposed(b, s.bc_stride, n, s.state, wide, f.bt);
    zero(f.g, n * wide);
    add_product({c, s.bc_stride, 1}, Triangle::kAll, n, s.state, f.bt, wide, padded(n), f.g, wide);
    for (std::int64_t h = 0; h < s.heads; ++h) {
      const float* const x = in.x + begin * s.x_stride + h * s.head_dim;
      const float* const dt = in.dt + begin * s.dt_stride + h;
      float* const state = f.states + h * s.state * dim;
      decays(dt, s.dt_stride, in.a[h], n, wide, f.cum, f.grown, f.left);
      for (std::int64_t t = 0; t < n; ++t) {
        const std::int64_t end = lower_end(t, wide);
        float* const m = f.m + t * wide;
        causal_decay(f.cum, t, end, m);
        for (std::int64_t k = 0; k < end; ++k) m[k] *= f.g[t * wide + k];
      }
      pack_steps(x, s.x_stride, dt, s.dt_stride, n, s.head_dim, f.x);
      zero(f.y, n * dim);
      add_product({c, s.bc_stride, 1}, Triangle::kAll, n, s.state, state, dim, dim, f.y, dim);
      scale_rows(f.y, n, dim, f.grown);
      add_product({f.m, wide, 1}, Triangle::kLower, n, n, f.x, dim, dim, f.y, dim);
      float* const out = y + begin * s.y_stride + h * s.head_dim;
      for (std::int64_t t = 0; t < n; ++t) {
        for (std::int64_t p = 0; p < s.head_dim; ++p) {
          out[t * s.y_stride + p] = f.y[t * dim + p] + in.d[h] * x[t * s.x_stride + p];
        }
      }
      scale_rows(f.x, n, dim, f.left);
      const float whole = f.grown[n - 1];
      for (std::int64_t i = 0; i < s.state * dim; ++i) state[i] *= whole;
      add_product({b, 1, s.bc_stride}, Triangle::kAll, s.state, n, f.x, dim, dim, state, dim);
    }
  }
  if (carried) {
    for (std::int64_t i = 0; i < s.heads * s.state; ++i) {
      for (std::int64_t p = 0; p < s.head_dim; ++p) {
        carried[i * s.head_dim + p] = f.states[i * dim + p];
      }
    }
  }
}

struct Backward {
  float *states, *dstates, *bt, *b, *c, *g, *m, *w, *wsum, *scores, *cum, *grown, *left;
  float *x, *xt, *dy, *dx, *transposed, *by_state, *db, *dc, *dcum;
  MNM_INLINE Backward(const SsdShape& s, Arena& arena) {
    const Sizes z(s);
    const std::int64_t chunks = (s.tokens + z.chunk - 1) / z.chunk;
    states = arena.take(chunks * s.heads * s.state * z.wide_dim);  // entering each chunk
    dstates = arena.take(s.heads * s.state * z.wide_dim);          // leaving the chunk
    bt = arena.take(s.state * z.wide_chunk);
    b = arena.take(z.chunk * z.wide_state);
    c = arena.take(z.chunk * z.wide_state);
    g = arena.take(z.chunk * z.wide_chunk);
    m = arena.take(z.chunk * z.wide_chunk);
    w = arena.take(z.wide_chunk);
    wsum = arena.take(z.chunk * z.wide_chunk);    // gradient of g
    scores = arena.take(z.chunk * z.wide_chunk);  // dy (dt x)^T
    cum = arena.take(z.wide_chunk);
    grown = arena.take(z.wide_chunk);
    left = arena.take(z.wide_chunk);
    x = arena.take(z.chunk * z.wide_dim);
    xt = arena.take(s.head_dim * z.wide_chunk);
    dy = arena.take(z.chunk * z.wide_dim);
    dx = arena.take(z.chunk * z.wide_dim);
    transposed = arena.take(s.head_dim * z.wide_state);
    by_state = arena.take(z.chunk * z.wide_state);
    db = arena.take(z.chunk * z.wide_state);
    dc = arena.take(z.chunk * z.wide_state);
    dcum = arena.take(z.wide_chunk);
  }
};

// States entering every chunk: [chunks, heads, state, dim].
MNM_INLINE void enter_chunks(const SsdShape& s, const SsdInputs& in, const Backward& f) {
  const Sizes z(s);
  const std::int64_t dim = z.wide_dim, size = s.state * dim;
  zero(f.states, s.heads * size);
  for (std::int64_t begin = 0; begin + z.chunk < s.tokens; begin += z.chunk) {
    const float* const b = in.b + begin * s.bc_stride;
    float* const from = f.states + begin / z.chunk * s.heads * size;
    for (std::int64_t h = 0; h < s.heads; ++h) {
      const float* const dt = in.dt + begin * s.dt_stride + h;
      decays(dt, s.dt_stride, in.a[h], z.chunk, z.wide_chunk, f.cum, f.grown, f.left);
      pack_steps(in.x + begin * s.x_stride + h * s.head_dim, s.x_stride, dt, s.dt_stride, z.chunk,
                 s.head_dim, f.x);
      scale_rows(f.x, z.chunk, dim, f.left);
      float* const state = from + (s.heads + h) * size;
      const float whole = f.grown[z.chunk - 1];
      for (std::int64_t i = 0; i < size; ++i) state[i] = from[h * size + i] * whole;
      add_product({b, 1, s.bc_stride}, Triangle::kAll, s.state, z.chunk, f.x, dim, dim, state, dim);
    }
  }
}

// One head's chunk of n tokens, backward. Forward, with cum[t] the sum of dt a from the chunk's
// start to t, H the state that enters, x' = dt x, and s <= t:
//
//   g = C B^T,  decay[t, s] = exp(cum[t] - cum[s]),  m = decay o g,  left[s] = exp(cum[last] -
//   cum[s])
//   y = m x' + exp(cum) o (C H) + d x
//   H' = exp(cum[last]) H + B^T (left o x')
//
// So, given dy and the gradient dH' of the state that leaves,
//
//   dx' = m^T dy + left o (B dH')
//   dg = decay o (dy x'^T), summed over heads;  dC = dg B + exp(cum) o (dy H^T)
//                                               dB = dg^T C + left o (x' dH'^T)
//   dH = exp(cum[last]) dH' + C^T (exp(cum) o dy)
//
// The sums cum get, with w = m o (dy x'^T):
//
//   dcum[t] = sum_s w[t, s] - sum_s w[s, t] + exp(cum[t]) (dy H^T)[t] . C[t]
//             - left[t] (x' dH'^T)[t] . B[t]
//   dcum[last] += sum_t left[t] (x' dH'^T)[t] . B[t] + exp(cum[last]) H . dH'
//
// and since each is a sum from the chunk's start, what it hands on is one to the chunk's end, D[t]
// = dcum[t] + ... + dcum[last]:
//
//   dx = dt dx' + d dy,  ddt = x . dx' + a D,  da = sum_t dt D,  dd = sum_t x . dy
struct HeadChunk {
  std::int64_t begin, n, head;  // tokens [begin, begin + n)
  const float *x, *dt;          // of the first token
  const float* state;           // H
  float* dstate;                // dH', becomes dH
};

// The sums of dt a, dt x and dy of a head, and dy (dt x)^T.
MNM_INLINE void pack_head(const SsdShape& s, const SsdInputs& in, const float* dy,
                          const HeadChunk& c, const Backward& f) {
  const Sizes z(s);
  const std::int64_t wide = z.wide_chunk, dim = z.wide_dim;
  decays(c.dt, s.dt_stride, in.a[c.head], c.n, wide, f.cum, f.grown, f.left);
  pack_steps(c.x, s.x_stride, c.dt, s.dt_stride, c.n, s.head_dim, f.x);
  pack(dy + c.begin * s.y_stride + c.head * s.head_dim, s.y_stride, c.n, s.head_dim, f.dy);
  pack_transposed(f.x, dim, c.n, s.head_dim, wide, f.xt);
  zero(f.scores, c.n * wide);
  add_product({f.dy, dim, 1}, Triangle::kAll, c.n, s.head_dim, f.xt, wide, padded(c.n), f.scores,
              wide);
}

// m, this head's part of dg (wsum), and what w gives dcum, which starts here.
MNM_INLINE void inside_chunk(const SsdShape& s, const HeadChunk& c, const Backward& f) {
  const std::int64_t wide = padded(s.chunk);
  zero(f.dcum, wide);
  for (std::int64_t t = 0; t < c.n; ++t) {
    const std::int64_t end = lower_end(t, wide);
    float* const m = f.m + t * wide;
    const float* const g = f.g + t * wide;
    const float* const score = f.scores + t * wide;
    float* const wsum = f.wsum + t * wide;
    causal_decay(f.cum, t, end, m);
    for (std::int64_t k = 0; k < end; ++k) {
      const float w = m[k] * score[k];
      wsum[k] += w;
      m[k] *= g[k];
      f.w[k] = w * g[k];
    }
    for (std::int64_t k = 0; k < end; ++k) f.dcum[k] -= f.w[k];
    Lanes sum = {};
    for (std::int64_t k = 0; k < end; k += kLanes) sum += lanes(f.w + k);
    for (std::int64_t i = 0; i < kLanes; ++i) f.dcum[t] += sum[i];
  }
}

// by_state = by[t] (rows [n, dim] state^T): [n, wide_state].
MNM_INLINE void times_state(const SsdShape& s, const float* rows, const float* state,
                            const float* by, std::int64_t n, const Backward& f) {
  const Sizes z(s);
  pack_transposed(state, z.wide_dim, s.state, s.head_dim, z.wide_state, f.transposed);
  zero(f.by_state, n * z.wide_state);
  add_product({rows, z.wide_dim, 1}, Triangle::kAll, n, s.head_dim, f.transposed, z.wide_state,
              z.wide_state, f.by_state, z.wide_state);
  scale_rows(f.by_state, n, z.wide_state, by);
}

// dx', and what dB and dcum get by way of the state that leaves.
MNM_INLINE void through_leaving_state(const SsdShape& s, const HeadChunk& c, const Backward& f) {
  const Sizes z(s);
  const std::int64_t dim = z.wide_dim;
  zero(f.dx, c.n * dim);
  add_product({f.b, z.wide_state, 1}, Triangle::kAll, c.n, s.state, c.dstate, dim, dim, f.dx, dim);
  scale_rows(f.dx, c.n, dim, f.left);
  times_state(s, f.x, c.dstate, f.left, c.n, f);
  float& dlast = f.dcum[c.n - 1];
  dlast += f.grown[c.n - 1] * dot(c.state, c.dstate, s.state * dim);
  for (std::int64_t t = 0; t < c.n; ++t) {
    const float* const from = f.by_state + t * z.wide_state;
    const float part = dot(from, f.b + t * z.wide_state, z.wide_state);
    f.dcum[t] -= part;
    dlast += part;
    for (std::int64_t i = 0; i < z.wide_state; ++i) f.db[t * z.wide_state + i] += from[i];
  }
  add_product({f.m, 1, z.wide_chunk}, Triangle::kUpper, c.n, c.n, f.dy, dim, dim, f.dx, dim);
}

// What dC and dcum get by way of the state that entered.
MNM_INLINE void through_entering_state(const SsdShape& s, const HeadChunk& c, const Backward& f) {
  const Sizes z(s);
  times_state(s, f.dy, c.state, f.grown, c.n, f);
  for (std::int64_t t = 0; t < c.n; ++t) {
    const float* const from = f.by_state + t * z.wide_state;
    f.dcum[t] += dot(from, f.c + t * z.wide_state, z.wide_state);
    for (std::int64_t i = 0; i < z.wide_state; ++i) f.dc[t * z.wide_state + i] += from[i];
  }
}

// dx, ddt, da and dd of the head.
MNM_INLINE void write_head(const SsdShape& s, const SsdInputs& in, const HeadChunk& c,
                           const Backward& f, const SsdGradients& out) {
  const std::int64_t dim = padded(s.head_dim);
  float sum = 0, da = 0, dd = 0;
  for (std::int64_t t = c.n; t-- > 0;) {
    sum += f.dcum[t];
    const float step = c.dt[t * s.dt_stride];
    da += step * sum;
    const float* const dy_row = f.dy + t * dim;
    const float* const dx_row = f.dx + t * dim;
    float* const to = out.x + (c.begin + t) * s.x_stride + c.head * s.head_dim;
    float along = 0;
    for (std::int64_t p = 0; p < s.head_dim; ++p) {
      const float value = c.x[t * s.x_stride + p];
      along += value * dx_row[p];
      dd += value * dy_row[p];
      to[p] = dx_row[p] * step + in.d[c.head] * dy_row[p];
    }
    out.dt[(c.begin + t) * s.dt_stride + c.head] = along + in.a[c.head] * sum;
  }
  out.a[c.head] += da;
  out.d[c.head] += dd;
}

MNM_INLINE void leave_to_entering(const SsdShape& s, const HeadChunk& c, const Backward& f) {
  const Sizes z(s);
  const std::int64_t dim = z.wide_dim;
  scale_rows(f.dy, c.n, dim, f.grown);
  const float whole = f.grown[c.n - 1];
  for (std::int64_t i = 0; i < s.state * dim; ++i) c.dstate[i] *= whole;
  add_product({f.c, 1, z.wide_state}, Triangle::kAll, s.state, c.n, f.dy, dim, dim, c.dstate, dim);
}

// What all heads of a chunk share: B, C and g, packed, and zeros where their gradients are added.
MNM_INLINE void pack_chunk(const SsdShape& s, const SsdInputs& in, std::int64_t begin,
                           std::int64_t n, const Backward& f) {
  const Sizes z(s);
  const std::int64_t wide = z.wide_chunk;
  pack(in.b + begin * s.bc_stride, s.bc_stride, n, s.state, f.b);
  pack(in.c + begin * s.bc_stride, s.bc_stride, n, s.state, f.c);
  pack_transposed(f.b, z.wide_state, n, s.state, wide, f.bt);
  zero(f.g, n * wide);
  zero(f.wsum, n * wide);
  zero(f.db, n * z.wide_state);
  zero(f.dc, n * z.wide_state);
  add_product({f.c, z.wide_state, 1}, Triangle::kAll, n, s.state, f.bt, wide, padded(n), f.g, wide);
}

// dB and dC of a chunk, once all heads have added to dg.
MNM_INLINE void write_chunk(const SsdShape& s, std::int64_t begin, std::int64_t n,
                            const Backward& f, const SsdGradients& out) {
  const Sizes z(s);
  const std::int64_t wide = z.wide_chunk;
  add_product({f.wsum, wide, 1}, Triangle::kLower, n, n, f.b, z.wide_state, z.wide_state, f.dc,
              z.wide_state);
  add_product({f.wsum, 1, wide}, Triangle::kUpper, n, n, f.c, z.wide_state, z.wide_state, f.db,
              z.wide_state);
  for (std::int64_t t = 0; t < n; ++t) {
    for (std::int64_t i = 0; i < s.state; ++i) {
      out.b[(begin + t) * s.bc_stride + i] += f.db[t * z.wide_state + i];
      out.c[(begin + t) * s.bc_stride + i] += f.dc[t * z.wide_state + i];
    }
  }
}

MNM_INLINE void mamba2_scan_backward_body(const SsdShape& s, const SsdInputs& in, const float* dy,
                                          const SsdGradients& out, float* work) {
  Arena arena{work};
  const Backward f(s, arena);
  const std::int64_t size = s.state * padded(s.head_dim);
  enter_chunks(s, in, f);
  zero(f.dstates, s.heads * size);
  for (std::int64_t begin = (s.tokens - 1) / s.chunk * s.chunk; begin >= 0; begin -= s.chunk) {
    const std::int64_t n = s.tokens - begin < s.chunk ? s.tokens - begin : s.chunk;
    pack_chunk(s, in, begin, n, f);
    for (std::int64_t h = 0; h < s.heads; ++h) {
      const HeadChunk c = {begin,
                           n,
                           h,
                           in.x + begin * s.x_stride + h * s.head_dim,
                           in.dt + begin * s.dt_stride + h,
                           f.states + (begin / s.chunk * s.heads + h) * size,
                           f.dstates + h * size};
      pack_head(s, in, dy, c, f);
      inside_chunk(s, c, f);
      through_leaving_state(s, c, f);
      through_entering_state(s, c, f);
      write_head(s, in, c, f, out);
      leave_to_entering(s, c, f);
    }
    write_chunk(s, begin, n, f, out);
  }
}

}  // namespace

std::int64_t ssd_work(const SsdShape& shape) {
  Arena arena{nullptr};
  Forward(shape, arena);
  return arena.used;
}

std::int64_t ssd_backward_work(const SsdShape& shape) {
  Arena arena{nullptr};
  Backward(shape, arena);
  return arena.used;
}

MNM_KERNEL(mamba2_scan,
           (const SsdShape& shape, const SsdInputs& in, float* carried, float* y, float* work),
           (shape, in, carried, y, work))

MNM_KERNEL(mamba2_scan_backward,
           (const SsdShape& shape, const SsdInputs& in, const float* dy,
            const SsdGradients& gradients, float* work),
           (shape, in, dy, gradients, work))

}  // namespace mnm
