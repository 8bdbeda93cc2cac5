#include "generate/scheduled_widths.h"

#include <utility>

namespace mnm {

ScheduledWidths::ScheduledWidths(Sequences& sequences, const SequenceOptions& options,
                                 std::vector<WidthChange> schedule, Sampler& sampler,
                                 Random& random)
    : sequences_(sequences),
      sequence_(sequences, options),
      schedule_(std::move(schedule)),
      sampler_(sampler),
      random_(random) {}

void ScheduledWidths::feed(std::span<const std::int64_t> tokens) {
  const Widths* widths = nullptr;
  for (const WidthChange& change : schedule_) {
    if (change.after <= said_) widths = &change.widths;
  }
  const Feed feed{.sequence = sequence_.id(), .widths = *widths, .tokens = tokens};
  logits_ = sequences_.step({&feed, 1}).front();
}

void ScheduledWidths::read(std::span<const std::int64_t> part) { feed(part); }

std::vector<std::int64_t> ScheduledWidths::next(std::int64_t) {
  if (!last_.empty()) feed(last_);
  last_ = {sampler_.pick(logits_, random_.uniform())};
  ++said_;
  return last_;
}

}  // namespace mnm
