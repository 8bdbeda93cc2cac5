// What the pages for readers tell them to type can be typed.
#include <gtest/gtest.h>

#include "tests/end_to_end/program.h"
#include "tests/support/python.h"

namespace mnm::test {
namespace {

TEST(Readme, ItsCommandsAndFilesExist) {
  const TempDir scratch;
  const std::vector<std::filesystem::path> program = {mixnmatch_argv({}).front()};
  EXPECT_EQ(python_failure("end_to_end/readme_commands.py", program, scratch), "");
}

}  // namespace
}  // namespace mnm::test
