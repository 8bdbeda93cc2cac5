#include "base/directory.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/support/error_of.h"
#include "tests/support/temp_dir.h"

namespace mnm {
namespace {

namespace fs = std::filesystem;

TEST(Directory, EntriesComeByName) {
  const test::TempDir dir;
  for (const char* name : {"b", "a", "c.txt"}) test::spew(dir / name, "");
  fs::create_symlink(dir / "gone", dir / "aa");
  std::vector<std::string> names;
  for (const auto& entry : list_directory(dir.path())) names.push_back(entry.path().filename());
  EXPECT_EQ(names, (std::vector<std::string>{"a", "aa", "b", "c.txt"}));
}

TEST(Directory, OneThatCannotBeListedIsNamed) {
  const test::TempDir dir;
  test::spew(dir / "file", "");
  for (const char* name : {"gone", "file"}) {
    EXPECT_TRUE(test::contains(test::error_of([&] { list_directory(dir / name); }),
                               "cannot list '" + (dir / name).string() + "': "))
        << name;
  }
}

}  // namespace
}  // namespace mnm
