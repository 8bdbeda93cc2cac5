// A front that grows. Along it costs ascend and objectives strictly descend.
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
    // The costs of the first and the last member that the newcomer dominated. All members between
    // them are gone.
    std::optional<std::pair<std::int64_t, std::int64_t>> beaten;
  };

  // Offers a record. It becomes a member, and the result has a value, if no other member costs at
  // most as much and scores at least as well. Of equal records the one with the lowest number
  // stays, in whatever order they come. Smaller objectives win.
  std::optional<Entry> offer(std::int64_t cost, double objective, std::int64_t record);
  // Adds a record that is known to be a member.
  void load(std::int64_t cost, double objective, std::int64_t record) {
    members_.emplace_hint(members_.end(), cost, Member{objective, record});
  }

  const std::map<std::int64_t, Member>& members() const { return members_; }  // by cost

 private:
  std::map<std::int64_t, Member> members_;
};

}  // namespace mnm
