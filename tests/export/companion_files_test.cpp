#include "export/companion_files.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "export/gguf_tokenizer.h"
#include "tests/support/error_of.h"
#include "tests/support/temp_dir.h"

namespace mnm {
namespace {

namespace fs = std::filesystem;
using test::contains;
using test::error_of;
using test::spew;
using test::TempDir;

std::vector<std::string> names_in(const fs::path& directory) {
  std::vector<std::string> names;
  for (const CarriedFile& file : carried_files(directory)) names.push_back(file.name);
  return names;
}

TEST(CompanionFiles, FilesAndLinksToFilesBesideThemAreCarried) {
  const TempDir dir;
  spew(dir / "config.json", "{}");
  spew(dir / "tokenizer.json", "{}");
  spew(dir / "notes.txt", "");
  fs::create_symlink("tokenizer.json", dir / "tokenizer_twin.json");
  fs::create_directory(dir / "LICENSES");
  EXPECT_EQ(names_in(dir.path()),
            (std::vector<std::string>{"tokenizer.json", "tokenizer_twin.json"}));
}

// What is asked for and cannot be read is said, and not left out.
TEST(CompanionFiles, WhatCannotBeCarriedIsAnError) {
  const auto refused = [](const char* name, const char* found, const auto& make) {
    const TempDir dir;
    make(dir / name);
    for (const auto& error : {error_of([&] { carried_files(dir.path()); }),
                              error_of([&] { require_own_file(dir / name); })}) {
      EXPECT_TRUE(contains(error, name) && contains(error, found)) << error;
    }
  };
  const TempDir elsewhere;
  spew(elsewhere / "id_rsa", "a key");
  for (const char* name : {"tokenizer.json", "LICENSE.txt", "config.json"}) {
    refused(name, "a link to nothing", [](const fs::path& p) { fs::create_symlink("none", p); });
    refused(name, "a device or pipe", [](const fs::path& p) { ::mkfifo(p.c_str(), 0600); });
    refused(name, "a directory", [](const fs::path& p) { fs::create_directory(p); });
    refused(name, "id_rsa",
            [&](const fs::path& p) { fs::create_symlink(elsewhere / "id_rsa", p); });
  }
}

// GGUF holds the content of these, so it asks about them as the formats do that copy them.
TEST(CompanionFiles, AGgufHoldsNoTextFromElsewhere) {
  const TempDir dir, elsewhere;
  spew(elsewhere / "id_rsa", R"({"chat_template": "a key"})");
  const auto fields = [&] { return gguf_tokenizer(dir.path(), {}, 256); };
  EXPECT_EQ(error_of(fields), "");
  for (const char* name : {"tokenizer.json", "tokenizer_config.json", "chat_template.jinja"}) {
    for (const fs::path& target : {elsewhere / "id_rsa", elsewhere / "none"}) {
      fs::create_symlink(target, dir / name);
      EXPECT_TRUE(contains(error_of(fields), name)) << target;
      EXPECT_NO_THROW(gguf_tokenizer(dir.path(), {}, 256, false)) << "no text is read";
      fs::remove(dir / name);
    }
  }
}

}  // namespace
}  // namespace mnm
