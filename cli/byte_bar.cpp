#include "cli/byte_bar.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "cli/option_value.h"
#include "model/cost.h"
#include "model/quantity.h"

namespace mnm {

std::string bytes_text(double done, double total, double seconds) {
  const double rate = seconds > 0 ? done / seconds : 0;
  return fmt::format("{}B of {}B, {}B/s, {} left", quantity(done), quantity(total), quantity(rate),
                     duration_text(seconds_left(done / total, seconds)));
}

ByteBar::ByteBar(std::string label, std::uint64_t total, const InterruptGuard& guard)
    : bar_(std::move(label)),
      total_(static_cast<double>(std::max<std::uint64_t>(total, 1))),
      guard_(guard) {}

bool ByteBar::operator()(std::uint64_t bytes) {
  done_ += static_cast<double>(bytes);
  bar_.show(done_ / total_, bytes_text(done_, total_, bar_.seconds()));
  return !guard_.interrupted();
}

}  // namespace mnm
