// The memory that the bodies of all requests may take together. All of it is on one thread.
#pragma once

#include <cstdint>

namespace mnm {

struct BodyBudget {
  std::uint64_t most = 0;  // bytes
  std::uint64_t used = 0;
};

// What one request has of a budget, which outlives it. It is given back when this ends.
class BodyShare {
 public:
  explicit BodyShare(BodyBudget& budget) : budget_(budget) {}
  BodyShare(const BodyShare&) = delete;
  BodyShare& operator=(const BodyShare&) = delete;
  ~BodyShare() { budget_.used -= bytes_; }

  // From now on the share has so many bytes. False: there is no room for them, and the share is as
  // it was. A share that becomes smaller always may.
  bool resize(std::uint64_t bytes) {
    const std::uint64_t others = budget_.used - bytes_;
    if (bytes > bytes_ && (others > budget_.most || bytes > budget_.most - others)) return false;
    budget_.used = others + bytes;
    bytes_ = bytes;
    return true;
  }

 private:
  BodyBudget& budget_;
  std::uint64_t bytes_ = 0;
};

}  // namespace mnm
