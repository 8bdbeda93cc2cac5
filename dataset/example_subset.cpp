#include "dataset/example_subset.h"

#include <algorithm>
#include <functional>
#include <utility>

#include "base/error.h"
#include "dataset/task_examples.h"
#include "model/fingerprint.h"

namespace mnm {

std::unique_ptr<const Examples> subset_of(const Examples& whole, std::vector<std::int64_t> chosen) {
  if (const auto* const task = dynamic_cast<const TaskExamples*>(&whole)) {
    return task->subset(chosen);
  }
  return std::make_unique<ExampleSubset>(whole, std::move(chosen));
}

ExampleSubset::ExampleSubset(const Examples& whole, std::vector<std::int64_t> chosen)
    : whole_(whole), chosen_(std::move(chosen)) {
  const bool ascends = std::ranges::adjacent_find(chosen_, std::greater_equal<>()) == chosen_.end();
  if (chosen_.empty() || !ascends || chosen_.front() < 0 || chosen_.back() >= whole.count) {
    fail("cannot choose {} of the {} examples of {}: their places must ascend from 0 to {}",
         chosen_.size(), whole.count, whole.name, whole.count - 1);
  }
  count = static_cast<std::int64_t>(chosen_.size());
  context = whole.context;
  protocol = whole.protocol;
  name = fmt::format("{}, {} of {} examples", whole.name, count, whole.count);
  Fingerprint of;
  of.add(whole.fingerprint);
  of.add(std::as_bytes(std::span(chosen_)));
  fingerprint = of.hex();
  const auto each = static_cast<std::ptrdiff_t>(whole.targets());
  for (const std::int64_t place : chosen_) {
    if (whole.scored.empty()) break;
    const auto first = whole.scored.begin() + place * each;
    scored.insert(scored.end(), first, first + each);
  }
}

void ExampleSubset::read_inputs(std::int64_t begin, std::int64_t n,
                                std::span<std::byte> out) const {
  const std::size_t each = out.size() / static_cast<std::size_t>(std::max<std::int64_t>(n, 1));
  for (std::int64_t i = 0; i < n; ++i) {
    whole_.read_inputs(chosen_[static_cast<std::size_t>(begin + i)], 1,
                       out.subspan(static_cast<std::size_t>(i) * each, each));
  }
}

void ExampleSubset::read_targets(std::int64_t begin, std::int64_t n,
                                 std::span<std::int64_t> out) const {
  const auto each = static_cast<std::size_t>(outputs());
  for (std::int64_t i = 0; i < n; ++i) {
    whole_.read_targets(chosen_[static_cast<std::size_t>(begin + i)], 1,
                        out.subspan(static_cast<std::size_t>(i) * each, each));
  }
}

std::int64_t ExampleSubset::shared_with(const Examples& other) const {
  return whole_.shared_with(other);
}

}  // namespace mnm
