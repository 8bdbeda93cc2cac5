// What a call throws, as text: tests ask for phrases in it.
#pragma once

#include <string>
#include <string_view>

#include "base/error.h"

namespace mnm::test {

// The message of the Error that `call` throws; empty where it throws none.
template <typename Call>
std::string error_of(const Call& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return {};
}

// Likewise, but the Error must be a UsageError.
template <typename Call>
std::string usage_error_of(const Call& call) {
  try {
    call();
  } catch (const UsageError& error) {
    return error.what();
  } catch (const Error& error) {
    return std::string("not a UsageError: ") + error.what();
  }
  return {};
}

inline bool contains(std::string_view text, std::string_view phrase) {
  return text.find(phrase) != std::string_view::npos;
}

}  // namespace mnm::test
