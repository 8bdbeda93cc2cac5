#include "base/shell_word.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <string>
#include <vector>

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

}  // namespace
}  // namespace mnm
