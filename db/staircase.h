// A front as it grows: costs ascend, objectives strictly descend.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <utility>

namespace mnm {

class Staircase {
 public:
  struct Member {
    double objective = 0;
    std::int64_t record = 0;
  };
  struct Entry {
    // The costs of the first and the last member that the newcomer beat: all between are gone.
    std::optional<std::pair<std::int64_t, std::int64_t>> beaten;
  };

  // Whether the record is a member now: no other costs at most as much and scores at least as well.
  // Of equals the lowest record stays, whenever it comes. Smaller objectives win.
  std::optional<Entry> offer(std::int64_t cost, double objective, std::int64_t record);
  // The same for one that is a member already.
  void load(std::int64_t cost, double objective, std::int64_t record) {
    members_.emplace_hint(members_.end(), cost, Member{objective, record});
  }

  const std::map<std::int64_t, Member>& members() const { return members_; }  // by cost

 private:
  std::map<std::int64_t, Member> members_;
};

}  // namespace mnm
