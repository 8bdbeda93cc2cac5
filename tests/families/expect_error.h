// What a refused input must say.
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "base/error.h"

namespace mnm::test {

// `body` throws an E (exactly: a UsageError is not taken for an Error) whose text holds `part`.
template <typename E, typename Body>
void expect_error(Body body, const std::string& part) {
  try {
    body();
  } catch (const Error& error) {
    EXPECT_EQ(typeid(error), typeid(E)) << error.what();
    EXPECT_NE(std::string(error.what()).find(part), std::string::npos)
        << "says: " << error.what() << "\nlacks: " << part;
    return;
  }
  ADD_FAILURE() << "nothing was thrown, expected: " << part;
}

}  // namespace mnm::test
