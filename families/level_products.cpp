#include "families/level_products.h"

#include <ATen/ops/add.h>
#include <ATen/ops/addmm.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/mm.h>

#include <algorithm>
#include <vector>

#include "fold/launch.h"
#include "kernels/cuda/activation.h"
#include "kernels/cuda/rope.h"
#include "kernels/cuda/sum_product.h"

namespace mnm {
namespace {

const void* data_or_none(const at::Tensor& tensor) {
  return tensor.defined() ? tensor.const_data_ptr() : nullptr;
}

// Parents [first, first + count), whose children have the same widths.
struct Alike {
  std::int64_t first = 0, count = 0;
};

std::vector<Alike> parents_alike(const Children& children) {
  std::vector<Alike> all;
  for (std::int64_t parent = 0; parent < children.parents(); ++parent) {
    if (all.empty() || !std::ranges::equal(children.of(all.back().first), children.of(parent))) {
      all.push_back({parent, 0});
    }
    ++all.back().count;
  }
  return all;
}

// d[b] = c[b] + a[b] w^T of [batches, rows, ...]; the last dimensions are contiguous.
void sum_product(const at::Tensor& a, const at::Tensor& w, const at::Tensor& c,
                 const at::Tensor& d) {
  const std::int64_t batches = a.size(0);
  if (w.size(1) == 0) {
    d.copy_(c);
    return;
  }
  if (on_cuda(a)) {
    const SumProduct product = {.element = element_of(a),
                                .batches = batches,
                                .rows = a.size(1),
                                .columns = w.size(0),
                                .depth = w.size(1),
                                .a = a.const_data_ptr(),
                                .a_stride = a.stride(1),
                                .a_batch = a.stride(0),
                                .w = w.const_data_ptr(),
                                .w_stride = w.stride(0),
                                .c = c.const_data_ptr(),
                                .c_stride = c.stride(1),
                                .c_batch = c.stride(0),
                                .d = d.data_ptr(),
                                .d_stride = d.stride(1),
                                .d_batch = d.stride(0)};
    // Frees itself once the stream has come past it, as every tensor's memory does.
    const at::Tensor work =
        at::empty({static_cast<std::int64_t>(kSumProductWork)}, a.options().dtype(at::kByte));
    const c10::DeviceGuard guard(a.device());
    if (!sum_product_cuda(product, a.device().index(), work.data_ptr(), kSumProductWork)) return;
  }
  for (std::int64_t b = 0; b < batches; ++b) {
    at::Tensor out = d[b];
    at::addmm_out(out, c[b], a[b], w.t());
  }
}

// Products and activation up to `width`, of rows [n, d]: [n, width].
at::Tensor activations(const Ffn& ffn, const at::Tensor& rows, std::int64_t width) {
  const auto product = [&](const at::Tensor& weight) {
    return weight.defined() ? at::mm(rows, weight.narrow(0, 0, width).t()) : weight;
  };
  const at::Tensor x = product(ffn.in), up = product(ffn.up);
  const FfnActivation activation = {.element = element_of(x),
                                    .act = ffn.act,
                                    .of_product = ffn.of_product,
                                    .rows = x.size(0),
                                    .width = width,
                                    .x = x.data_ptr(),
                                    .up = data_or_none(up),
                                    .x_bias = data_or_none(ffn.in_bias),
                                    .up_bias = data_or_none(ffn.up_bias)};
  if (on_cuda(x)) {
    launch(x, "activate", [&] { return activate_cuda(activation); });
  } else {
    activate(activation);
  }
  return x;
}

}  // namespace

at::Tensor nested_ffn(const Ffn& ffn, const at::Tensor& x, const at::Tensor& normed,
                      const Children& children) {
  const std::int64_t rows = x.size(1), d = x.size(2);
  const at::Tensor out = at::empty({children.nodes(), rows, d}, x.options());
  for (const Alike& alike : parents_alike(children)) {
    const std::span<const Width> widths = children.of(alike.first);
    const std::int64_t count = alike.count, widest = widths.back();
    const auto siblings = static_cast<std::int64_t>(widths.size());
    const at::Tensor h = normed.narrow(0, alike.first, count).view({count * rows, d});
    const at::Tensor act = activations(ffn, h, widest).view({count, rows, widest});
    // [parents, siblings, rows, d]
    const at::Tensor to = out.narrow(0, children.begin_of(alike.first), count * siblings)
                              .view({count, siblings, rows, d});
    at::Tensor sum = x.narrow(0, alike.first, count);
    if (ffn.down_bias.defined()) sum = at::add(sum, ffn.down_bias);
    std::int64_t done = 0;
    for (std::int64_t s = 0; s < siblings; ++s) {
      const std::int64_t part = widths[static_cast<std::size_t>(s)] - done;
      const at::Tensor child = to.select(1, s);
      sum_product(act.narrow(2, done, part), ffn.down.narrow(1, done, part), sum, child);
      sum = child;
      done += part;
    }
  }
  return out;
}

at::Tensor add_product(const at::Tensor& x, const at::Tensor& rows, const at::Tensor& w) {
  const at::Tensor out = at::empty(x.sizes(), x.options());
  sum_product(rows.unsqueeze(0), w, x.unsqueeze(0), out.unsqueeze(0));
  return out;
}

void rotate_in_place(const at::Tensor& x, const at::Tensor& cosines, const at::Tensor& sines) {
  const Rotary rotary = {.element = element_of(x),
                         .rows = x.size(0) * x.size(1),
                         .tokens = x.size(1),
                         .heads = x.size(2),
                         .half = x.size(3) / 2,
                         .x = x.data_ptr(),
                         .stride = x.stride(1),
                         .cosines = cosines.const_data_ptr(),
                         .sines = sines.const_data_ptr()};
  if (!on_cuda(x)) return rotate(rotary);
  launch(x, "rotate queries and keys", [&] { return rotate_cuda(rotary); });
}

}  // namespace mnm
