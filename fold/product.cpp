#include "fold/product.h"

#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <ATen/ops/addmm.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/mm.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <atomic>
#include <string_view>

#include "kernels/cuda/memory.h"
#include "kernels/few_rows.h"

namespace mnm {
namespace {

// Whether LibTorch multiplies a 16-bit type with instructions of this processor. It keeps to what
// ATEN_CPU_CAPABILITY allows, and so does this.
bool has_instructions([[maybe_unused]] at::ScalarType type) {
#if defined(__x86_64__)
  if (std::string_view(at::get_cpu_capability()) != "AVX512") return false;
  return type == at::kBFloat16 ? __builtin_cpu_supports("avx512bf16") != 0
                               : __builtin_cpu_supports("avx512fp16") != 0;
#else
  return false;
#endif
}

bool is_narrow(at::ScalarType type) { return type == at::kBFloat16 || type == at::kHalf; }

bool is_widened(const at::Tensor& x, const at::Tensor& w) {
  return x.is_cpu() && x.scalar_type() == at::kFloat && is_narrow(w.scalar_type());
}

// Columns [first, first + count) of a sum of rows, or of one row.
at::Tensor columns(const at::Tensor& sum, std::int64_t first, std::int64_t count) {
  return sum.narrow(sum.dim() - 1, first, count);
}

// f32 on the CPU, few rows, and nothing to differentiate: each weight is read once, as it is
// stored.
bool few(const at::Tensor& x, const at::Tensor& w) {
  const auto along = [](const at::Tensor& t) { return t.size(1) <= 1 || t.stride(1) == 1; };
  const at::ScalarType stored = w.scalar_type();
  const bool type = x.scalar_type() == at::kFloat || x.scalar_type() == at::kBFloat16;
  return x.size(0) <= kFewRows && x.is_cpu() && type &&
         (stored == at::kFloat || stored == at::kBFloat16) && !at::GradMode::is_enabled() &&
         !goes_to_cuda_kernels(false) && along(x) && along(w);
}

// out = x w^T, plus `sum` where it is defined. The elements of a row of `out` lie beside each
// other.
void multiply_few(const at::Tensor& out, const at::Tensor& sum, const at::Tensor& x,
                  const at::Tensor& w) {
  if (x.scalar_type() != at::kFloat) {
    const at::Tensor wide = at::empty({x.size(0), w.size(0)}, x.options().dtype(at::kFloat));
    multiply_few(wide, {}, x.to(at::kFloat), w);
    if (sum.defined()) wide.add_(sum);
    out.copy_(wide);
    return;
  }
#if !defined(INTRA_OP_PARALLEL) && !defined(__clang__)  // Clang has another OpenMP than LibTorch
#error "compile with OpenMP: at::parallel_for would run on one thread"
#endif
  constexpr std::int64_t kPart = 1 << 19;  // weights
  if (sum.defined() && !sum.is_same(out)) out.copy_(sum.expand_as(out));
  FewRows all;
  all.rows = x.size(0);
  all.depth = x.size(1);
  all.x = x.const_data_ptr<float>();
  all.x_stride = x.stride(0);
  all.element = w.scalar_type() == at::kFloat ? Element::kF32 : Element::kBF16;
  all.w_stride = w.stride(0);
  all.out_stride = out.stride(0);
  all.add = sum.defined();
  const auto* const weights = static_cast<const char*>(w.const_data_ptr());
  const auto element = static_cast<std::int64_t>(w.element_size());
  float* const to = out.data_ptr<float>();
  // A thread takes the next part when it has finished one, and parts become smaller towards the
  // end. So a thread that wakes late, or that other programs hold up, delays little. The first
  // parts are long enough for the processor's prefetching, and one part takes longer than waking a
  // thread.
  const std::int64_t count = w.size(0), depth = std::max<std::int64_t>(8, all.depth);
  const std::int64_t largest = std::max<std::int64_t>(1, kPart / depth / 8) * 8;
  const std::int64_t smallest = std::max<std::int64_t>(1, kPart / 8 / depth / 8) * 8;
  const std::int64_t parts = (count + largest - 1) / largest;
  const std::int64_t threads =
      parts <= 1 ? 1 : std::min<std::int64_t>(parts, at::get_num_threads());
  std::atomic<std::int64_t> next = 0;
  const auto take = [&](std::int64_t& begin) {  // how many columns from `begin`; 0: none are left
    std::int64_t size = 0;
    begin = next.load();
    do {
      const std::int64_t left = count - begin, even = left / (2 * threads) / 8 * 8;
      size = threads == 1 ? left : std::min(left, std::clamp(even, smallest, largest));
    } while (size > 0 && !next.compare_exchange_weak(begin, begin + size));
    return std::max<std::int64_t>(0, size);
  };
  at::parallel_for(0, threads, 1, [&](std::int64_t, std::int64_t) {
    std::int64_t begin = 0;
    for (std::int64_t size = take(begin); size > 0; size = take(begin)) {
      FewRows part = all;
      part.columns = size;
      part.w = weights + begin * part.w_stride * element;
      part.out = to + begin;
      few_rows(part);
    }
  });
}

// out = x w^T, plus `sum` where it is defined, in f32.
void multiply_widened(const at::Tensor& out, const at::Tensor& sum, const at::Tensor& x,
                      const at::Tensor& w) {
  const bool add = sum.defined();
  const std::int64_t all = w.size(0), depth = std::max<std::int64_t>(1, w.size(1));
  const std::int64_t most = std::max<std::int64_t>(1, std::min(kWidenedElements / depth, all));
  const at::Tensor room = at::empty({most, w.size(1)}, x.options());
  for (std::int64_t first = 0; first < all; first += most) {
    const std::int64_t count = std::min(most, all - first);
    const at::Tensor block = room.narrow(0, 0, count);
    block.copy_(w.narrow(0, first, count));
    at::Tensor to = columns(out, first, count);
    if (!add) {
      at::mm_out(to, x, block.t());
    } else if (sum.is_same(out)) {
      to.addmm_(x, block.t());
    } else {
      at::addmm_out(to, columns(sum, first, count), x, block.t());
    }
  }
}

}  // namespace

at::ScalarType arithmetic_type(const at::Device& device, at::ScalarType stored) {
  // Kernels of a device take what is stored, also where a device is emulated on the CPU.
  const bool on_device = goes_to_cuda_kernels(!device.is_cpu());
  return !on_device && is_narrow(stored) && !has_instructions(stored) ? at::kFloat : stored;
}

at::Tensor in_arithmetic_type(const at::Tensor& stored) {
  return stored.to(arithmetic_type(stored.device(), stored.scalar_type()));
}

at::Tensor product(const at::Tensor& x, const at::Tensor& w, const at::Tensor& bias) {
  if (few(x, w)) {
    const at::Tensor out = at::empty({x.size(0), w.size(0)}, x.options());
    multiply_few(out, bias, x, w);
    return out;
  }
  if (!is_widened(x, w)) return bias.defined() ? at::addmm(bias, x, w.t()) : at::mm(x, w.t());
  const at::Tensor out = at::empty({x.size(0), w.size(0)}, x.options());
  multiply_widened(out, bias, x, w);
  return out;
}

void product_into(const at::Tensor& out, const at::Tensor& x, const at::Tensor& w) {
  if (few(x, w)) return multiply_few(out, {}, x, w);
  if (is_widened(x, w)) return multiply_widened(out, {}, x, w);
  at::Tensor to = out;
  at::mm_out(to, x, w.t());
}

void add_product_into(const at::Tensor& out, const at::Tensor& sum, const at::Tensor& x,
                      const at::Tensor& w) {
  if (few(x, w)) return multiply_few(out, sum, x, w);
  if (is_widened(x, w)) return multiply_widened(out, sum, x, w);
  at::Tensor to = out;
  if (sum.is_same(out)) {
    to.addmm_(x, w.t());
  } else {
    at::addmm_out(to, sum, x, w.t());
  }
}

}  // namespace mnm
