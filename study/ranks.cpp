#include "study/ranks.h"

#include <sched.h>

#include <algorithm>
#include <cstdlib>
#include <thread>

#include "base/quantity.h"

namespace mnm {
namespace {

SchedulerSettings settings_of_environment() {
  SchedulerSettings settings;
  if (const char* text = std::getenv("MNM_SILENCE")) settings.silence = parse_duration(text);
  return settings;
}

// Several beats within the silence that would be taken for death.
Post::Milliseconds beat_of(const SchedulerSettings& settings) {
  return Post::Milliseconds(std::clamp(static_cast<int>(settings.silence * 100), 10, 1000));
}

int bound_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  return sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
}

}  // namespace

Ranks::Ranks(const Launch& launch, const std::function<void(const std::string&)>& say)
    : launch_(launch),
      settings_(settings_of_environment()),
      post_(&open_mpi_transport, beat_of(settings_)) {
  if (post_.rank() > 0) return;
  coordinator_.emplace(post_, say, settings_);
}

Ranks::~Ranks() = default;

std::unique_ptr<Ranks> Ranks::join(const std::function<void(const std::string&)>& say) {
  const std::optional<Launch> launch = launch_of_this_process();
  if (!launch) return nullptr;
  std::unique_ptr<Ranks> ranks(new Ranks(*launch, say));
  if (ranks->size() == 1) return nullptr;  // MPI was started by something else
  return ranks;
}

DeviceOptions Ranks::device_of(DeviceOptions device) const {
  device.local_rank = launch_.local_rank;
  const int cores = bound_cores(), all = static_cast<int>(std::thread::hardware_concurrency());
  if (device.threads == 0 && cores == all) device.threads = std::max(1, all / launch_.local_size);
  return device;
}

}  // namespace mnm
