#include "families/mamba2/mixer_fold.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <vector>

#include "fold/launch.h"
#include "kernels/causal_conv.h"
#include "kernels/cuda/mamba2_scan.h"
#include "kernels/gated_norm.h"
#include "kernels/mamba2_scan.h"

namespace mnm {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr std::int64_t kProductChunk = 64;  // tokens of a chunk where LibTorch takes the products

// silu(conv(x)) of [sequences, tokens, mixed]; the last inputs go to `state`.
at::Tensor convolved(const Mixer& m, const at::Tensor& x, MixerState* state) {
  const std::int64_t taps = m.conv.size(0), tokens = x.size(1);
  at::Tensor before;
  if (state && state->before.defined()) {
    before = state->before.to(x.scalar_type());
  } else {
    before = at::zeros({x.size(0), taps - 1, x.size(2)}, x.options());
  }
  const at::Tensor padded = at::cat({before, x}, 1);
  if (state) state->before = padded.narrow(1, tokens, taps - 1).clone();
  at::Tensor sum;
  for (std::int64_t k = 0; k < taps; ++k) {
    const at::Tensor part = padded.narrow(1, k, tokens) * m.conv[k];
    sum = k == 0 ? part : sum + part;
  }
  if (m.conv_bias.defined()) sum = sum + m.conv_bias;
  return at::silu(sum);
}

// [sequences, tokens, groups, n] -> [sequences, chunks, heads or groups, chunk, n], zeros at the
// end
at::Tensor in_chunks(const at::Tensor& x, std::int64_t chunk) {
  const std::int64_t missing = (chunk - x.size(1) % chunk) % chunk;
  const at::Tensor whole = missing > 0 ? at::constant_pad_nd(x, {0, 0, 0, 0, 0, missing}) : x;
  return whole.reshape({x.size(0), -1, chunk, x.size(2), x.size(3)}).transpose(2, 3);
}

at::Tensor per_head(const at::Tensor& of_groups, std::int64_t heads) {
  const std::int64_t groups = of_groups.size(2);
  if (groups == 1 || groups == heads) return of_groups;
  return of_groups.repeat_interleave(heads / groups, 2);
}

// The scan by the CUDA kernels: mixed [sequences, tokens, mixed], dt [sequences, tokens, heads].
at::Tensor scan_on_device(const Mixer& m, const at::Tensor& convolved_rows, const at::Tensor& steps,
                          MixerState* state) {
  const at::Tensor mixed = convolved_rows.contiguous(), dt = steps.contiguous();
  const at::Tensor a = m.a.contiguous(), d = m.d.contiguous();
  const std::int64_t sequences = mixed.size(0), tokens = mixed.size(1);
  const at::Tensor y = at::empty({sequences, tokens, m.inner}, mixed.options());
  const SsdBatch batch = {.shape = {.tokens = tokens,
                                    .heads = m.heads(),
                                    .head_dim = m.head_dim,
                                    .state = m.state,
                                    .x_stride = m.mixed(),
                                    .dt_stride = m.heads(),
                                    .bc_stride = m.mixed(),
                                    .y_stride = m.inner,
                                    .chunk = kSsdCudaChunk},
                          .sequences = sequences,
                          .x_sequence = tokens * m.mixed(),
                          .dt_sequence = tokens * m.heads(),
                          .bc_sequence = tokens * m.mixed(),
                          .y_sequence = tokens * m.inner};
  float* carried = nullptr;
  if (state) {
    state->scan = state->scan.defined()
                      ? state->scan.clone()
                      : at::zeros({sequences, m.heads(), m.state, m.head_dim}, mixed.options());
    carried = state->scan.data_ptr<float>();
  }
  // Frees itself once the stream has come past it, as every tensor's memory does.
  const at::Tensor work = at::empty({ssd_cuda_work(batch)}, mixed.options());
  const float* const x = mixed.const_data_ptr<float>();
  launch(mixed, "scan", [&] {
    return mamba2_scan_cuda(batch,
                            {x, dt.const_data_ptr<float>(), a.const_data_ptr<float>(), x + m.inner,
                             x + m.inner + m.state, d.const_data_ptr<float>()},
                            carried, y.data_ptr<float>(), work.data_ptr<float>());
  });
  return y;
}

}  // namespace

at::Tensor time_steps(const at::Tensor& biased, const TimeStepLimit& limit) {
  at::Tensor dt = at::softplus(biased);
  if (limit.binds_low()) dt = dt.clamp_min(limit.low);
  if (limit.binds_high()) dt = dt.clamp_max(limit.high);
  return dt;
}

at::Tensor scan_rows(const Mixer& m, const at::Tensor& rows, MixerState* state) {
  const std::int64_t sequences = rows.size(0), tokens = rows.size(1), heads = m.heads();
  const at::Tensor mixed = convolved(m, rows.narrow(2, m.inner, m.mixed()), state);
  // The recurrence is taken in f32 at least, as mamba_ssm does.
  const at::ScalarType type = mixed.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  const std::int64_t part = m.groups * m.state, chunk = std::min(kProductChunk, tokens);
  const at::Tensor dt =
      time_steps((rows.narrow(2, m.inner + m.mixed(), heads) + m.dt_bias).to(type), m.limit);
  if (on_cuda(dt) && dt.scalar_type() == at::kFloat && rows.scalar_type() == at::kFloat &&
      m.groups == 1 && !c10::GradMode::is_enabled() && has_cuda_kernels()) {
    return scan_on_device(m, mixed, dt, state);
  }
  const at::Tensor x =
      mixed.narrow(2, 0, m.inner).to(type).reshape({sequences, tokens, heads, m.head_dim});
  const auto of_groups = [&](std::int64_t begin) {
    return per_head(
        in_chunks(
            mixed.narrow(2, begin, part).to(type).reshape({sequences, tokens, m.groups, m.state}),
            chunk),
        heads);
  };
  const at::Tensor b = of_groups(m.inner), c = of_groups(m.inner + part);  // [s, c, g, q, n]
  const at::Tensor steps = in_chunks(x * dt.unsqueeze(3), chunk);          // [s, c, h, q, p]
  const at::Tensor a = in_chunks((dt * m.a.to(type)).unsqueeze(3), chunk).squeeze(4);
  const at::Tensor cum = a.cumsum(3);  // [s, c, h, q]; tokens past the end change nothing
  const at::Tensor later = at::ones({chunk, chunk}, cum.options().dtype(at::kBool)).triu(1);
  const at::Tensor decay =
      (cum.unsqueeze(4) - cum.unsqueeze(3)).masked_fill(later, -INFINITY).exp();
  const at::Tensor inside = at::matmul(at::matmul(c, b.transpose(3, 4)) * decay, steps);

  const at::Tensor last = cum.narrow(3, chunk - 1, 1);  // [s, c, h, 1]
  const at::Tensor added =
      at::matmul(b.transpose(3, 4), steps * (last - cum).exp().unsqueeze(4));  // [s, c, h, n, p]
  at::Tensor carried = state && state->scan.defined()
                           ? state->scan.to(type)
                           : at::zeros({sequences, heads, m.state, m.head_dim}, steps.options());
  std::vector<at::Tensor> entering;
  const at::Tensor kept = last.exp().unsqueeze(4);
  for (std::int64_t i = 0; i < added.size(1); ++i) {
    entering.push_back(carried);
    carried = carried * kept.select(1, i) + added.select(1, i);
  }
  if (state) state->scan = carried;
  const at::Tensor across = at::matmul(c, at::stack(entering, 1)) * cum.exp().unsqueeze(4);
  const at::Tensor y = (inside + across)
                           .transpose(2, 3)
                           .reshape({sequences, -1, heads, m.head_dim})
                           .narrow(1, 0, tokens) +
                       x * m.d.to(type).unsqueeze(1);
  return y.reshape({sequences, tokens, m.inner}).to(rows.scalar_type());
}

at::Tensor normed_rows(const Mixer& m, const at::Tensor& y, const at::Tensor& z) {
  const at::ScalarType type = y.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  const at::Tensor gated = y.to(type) * at::silu(z.to(type));
  const at::Tensor grouped =
      gated.reshape({gated.size(0), gated.size(1), m.groups, m.inner / m.groups});
  const at::Tensor scale = (grouped.square().mean(3, /*keepdim=*/true) + m.epsilon).rsqrt();
  return m.norm * (grouped * scale).view(gated.sizes()).to(y.scalar_type());
}

namespace {

// One sequence's shapes.
struct Shapes {
  ConvShape conv;
  SsdShape scan;
  GatedShape gate;

  Shapes(std::int64_t tokens, std::int64_t inner, std::int64_t state, std::int64_t head_dim,
         std::int64_t taps) {
    const std::int64_t mixed = inner + 2 * state, heads = inner / head_dim;
    const std::int64_t columns = inner + mixed + heads;
    conv = {
        .tokens = tokens, .channels = mixed, .taps = taps, .stride = columns, .out_stride = mixed};
    scan = {.tokens = tokens,
            .heads = heads,
            .head_dim = head_dim,
            .state = state,
            .x_stride = mixed,
            .dt_stride = heads,
            .bc_stride = mixed,
            .y_stride = inner};
    gate = {.tokens = tokens,
            .channels = inner,
            .y_stride = inner,
            .z_stride = columns,
            .out_stride = inner};
  }
};

// Where sequence i's part of a contiguous tensor [sequences, ..] begins.
const float* part(const at::Tensor& tensor, std::int64_t i) {
  return tensor.const_data_ptr<float>() + i * tensor.stride(0);
}
float* mutable_part(const at::Tensor& tensor, std::int64_t i) {
  return tensor.data_ptr<float>() + i * tensor.stride(0);
}

// What the kernels read of a block, and what lies between them, which the backward pass needs.
struct MixTensors {
  at::Tensor rows;             // [sequences, tokens, columns]
  at::Tensor conv, conv_bias;  // as Mixer's
  at::Tensor a, d, norm;
  at::Tensor dt, xbc, y;  // [sequences, tokens, heads], [.., mixed], [.., inner]

  SsdInputs scan_inputs(const Shapes& s, std::int64_t i) const {
    const float* const x = part(xbc, i);
    const std::int64_t inner = s.gate.channels;
    return {x,
            part(dt, i),
            a.const_data_ptr<float>(),
            x + inner,
            x + inner + s.scan.state,
            d.const_data_ptr<float>()};
  }
};

// Gradients, of the parameters those by each sequence alone: so their sum does not depend on the
// number of threads.
struct MixGradients {
  at::Tensor rows, dt;                     // as MixTensors'
  at::Tensor conv, conv_bias, a, d, norm;  // [sequences, ..], which start as zeros

  MixGradients(const MixTensors& of, std::int64_t sequences)
      : rows(at::empty_like(of.rows)), dt(at::empty_like(of.dt)) {
    const auto zeros = [&](const at::Tensor& like) {
      std::vector<std::int64_t> shape = like.sizes().vec();
      shape.insert(shape.begin(), sequences);
      return at::zeros(shape, of.rows.options());
    };
    conv = zeros(of.conv), conv_bias = zeros(of.conv_bias);
    a = zeros(of.a), d = zeros(of.d), norm = zeros(of.norm);
  }
};

// xbc, y and out [sequences, tokens, inner] of sequence i.
void mix_forward(const Shapes& s, const MixTensors& t, std::int64_t i, float epsilon,
                 const at::Tensor& out, float* work) {
  const float* const row = part(t.rows, i);
  causal_conv_silu(s.conv, row + s.gate.channels, nullptr, t.conv.const_data_ptr<float>(),
                   s.conv.channels, t.conv_bias.const_data_ptr<float>(), mutable_part(t.xbc, i));
  mamba2_scan(s.scan, t.scan_inputs(s, i), nullptr, mutable_part(t.y, i), work);
  gated_norm(s.gate, part(t.y, i), row, t.norm.const_data_ptr<float>(), epsilon,
             mutable_part(out, i));
}

// Gradients of sequence i, from those of its out. dy, dxbc and work: room for them.
void mix_backward(const Shapes& s, const MixTensors& t, std::int64_t i, float epsilon,
                  const at::Tensor& dout, const MixGradients& g, float* dy,
                  std::vector<float>& dxbc, float* work) {
  const float* const row = part(t.rows, i);
  float* const drow = mutable_part(g.rows, i);
  const std::int64_t inner = s.gate.channels;
  gated_norm_backward(s.gate, part(t.y, i), row, t.norm.const_data_ptr<float>(), epsilon,
                      part(dout, i), dy, drow, mutable_part(g.norm, i));
  std::fill(dxbc.begin(), dxbc.end(), 0.0f);
  mamba2_scan_backward(
      s.scan, t.scan_inputs(s, i), dy,
      {dxbc.data(), mutable_part(g.dt, i), mutable_part(g.a, i), dxbc.data() + inner,
       dxbc.data() + inner + s.scan.state, mutable_part(g.d, i)},
      work);
  causal_conv_silu_backward(s.conv, row + inner, t.conv.const_data_ptr<float>(), s.conv.channels,
                            t.conv_bias.const_data_ptr<float>(), dxbc.data(), drow + inner,
                            mutable_part(g.conv, i), mutable_part(g.conv_bias, i));
}

// rows, conv, conv_bias, dt_bias, a, d, norm -> the mixed rows.
class KernelMix : public torch::autograd::Function<KernelMix> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& rows,
                            const at::Tensor& conv, const at::Tensor& conv_bias,
                            const at::Tensor& dt_bias, const at::Tensor& a, const at::Tensor& d,
                            const at::Tensor& norm, std::int64_t head_dim, std::int64_t state,
                            double epsilon, const TimeStepLimit& limit) {
    const std::int64_t sequences = rows.size(0), tokens = rows.size(1), inner = norm.size(0);
    const Shapes s(tokens, inner, state, head_dim, conv.size(0));
    const std::int64_t mixed = s.conv.channels, heads = s.scan.heads;
    MixTensors t = {rows, conv, conv_bias, a, d, norm, {}, {}, {}};
    t.dt = time_steps(rows.narrow(2, inner + mixed, heads) + dt_bias, limit).contiguous();
    t.xbc = at::empty({sequences, tokens, mixed}, rows.options());
    t.y = at::empty({sequences, tokens, inner}, rows.options());
    const at::Tensor out = at::empty_like(t.y);
    at::parallel_for(0, sequences, 1, [&](std::int64_t begin, std::int64_t end) {
      std::vector<float> work(static_cast<std::size_t>(ssd_work(s.scan)));
      for (std::int64_t i = begin; i < end; ++i) {
        mix_forward(s, t, i, static_cast<float>(epsilon), out, work.data());
      }
    });
    context->save_for_backward({rows, conv, conv_bias, a, d, norm, t.dt, t.xbc, t.y});
    context->saved_data["head_dim"] = head_dim;
    context->saved_data["state"] = state;
    context->saved_data["epsilon"] = epsilon;
    context->saved_data["low"] = limit.low;
    context->saved_data["high"] = limit.high;
    return out;
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const variable_list saved = context->get_saved_variables();
    const MixTensors t = {saved[0], saved[1], saved[2], saved[3], saved[4],
                          saved[5], saved[6], saved[7], saved[8]};
    const auto number = [&](const char* name) { return context->saved_data[name]; };
    const std::int64_t sequences = t.rows.size(0), tokens = t.rows.size(1);
    const Shapes s(tokens, t.norm.size(0), number("state").toInt(), number("head_dim").toInt(),
                   t.conv.size(0));
    const auto epsilon = static_cast<float>(number("epsilon").toDouble());
    const at::Tensor dout = gradients[0].contiguous();
    const MixGradients g(t, sequences);
    at::parallel_for(0, sequences, 1, [&](std::int64_t begin, std::int64_t end) {
      std::vector<float> work(static_cast<std::size_t>(ssd_backward_work(s.scan)));
      std::vector<float> dy(static_cast<std::size_t>(tokens * s.gate.channels));
      std::vector<float> dxbc(static_cast<std::size_t>(tokens * s.conv.channels));
      for (std::int64_t i = begin; i < end; ++i) {
        mix_backward(s, t, i, epsilon, dout, g, dy.data(), dxbc, work.data());
      }
    });
    // softplus'(x) = 1 - exp(-softplus(x)); a step at its limit stays there.
    const at::Tensor free =
        t.dt.gt(number("low").toDouble()).logical_and_(t.dt.lt(number("high").toDouble()));
    const at::Tensor draw = g.dt.mul(at::expm1(t.dt.neg()).neg_()).mul_(free);
    g.rows.narrow(2, s.gate.channels + s.conv.channels, s.scan.heads).copy_(draw);
    const at::Tensor none;
    return {g.rows,
            g.conv.sum(0),
            g.conv_bias.sum(0),
            draw.sum(at::IntArrayRef{0, 1}),
            g.a.sum(0),
            g.d.sum(0),
            g.norm.sum(0),
            none,
            none,
            none,
            none};
  }
};

}  // namespace

at::Tensor mix_with_kernels(const Mixer& m, const at::Tensor& rows) {
  // Autograd takes no undefined tensor among its inputs.
  const at::Tensor bias =
      m.conv_bias.defined() ? m.conv_bias : at::zeros({m.conv.size(1)}, m.conv.options());
  return KernelMix::apply(rows.contiguous(), m.conv.contiguous(), bias, m.dt_bias.contiguous(),
                          m.a.contiguous(), m.d.contiguous(), m.norm.contiguous(), m.head_dim,
                          m.state, m.epsilon, m.limit);
}

}  // namespace mnm
