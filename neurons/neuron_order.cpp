#include "neurons/neuron_order.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>
#include <utility>

#include "base/error.h"

namespace mnm {

NeuronOrder order_by(std::span<const double> importance) {
  NeuronOrder order(importance.size());
  std::iota(order.begin(), order.end(), 0);
  for (const std::int32_t neuron : order) {
    if (std::isnan(importance[static_cast<std::size_t>(neuron)])) {
      fail("cannot order neurons: the importance of neuron {} is not a number", neuron);
    }
  }
  std::ranges::stable_sort(order, std::ranges::greater(), [&](std::int32_t neuron) {
    return importance[static_cast<std::size_t>(neuron)];
  });
  return order;
}

void require_bijection(const NeuronOrder& order, std::int64_t neurons) {
  std::vector<bool> seen(static_cast<std::size_t>(neurons), false);
  for (const std::int32_t neuron : order) {
    const bool inside = neuron >= 0 && neuron < neurons;
    if (!inside || seen[static_cast<std::size_t>(neuron)]) {
      fail("the order of {} neurons has neuron {} {}, expected each once", neurons, neuron,
           inside ? "twice" : "among them");
    }
    seen[static_cast<std::size_t>(neuron)] = true;
  }
  if (std::cmp_not_equal(order.size(), neurons)) {
    fail("the order of {} neurons has {} places, expected one for each", neurons, order.size());
  }
}

NeuronOrder inverse_of(const NeuronOrder& order) {
  NeuronOrder inverse(order.size());
  for (std::size_t place = 0; place < order.size(); ++place) {
    inverse[static_cast<std::size_t>(order[place])] = static_cast<std::int32_t>(place);
  }
  return inverse;
}

std::vector<std::int32_t> sources_of(const NeuronTensor& tensor, const NeuronOrder& order) {
  const auto cut = static_cast<std::size_t>(tensor.spec->cut_dim);
  std::vector<std::int32_t> from(static_cast<std::size_t>(tensor.spec->shape[cut]));
  std::iota(from.begin(), from.end(), 0);
  for (const NeuronRun& run : tensor.runs) {
    auto at = from.begin() + run.begin;
    for (const std::int32_t neuron : order) {
      std::iota(at, at + run.each, static_cast<std::int32_t>(run.begin + neuron * run.each));
      at += run.each;
    }
  }
  return from;
}

}  // namespace mnm
