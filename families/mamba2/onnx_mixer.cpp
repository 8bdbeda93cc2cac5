// The scan is Mamba-2's chunked algorithm (Dao & Gu, arXiv 2405.21060, sec. 6): within a chunk of Q
// tokens products of matrices, from chunk to chunk a state that a Scan carries. With a_t the
// decay's logarithm, v_t = dt_t x_t and S(i, j) = a_(j+1) + ... + a_i,
//   y_i = sum_(j <= i) exp(S(i, j)) (C_i . B_j) v_j + exp(S(i, start)) C_i . state
//   state' = exp(S(end, start)) state + sum_j exp(S(end, j)) B_j v_j^T
// S(i, j) is summed for every pair, not a difference of sums from the start: those grow with the
// chunk, and their difference would keep few digits. Sequences are padded with zeros to whole
// chunks; a padded token decays nothing and adds nothing.
//
// Everything between the projections is f32, as the fold has it.
#include "families/mamba2/onnx_mixer.h"

#include <fmt/format.h>

#include <utility>
#include <vector>

#include "export/onnx_layers.h"

namespace mnm {
namespace {

constexpr OnnxType kF32 = OnnxType::kF32;
constexpr const char* kBatch = "batch_size";
constexpr std::int64_t kChunk = 64;  // tokens; any number computes the same
constexpr float kNever = -1e30f;     // its exponential is 0

}  // namespace

Mamba2OnnxMixer::Mamba2OnnxMixer(const Mamba2Config& config, OnnxBuilder& graph,
                                 const OnnxValue& shape)
    : config_(config), graph_(graph), shape_(shape) {
  const auto scope = graph_.scope("lengths");
  sequence_ = graph_.dimensions(shape_, {1});
  const OnnxValue chunk = graph_.integers({kChunk});
  const OnnxValue over = graph_.op("Mod", {sequence_, chunk});
  const OnnxValue missing = graph_.op("Mod", {graph_.sub(chunk, over), chunk});
  pads_ = graph_.concat({graph_.integers({0, 0, 0, 0}), missing, graph_.integers({0})}, 0);

  std::vector<float> after, never;  // [i, j]: 1 where i > j; 0 where i >= j, else kNever
  for (std::int64_t i = 0; i < kChunk; ++i) {
    for (std::int64_t j = 0; j < kChunk; ++j) {
      after.push_back(i > j ? 1.0f : 0.0f);
      never.push_back(i >= j ? 0.0f : kNever);
    }
  }
  after_ = graph_.reshape(graph_.vector("after", std::move(after), kF32), {kChunk, kChunk});
  never_ = graph_.reshape(graph_.vector("never", std::move(never), kF32), {kChunk, kChunk});
}

OnnxValue Mamba2OnnxMixer::with_size(std::int64_t size) {  // the shape [batch, sequence, size]
  return graph_.concat({shape_, graph_.integers({size})}, 0);
}

// x: [batch * sequence, hidden]; the result likewise.
OnnxValue Mamba2OnnxMixer::mix(const OnnxValue& x, const std::string& base, Width width) {
  const std::int64_t inner = config_.inner(width), heads = config_.heads(width);
  const std::int64_t shared = config_.group_state(), mixed = inner + 2 * shared;
  OnnxValue projected;
  {
    const auto scope = graph_.scope("in_proj");
    projected =
        graph_.cast(onnx_linear(graph_, x, base + "in_proj", config_.bias), graph_.type(), kF32);
  }
  const auto parts = graph_.split(projected, -1, {inner, mixed, heads});
  const OnnxValue convolved = convolve(parts[1], base, mixed);
  const OnnxValue dt = time_steps(parts[2], base, heads);
  const OnnxValue y = scan(convolved, dt, base, width);
  const OnnxValue gated = gated_norm(y, parts[0], base, inner);
  const auto scope = graph_.scope("out_proj");
  return onnx_linear(graph_, graph_.cast(gated, kF32, graph_.type()), base + "out_proj",
                     config_.bias);
}

// [batch * sequence, channels] -> silu of the causal convolution, in chunks: [batch, chunks, Q,
// channels]
OnnxValue Mamba2OnnxMixer::convolve(const OnnxValue& x, const std::string& base,
                                    std::int64_t channels) {
  const auto scope = graph_.scope("conv1d");
  const OnnxValue along = graph_.transpose(graph_.reshape(x, with_size(channels)), {0, 2, 1});
  std::vector<OnnxValue> inputs = {along, graph_.weight(base + "conv1d.weight", kF32)};
  if (config_.conv_bias) inputs.push_back(graph_.weight(base + "conv1d.bias", kF32));
  const OnnxValue convolved =
      graph_.op("Conv", inputs,
                {{"group", channels},
                 {"kernel_shape", std::vector<std::int64_t>{config_.conv_kernel}},
                 {"pads", std::vector<std::int64_t>{config_.conv_kernel - 1, 0}}});
  return in_chunks(graph_.transpose(onnx_silu(graph_, convolved), {0, 2, 1}), channels);
}

// [batch, sequence, size] -> [batch, chunks, Q, size], zeros after the end
OnnxValue Mamba2OnnxMixer::in_chunks(const OnnxValue& x, std::int64_t size) {
  return graph_.reshape(graph_.op("Pad", {x, pads_}), {0, -1, kChunk, size});
}

// softplus(dt + dt_bias), limited: [batch, chunks, Q, heads]
OnnxValue Mamba2OnnxMixer::time_steps(const OnnxValue& dt, const std::string& base,
                                      std::int64_t heads) {
  const auto scope = graph_.scope("dt");
  const OnnxValue biased = graph_.add(dt, graph_.weight(base + "dt_bias", kF32));
  OnnxValue steps = graph_.op("Softplus", {biased});
  const TimeStepLimit& limit = config_.time_step_limit;
  if (limit.binds_low()) steps = graph_.op("Max", {steps, graph_.number(limit.low, kF32)});
  if (limit.binds_high()) steps = graph_.op("Min", {steps, graph_.number(limit.high, kF32)});
  return in_chunks(graph_.reshape(steps, with_size(heads)), heads);
}

// -> [batch * sequence, inner]. Heads are [G groups, R heads of each], which share B and C.
OnnxValue Mamba2OnnxMixer::scan(const OnnxValue& convolved, const OnnxValue& steps,
                                const std::string& base, Width width) {
  const auto scope = graph_.scope("scan");
  const std::int64_t inner = config_.inner(width), g = config_.groups, r = config_.heads(width) / g,
                     p = config_.head_dim, n = config_.state_size;
  const auto parts = graph_.split(convolved, -1, {inner, g * n, g * n});
  const auto chunked = [&](const OnnxValue& x, std::int64_t per_group, std::int64_t size) {
    return graph_.transpose(graph_.reshape(x, {0, 0, 0, g, per_group, size}), {0, 1, 3, 4, 2, 5});
  };
  const OnnxValue x = chunked(parts[0], r, p);  // [batch, chunks, G, R, Q, P]
  const OnnxValue b = chunked(parts[1], 1, n), c = chunked(parts[2], 1, n);
  const OnnxValue dt = graph_.transpose(graph_.reshape(steps, {0, 0, 0, g, r}), {0, 1, 3, 4, 2});
  const OnnxValue rate = graph_.op(
      "Neg", {graph_.op("Exp", {graph_.reshape(graph_.weight(base + "A_log", kF32), {g, r, 1})})});
  const OnnxValue a = graph_.mul(dt, rate);
  const OnnxValue v = graph_.mul(x, graph_.unsqueeze(dt, {5}));
  const OnnxValue batch = graph_.dimensions(shape_, {0});
  const OnnxValue start = graph_.op(
      "Expand", {graph_.number(0, kF32), graph_.concat({batch, graph_.integers({g, r, n, p})}, 0)});

  const auto outputs = graph_.op("Scan", {start, a, v, b, c}, 2,
                                 {{"body", chunk_step(g, r, p, n)},
                                  {"num_scan_inputs", std::int64_t{4}},
                                  {"scan_input_axes", std::vector<std::int64_t>{1, 1, 1, 1}},
                                  {"scan_output_axes", std::vector<std::int64_t>{1}}});
  const OnnxValue d = graph_.reshape(graph_.weight(base + "D", kF32), {g, r, 1, 1});
  const OnnxValue y = graph_.add(outputs[1], graph_.mul(x, d));
  const OnnxValue rows = graph_.reshape(graph_.transpose(y, {0, 1, 4, 2, 3, 5}), {0, -1, inner});
  const OnnxValue kept =
      graph_.op("Slice", {rows, graph_.integers({0}), sequence_, graph_.integers({1})});
  return graph_.reshape(kept, {-1, inner});
}

// state [batch, G, R, N, P], a [batch, G, R, Q], v [batch, G, R, Q, P], b and c [batch, G, 1, Q,
// N]
// -> the next state, y [batch, G, R, Q, P]
OnnxAttribute Mamba2OnnxMixer::chunk_step(std::int64_t g, std::int64_t r, std::int64_t p,
                                          std::int64_t n) {
  OnnxBuilder body = graph_.body("chunk");
  const std::string here = fmt::format("chunk{}.", bodies_++);
  const auto input = [&](const char* name, std::vector<OnnxDim> shape) {
    return body.input(here + name, kF32, std::move(shape));
  };
  const OnnxValue state = input("state", {kBatch, g, r, n, p});
  const OnnxValue a = input("a", {kBatch, g, r, kChunk});
  const OnnxValue v = input("v", {kBatch, g, r, kChunk, p});
  const OnnxValue b = input("b", {kBatch, g, std::int64_t{1}, kChunk, n});
  const OnnxValue c = input("c", {kBatch, g, std::int64_t{1}, kChunk, n});

  const OnnxValue rows = body.integer(3);
  const OnnxValue pairs = body.op("CumSum", {body.mul(body.unsqueeze(a, {4}), after_), rows});
  const OnnxValue decay = body.op("Exp", {body.add(pairs, never_)});  // [.., i, j]
  const OnnxValue from_start = body.op("CumSum", {a, rows});

  const OnnxValue b_turned = body.transpose(b, {0, 1, 2, 4, 3});
  const OnnxValue scores = body.mul(body.op("MatMul", {c, b_turned}), decay);
  const OnnxValue inside = body.op("MatMul", {scores, v});
  const OnnxValue before =
      body.mul(body.op("MatMul", {c, state}), body.unsqueeze(body.op("Exp", {from_start}), {4}));

  const OnnxValue to_end =
      body.transpose(body.slice(decay, 3, kChunk - 1, kChunk), {0, 1, 2, 4, 3});
  const OnnxValue added = body.op("MatMul", {b_turned, body.mul(v, to_end)});
  const OnnxValue total =
      body.unsqueeze(body.op("Exp", {body.slice(from_start, 3, kChunk - 1, kChunk)}), {4});
  body.output(here + "next", body.add(body.mul(state, total), added), kF32, {kBatch, g, r, n, p});
  body.output(here + "y", body.add(inside, before), kF32, {kBatch, g, r, kChunk, p});
  return body.finish_body();
}

// Of y * silu(z), over each group's channels.
OnnxValue Mamba2OnnxMixer::gated_norm(const OnnxValue& y, const OnnxValue& z,
                                      const std::string& base, std::int64_t inner) {
  const auto scope = graph_.scope("norm");
  const OnnxValue gated = graph_.reshape(graph_.mul(y, onnx_silu(graph_, z)),
                                         {-1, config_.groups, inner / config_.groups});
  const OnnxValue square = graph_.op("Pow", {gated, graph_.number(2, kF32)});
  const OnnxValue mean =
      graph_.op("ReduceMean", {square},
                {{"axes", std::vector<std::int64_t>{-1}}, {"keepdims", std::int64_t{1}}});
  const OnnxValue root =
      graph_.op("Sqrt", {graph_.add(mean, graph_.number(config_.norm_eps, kF32))});
  const OnnxValue normal = graph_.reshape(graph_.op("Div", {gated, root}), {-1, inner});
  return graph_.mul(normal, graph_.weight(base + "norm.weight", kF32));
}

}  // namespace mnm
