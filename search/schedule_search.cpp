#include <algorithm>
#include <cstdint>
#include <utility>

#include "base/error.h"
#include "search/ask_queue.h"
#include "search/strategies.h"

namespace mnm {
namespace {

constexpr std::size_t kBatch =
    1024;  // one transaction of the store, a few levels of the prefix tree

class ScheduleSearch final : public Strategy {
 public:
  ScheduleSearch(std::string name, std::vector<Widths> members, const SearchProblem& problem,
                 const StrategySettings& settings)
      : name_(std::move(name)), listed_(members.size()), members_(std::move(members)) {
    std::erase_if(members_, [&](const Widths& widths) { return !problem.feasible(widths); });
    feasible_ = members_.size();
    // Closed-form members skip no layer, so the narrowest of them may exceed a budget that a
    // submodel with skipped layers meets.
    if (members_.empty()) {
      fail_usage(
          "none of the {} submodels of strategy {} is within the budget: raise it, or use "
          "another strategy",
          listed_, name_);
    }
    if (feasible_ > settings.max_evaluations) {
      const auto wanted = static_cast<std::size_t>(settings.max_evaluations);
      for (std::size_t i = 1; i < wanted; ++i) {
        members_[i] = members_[i * (feasible_ - 1) / (wanted - 1)];  // never behind i
      }
      members_.resize(wanted);
    }
  }

  std::vector<Widths> ask(std::size_t n) override {
    const auto asked = static_cast<std::size_t>(asked_.count());
    const std::size_t count = std::min(n, members_.size() - asked);
    const auto first = members_.begin() + static_cast<std::ptrdiff_t>(asked);
    std::vector<Widths> batch(first, first + static_cast<std::ptrdiff_t>(count));
    for (const Widths& widths : batch) asked_.ask(widths);
    return batch;
  }
  void tell(const Widths& widths, const Point&, double /*noise*/) override { asked_.tell(widths); }
  bool finished() const override { return asked_.count() == members_.size(); }
  std::size_t preferred_batch() const override { return std::min(kBatch, members_.size()); }
  std::uint64_t total() const override { return members_.size(); }

  std::string description() const override {
    std::string text = name_;
    if (members_.size() < feasible_) {
      text += fmt::format(", even sample of {} of {}", members_.size(), feasible_);
    } else {
      text += fmt::format(", all {}", feasible_);
    }
    if (feasible_ < listed_) text += fmt::format(" within the budget ({} without it)", listed_);
    return text;
  }

 private:
  std::string name_;
  std::size_t listed_ = 0, feasible_ = 0;
  std::vector<Widths> members_;
  AskQueue asked_;
};

}  // namespace

std::unique_ptr<Strategy> make_schedule_search(std::string name, std::vector<Widths> members,
                                               const SearchProblem& problem,
                                               const StrategySettings& settings) {
  return std::make_unique<ScheduleSearch>(std::move(name), std::move(members), problem, settings);
}

}  // namespace mnm
