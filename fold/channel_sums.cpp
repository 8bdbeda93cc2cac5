#include "fold/channel_sums.h"

#include <ATen/ops/abs.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/square.h>
#include <ATen/ops/sum.h>
#include <ATen/ops/zeros.h>

#include <algorithm>

namespace mnm {
namespace {

std::vector<double> doubles(const at::Tensor& tensor) {
  if (!tensor.defined()) return {};
  const at::Tensor host = tensor.to(at::kCPU, at::kDouble).contiguous();
  const auto* const data = host.const_data_ptr<double>();
  return {data, data + host.numel()};
}

}  // namespace

ChannelSums::ChannelSums(std::int64_t rows_each, const CalibrationOptions& options)
    : rows_each_(rows_each), options_(options) {}

void ChannelSums::start(const at::Tensor& rows) {
  const std::int64_t channels = rows.size(1);
  const auto f64 = rows.options().dtype(at::kDouble);
  for (at::Tensor* sum : {&sum_, &sum_abs_, &sum_square_, &squared_means_, &begun_}) {
    *sum = at::zeros({channels}, f64);
  }
  if (options_.removal) {
    products_ = at::zeros({channels, channels}, rows.options().dtype(at::kFloat));
  }
}

void ChannelSums::add(const at::Tensor& rows) {
  if (!sum_.defined()) start(rows);
  if (options_.removal) {
    const at::Tensor wide = rows.to(at::kFloat);
    products_.addmm_(wide.t(), wide);
  }
  if (options_.activations) {
    for (std::int64_t begin = 0, n = 0; begin < rows.size(0); begin += n) {
      n = std::min(rows_each_ - in_sequence_, rows.size(0) - begin);
      add_part(rows.narrow(0, begin, n));
    }
  }
  tokens_ += rows.size(0);
  sequences_ = tokens_ / rows_each_;
}

void ChannelSums::add_part(const at::Tensor& rows) {
  const auto total = [](const at::Tensor& values) {
    return values.sum(0, /*keepdim=*/false, at::kFloat).to(at::kDouble);
  };
  const at::Tensor absolute = total(rows.abs());
  sum_.add_(total(rows));
  sum_abs_.add_(absolute);
  sum_square_.add_(total(rows.to(at::kFloat).square()));
  begun_.add_(absolute);
  in_sequence_ += rows.size(0);
  if (in_sequence_ < rows_each_) return;
  squared_means_.add_(begun_.div_(static_cast<double>(rows_each_)).square_());
  begun_.zero_();
  in_sequence_ = 0;
}

ChannelStatistics ChannelSums::statistics(const at::Tensor& down) {
  ChannelStatistics statistics;
  statistics.sequences = sequences_;
  statistics.tokens = tokens_;
  statistics.sum = doubles(sum_);
  statistics.sum_abs = doubles(sum_abs_);
  statistics.sum_square = doubles(sum_square_);
  statistics.squared_means = doubles(squared_means_);
  if (options_.removal) {
    if (options_.centred) {
      const at::Tensor sum = sum_.to(at::kFloat);
      products_.addr_(sum, sum, 1, -1.0 / static_cast<double>(tokens_));
    }
    const at::Tensor columns = down.to(at::kFloat).t();
    products_.mul_(at::mm(columns, columns.t()));
    products_ = products_.to(at::kCPU).contiguous();
    statistics.removal = {products_.const_data_ptr<float>(),
                          static_cast<std::size_t>(products_.numel())};
  }
  return statistics;
}

}  // namespace mnm
