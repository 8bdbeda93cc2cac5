#include "tests/support/cuda_on_host/block.h"

#include <algorithm>
#include <bit>
#include <cstdio>
#include <numeric>
#include <string_view>

namespace cuda_on_host {
namespace {

std::string place_of(const std::source_location& at) {
  const std::string file = at.file_name();
  return file.substr(file.rfind('/') + 1) + ":" + std::to_string(at.line());
}

bool same(const std::source_location& a, const std::source_location& b) {
  return a.line() == b.line() && a.column() == b.column() &&
         (a.file_name() == b.file_name() || std::string_view(a.file_name()) == b.file_name());
}

}  // namespace

std::optional<std::string> Block::run(unsigned count, Order order,
                                      const std::function<void(unsigned)>& place,
                                      const std::function<void()>& thread) {
  count_ = count;
  thread_ = &thread;
  fault_.reset();
  while (threads_.size() < count) {
    threads_.push_back(std::make_unique<Thread>([this] {
      (*thread_)();
      threads_[current_]->state = Thread::kHasReturned;
    }));
  }
  shuffling_.assign((count + kWarp - 1) / kWarp, 0);
  std::vector<unsigned> turns(count);
  std::iota(turns.begin(), turns.end(), 0u);
  if (order == Order::kReverse) std::reverse(turns.begin(), turns.end());
  for (unsigned i = 0; i < count; ++i) {
    threads_[i]->state = Thread::kReady;
    threads_[i]->fiber.restart();
  }
  for (;;) {
    if (order == Order::kShuffled) std::shuffle(turns.begin(), turns.end(), random_);
    bool moved = false;
    unsigned returned = 0;
    for (const unsigned i : turns) {
      Thread& t = *threads_[i];
      if (t.state == Thread::kReady) {
        current_ = i;
        place(i);
        t.fiber.resume();
        if (fault_) return fault_;
        moved = true;
      }
      returned += t.state == Thread::kHasReturned;
    }
    if (returned == count) return std::nullopt;
    if (moved) continue;
    if (!all_wait_together()) return what_is_stuck();
    for (unsigned i = 0; i < count; ++i) threads_[i]->state = Thread::kReady;
  }
}

void Block::wait(const std::source_location& at) {
  Thread& self = *threads_[current_];
  self.state = Thread::kWaits;
  self.at = at;
  self.fiber.suspend();
}

// Of all threads of the block, as CUDA's guide demands; that those which have returned are not
// waited for is a property of some devices.
bool Block::all_wait_together() const {
  return std::all_of(threads_.begin(), threads_.begin() + count_, [this](const auto& t) {
    return t->state == Thread::kWaits && same(t->at, threads_.front()->at);
  });
}

std::uint64_t Block::shuffle_down(unsigned mask, std::uint64_t bits, unsigned offset,
                                  const std::source_location& at) {
  Thread& self = *threads_[current_];
  self.state = Thread::kShuffles;
  self.at = at, self.mask = mask, self.offset = offset, self.bits = bits;
  exchange(current_ / kWarp);
  if (self.state == Thread::kShuffles || fault_) self.fiber.suspend();
  return self.bits;
}

// Once all lanes that the current one's shuffle names are there. What they wait with is then what
// they have come for.
void Block::exchange(unsigned warp) {
  const unsigned first = warp * kWarp, lane = current_ - first;
  const Thread& self = *threads_[current_];
  if ((self.mask >> lane & 1u) == 0) {
    fault_ = fault_of_shuffle(warp, lane) + ", which does not name it";
    return;
  }
  shuffling_[warp] |= 1u << lane;
  if ((shuffling_[warp] & self.mask) != self.mask) return;
  for (unsigned left = self.mask; left != 0; left &= left - 1) {
    const Thread& t = *threads_[first + static_cast<unsigned>(std::countr_zero(left))];
    if (t.mask != self.mask || !same(t.at, self.at)) return;
  }
  shuffling_[warp] &= ~self.mask;
  std::uint64_t values[kWarp] = {};
  for (unsigned left = self.mask; left != 0; left &= left - 1) {
    const auto to = static_cast<unsigned>(std::countr_zero(left));
    const unsigned offset = threads_[first + to]->offset;
    const unsigned from = offset < kWarp - to ? to + offset : to;
    if ((self.mask >> from & 1u) == 0) {
      fault_ = fault_of_shuffle(warp, to) + " and reads lane " + std::to_string(from) +
               ", which is not named";
      return;
    }
    values[to] = threads_[first + from]->bits;
  }
  for (unsigned left = self.mask; left != 0; left &= left - 1) {
    const auto to = static_cast<unsigned>(std::countr_zero(left));
    threads_[first + to]->bits = values[to];
    threads_[first + to]->state = Thread::kReady;
  }
}

std::string Block::fault_of_shuffle(unsigned warp, unsigned lane) const {
  const Thread& t = *threads_[warp * kWarp + lane];
  char mask[16];
  std::snprintf(mask, sizeof mask, "0x%x", t.mask);
  return "lane " + std::to_string(lane) + " of warp " + std::to_string(warp) +
         " shuffles with mask " + mask + " at " + place_of(t.at);
}

std::string Block::what_is_stuck() const {
  for (unsigned i = 0; i < count_; ++i) {
    if (threads_[i]->state == Thread::kShuffles) {
      return fault_of_shuffle(i / kWarp, i % kWarp) + ", and not all of these lanes come";
    }
  }
  const auto waits = std::find_if(threads_.begin(), threads_.end(),
                                  [](const auto& t) { return t->state == Thread::kWaits; });
  const auto is_elsewhere = [&](const auto& t) {
    return t->state != Thread::kWaits || !same(t->at, (*waits)->at);
  };
  const auto other = std::find_if(threads_.begin(), threads_.begin() + count_, is_elsewhere);
  const auto name = [this](const auto& t) {
    return "thread " + std::to_string(t - threads_.begin());
  };
  return name(waits) + " waits at the barrier " + place_of((*waits)->at) +
         ", which not all threads of the block reach: " + name(other) +
         ((*other)->state == Thread::kWaits ? " waits at " + place_of((*other)->at)
                                            : std::string(" has returned"));
}

}  // namespace cuda_on_host
