// Finds what has a name, such as tensors. A model has thousands of them, and a search through all
// of them for each takes time that grows with their square.
#pragma once

#include <map>
#include <string_view>
#include <vector>

namespace mnm {

template <typename Named>
class ByName {
 public:
  ByName() = default;
  // `all` outlives this, and its elements stay in place. Of several with one name, the first
  // counts.
  explicit ByName(const std::vector<Named>& all) {
    for (const Named& one : all) places_.emplace(one.name, &one);
  }

  explicit ByName(std::vector<Named>&&) = delete;

  const Named* find(std::string_view name) const {  // null: there is none
    const auto found = places_.find(name);
    return found == places_.end() ? nullptr : found->second;
  }

 private:
  std::map<std::string_view, const Named*> places_;
};

}  // namespace mnm
