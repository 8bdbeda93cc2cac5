#include "base/shell_word.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <filesystem>
#include <iterator>
#include <string>
#include <vector>

#include "tests/support/temp_dir.h"

namespace mnm {
namespace {

std::string output_of(const std::string& command) {
  std::string out;
  std::FILE* pipe = popen(command.c_str(), "r");
  if (pipe == nullptr) return "popen failed";
  for (int c = std::fgetc(pipe); c != EOF; c = std::fgetc(pipe)) out += static_cast<char>(c);
  pclose(pipe);
  return out;
}

TEST(ShellQuoted, LeavesPlainWordsAlone) {
  EXPECT_EQ(shell_quoted("512x4,256x4"), "512x4,256x4");
  EXPECT_EQ(shell_quoted(""), "''");
  EXPECT_EQ(shell_quoted("a b"), "'a b'");
}

TEST(ShellQuoted, IsReadBackByAShell) {
  for (const std::string word :
       {"", "a b", "it's", "$HOME", "$(echo x)", "`x`", "a\"b", "back\\slash", "*", "a\nb", "~",
        "#", "'; exit 1; '", "-n", "näme"}) {
    EXPECT_EQ(output_of("printf '%s.' " + shell_quoted(word)), word + ".");
  }
}

// The command, run by a shell, makes one file more, which holds what was read.
TEST(FilterCommand, ReadsAnyNameAndWritesOverNothing) {
  for (const std::string name : {"a.gz", "-rf.gz", "a b", "$(exit 1).gz", "'; exit 1; '.txt",
                                 "a\nb.gz", "caf\xe9.gz", ".gz", "a"}) {
    for (const std::string extension : {"", ".utf8"}) {
      const test::TempDir dir;
      test::spew(dir / name, "packed");
      const auto run = [&] {
        return output_of("exec 2>&1; " + filter_command("cat", dir / name, extension));
      };
      const auto files = [&] {
        return std::distance(std::filesystem::directory_iterator(dir.path()),
                             std::filesystem::directory_iterator());
      };
      EXPECT_EQ(run(), "") << name;
      EXPECT_EQ(files(), 2) << name;
      EXPECT_EQ(run(), "") << name;
      EXPECT_EQ(files(), 3) << name;
      for (const auto& entry : std::filesystem::directory_iterator(dir.path())) {
        EXPECT_EQ(test::slurp(entry.path()), "packed") << entry.path();
      }
    }
  }
  EXPECT_EQ(filter_command("gunzip", "no/wiki.txt.gz", ""),
            "gunzip < no/wiki.txt.gz > no/wiki.txt");
  EXPECT_EQ(filter_command("iconv", "no/wide file.txt", ".utf8"),
            "iconv < 'no/wide file.txt' > 'no/wide file.utf8'");
}

}  // namespace
}  // namespace mnm
