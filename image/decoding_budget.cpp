#include "image/decoding_budget.h"

#include <algorithm>
#include <limits>

namespace mnm {

void DecodingBudget::Share::take(std::uint64_t bytes) {
  constexpr std::uint64_t kMost = std::numeric_limits<std::int64_t>::max() / 8;
  const auto more = static_cast<std::int64_t>(std::min(bytes, kMost));
  std::unique_lock lock(budget_.mutex_);
  budget_.freed_.wait(lock,
                      [&] { return more <= budget_.left_ || overdrawn_ || !budget_.overdrawn_; });
  if (more > budget_.left_) budget_.overdrawn_ = overdrawn_ = true;
  budget_.left_ -= more;
  taken_ += more;
}

DecodingBudget::Share::~Share() {
  {
    const std::scoped_lock lock(budget_.mutex_);
    budget_.left_ += taken_;
    if (overdrawn_) budget_.overdrawn_ = false;
  }
  budget_.freed_.notify_all();
}

}  // namespace mnm
