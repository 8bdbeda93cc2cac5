#include "families/removed_means.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <algorithm>

namespace mnm {
namespace {

constexpr std::int64_t kTogether = 1 << 20;  // elements of the matrix that are in f64 at a time
constexpr std::size_t kMostKnown = 256;      // widths of a layer that are remembered

at::Tensor rounded_to(Dtype stored, const at::Tensor& values) {
  switch (stored) {
    case Dtype::kF16:
      return values.to(at::kHalf);
    case Dtype::kBF16:
      return values.to(at::kBFloat16);
    default:
      return values.to(at::kFloat);
  }
}

}  // namespace

RemovedMeans::RemovedMeans(const at::Tensor& matrix, const at::Tensor& means,
                           const at::Tensor& bias, Dtype stored, const at::Tensor& factor)
    : matrix_(matrix.detach()),
      means_(means.detach()),
      bias_(bias.detach()),
      factor_(factor.detach().to(at::kDouble)),
      stored_(stored),
      known_(std::make_shared<Known>()) {}

// From the nearest wider width that is known, so that all widths together take one pass.
RemovedMeans::Gain RemovedMeans::made(Width width) const {
  const auto wider = known_->gains.upper_bound(width);
  const bool known = wider != known_->gains.end();
  const std::int64_t end = known ? wider->first : matrix_.size(1);
  const at::Tensor base = bias_.to(at::kDouble);
  const at::Tensor sum = known ? wider->second.sum.clone() : at::zeros_like(base);
  const std::int64_t step = std::max<std::int64_t>(1, kTogether / matrix_.size(0));
  for (std::int64_t begin = width; begin < end; begin += step) {
    const std::int64_t count = std::min(step, end - begin);
    sum.add_(at::mv(matrix_.narrow(1, begin, count).to(at::kDouble),
                    means_.narrow(0, begin, count).to(at::kDouble)));
  }
  const at::Tensor rounded = rounded_to(stored_, base + sum).to(at::kDouble);
  return {sum, ((rounded - base) * factor_).to(bias_.scalar_type())};
}

std::vector<at::Tensor> RemovedMeans::gains(std::span<const Width> widths) const {
  std::vector<at::Tensor> values(widths.size());
  if (known_ == nullptr) return values;
  const c10::AutoGradMode no_grad(false);
  const std::lock_guard lock(known_->mutex);
  if (known_->gains.size() > kMostKnown) known_->gains.clear();
  for (std::size_t i = widths.size(); i-- > 0;) {  // siblings ascend
    if (widths[i] >= matrix_.size(1)) continue;
    auto found = known_->gains.find(widths[i]);
    if (found == known_->gains.end()) {
      found = known_->gains.emplace(widths[i], made(widths[i])).first;
    }
    values[i] = found->second.value;
  }
  return values;
}

void RemovedMeans::add_to(const at::Tensor& out, const Children& children) const {
  if (known_ == nullptr) return;
  std::vector<Width> distinct = children.widths;
  std::ranges::sort(distinct);
  distinct.erase(std::ranges::unique(distinct).begin(), distinct.end());
  if (distinct.front() >= matrix_.size(1)) return;
  std::vector<at::Tensor> values = gains(distinct);
  for (at::Tensor& gain : values) {
    if (!gain.defined()) gain = at::zeros_like(bias_);
  }
  std::vector<std::int64_t> rows;
  for (const Width width : children.widths) {
    rows.push_back(std::ranges::lower_bound(distinct, width) - distinct.begin());
  }
  const at::Tensor of_nodes =
      at::stack(values).index_select(0, at::tensor(rows, at::kLong).to(out.device()));
  out.add_(of_nodes.unsqueeze(1));
}

}  // namespace mnm
