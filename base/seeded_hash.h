// A hash for tables whose keys come from outside.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace mnm {

// XXH3 with a random seed. The standard library's hash of a text is the same everywhere, so
// somebody could choose keys that all fall on one place of a table, and each would be compared with
// all before it. Nothing that is written may depend on the order of such a table.
class SeededHash {
 public:
  SeededHash();
  std::size_t operator()(std::string_view text) const;

 private:
  std::uint64_t seed_;  // the table keeps it, whichever library looks something up in it
};

}  // namespace mnm
