// Which tokens are two other tokens put together.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>

#include "text/tokenizer_json.h"

namespace mnm {

struct TokenSplit {
  std::int32_t whole;  // the token's id
  std::size_t at;      // the bytes of the first part; the rest is the second
};

// Calls `take` for every split of every token into two tokens. Takes time n log n in the bytes of
// the texts, however long some of them are.
void for_each_split(const TokenIds& ids, const std::function<void(const TokenSplit&)>& take);

}  // namespace mnm
