// The processes that were started together with this one.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "cluster/coordinator.h"
#include "cluster/launch.h"
#include "cluster/post.h"
#include "eval/scores.h"

namespace mnm {

class Ranks {
 public:
  ~Ranks();  // the first rank stops the others

  // Null if this process was started alone. Error if it was not, and this build cannot join the
  // others. `say` gets a sentence when another process is lost.
  static std::unique_ptr<Ranks> join(const std::function<void(const std::string&)>& say);

  int rank() const { return post_.rank(); }
  int size() const { return post_.size(); }
  Post& post() { return post_; }
  Coordinator& coordinator() { return *coordinator_; }  // the first rank's

  // Gives each rank its own GPU and a fair share of the cores. If the number of threads was left
  // open, it is the number of the machine's cores over the number of its ranks, unless the launcher
  // has already limited the rank to some cores.
  DeviceOptions device_of(DeviceOptions device) const;

  // Longer than the usual patience, so that a rank does not give up while the first rank finds out
  // that another one is gone.
  double patience_with_the_first() const { return 3 * settings_.silence; }

 private:
  Ranks(const Launch& launch, const std::function<void(const std::string&)>& say);

  Launch launch_;
  SchedulerSettings settings_;  // MNM_SILENCE: the seconds after which a silent rank counts as lost
  Post post_;
  std::optional<Coordinator> coordinator_;
};

}  // namespace mnm
