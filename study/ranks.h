// The processes that this one was started together with.
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

  // Null where this process was started alone. Error where it was not and this build cannot join.
  // say: is told, in a sentence, when another process is lost.
  static std::unique_ptr<Ranks> join(const std::function<void(const std::string&)>& say);

  int rank() const { return post_.rank(); }
  int size() const { return post_.size(); }
  Post& post() { return post_; }
  Coordinator& coordinator() { return *coordinator_; }  // the first rank's

  // One rank one GPU, and a fair share of the cores: threads that were left open are the machine's
  // cores over its ranks, where the launcher has not bound them already.
  DeviceOptions device_of(DeviceOptions device) const;

  // Longer, so that a rank does not end while the first one finds out that another is gone.
  double patience_with_the_first() const { return 3 * settings_.silence; }

 private:
  Ranks(const Launch& launch, const std::function<void(const std::string&)>& say);

  Launch launch_;
  SchedulerSettings settings_;  // MNM_SILENCE: when a rank that is not heard of counts as lost
  Post post_;
  std::optional<Coordinator> coordinator_;
};

}  // namespace mnm
