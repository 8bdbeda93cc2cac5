#include "model/own_files.h"

#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <map>
#include <string>

#include "model/fingerprint.h"
#include "tests/support/error_of.h"
#include "tests/support/temp_dir.h"

namespace mnm {
namespace {

namespace fs = std::filesystem;
using test::contains;
using test::spew;
using test::TempDir;

const std::map<std::string, std::string> kFiles = {
    {"config.json", R"({"mixnmatch": {"widths": "8"}})"},
    {"model.safetensors", "weights"},
    {"LICENSE", ""},
    {"probe.safetensors", "mixnmatch-probe-2"}};

void write(const fs::path& directory) {
  for (const auto& [name, bytes] : kFiles) spew(directory / name, bytes);
  write_own_files_list(directory);
}

TEST(OwnFiles, WhatWasWrittenAndNotChangedIsOurs) {
  const TempDir dir, copy;
  write(dir.path());
  EXPECT_EQ(why_not_ours(dir.path()), "");
  write_own_files_list(dir.path());
  EXPECT_EQ(why_not_ours(dir.path()), "") << "the list does not list itself";
  std::map<std::string, std::uint64_t> sizes;
  for (const auto& [name, bytes] : kFiles) sizes[name] = bytes.size();
  EXPECT_EQ(own_files_list_bytes(sizes), fs::file_size(dir / kOwnFilesList));
  fs::copy(dir.path(), copy.path(), fs::copy_options::recursive);
  EXPECT_EQ(why_not_ours(copy.path()), "");
  spew(dir / "verified.json", R"([{"artifact": "f", "runtime": "transformers"}])");
  EXPECT_EQ(why_not_ours(dir.path()), "");
  fs::remove(dir / "LICENSE");
  EXPECT_EQ(why_not_ours(dir.path()), "");
}

TEST(OwnFiles, WhatSomebodyElseWroteOrChangedIsNot) {
  const auto judged = [](const std::string& name, const std::string& bytes) {
    const TempDir dir;
    write(dir.path());
    spew(dir / name, bytes);
    return why_not_ours(dir.path());
  };
  for (const char* name : {"thesis.tex", "optimizer.pt", "results.db", "tokenizer-notes.txt",
                           "LICENSE-thesis.tex", "model-my-other-model.safetensors", ".hidden"}) {
    EXPECT_EQ(judged(name, "x"),
              "it holds '" + std::string(name) + "', which this program did not write");
  }
  // What a program saves that trained an export further: the same names, and the unknown key stays.
  EXPECT_EQ(judged("config.json", kFiles.at("config.json") + "\n"),
            "its 'config.json' is not as this program wrote it");
  EXPECT_EQ(judged("model.safetensors", "weightz"),
            "its 'model.safetensors' is not as this program wrote it");
  EXPECT_TRUE(contains(judged("verified.json", "[1]"), "'verified.json'"));
  EXPECT_TRUE(contains(judged("verified.json", "my notes"), "'verified.json'"));
  for (const char* list : {"", "{", "[]", "{}", R"({"mixnmatch_files": 2, "files": {}})",
                           R"({"mixnmatch_files": 1, "files": []})"}) {
    EXPECT_TRUE(contains(judged(kOwnFilesList, list), "no list as this program writes it")) << list;
  }

  const TempDir dir;
  EXPECT_EQ(why_not_ours(dir.path()), "") << "it is empty";
  write(dir.path());
  fs::rename(dir / kOwnFilesList, dir / "list.json");
  EXPECT_EQ(why_not_ours(dir.path()),
            "it holds 'LICENSE', and no '.mixnmatch-files.json' in which this program lists the "
            "files that it wrote (earlier versions wrote no list)");
  fs::rename(dir / "list.json", dir / kOwnFilesList);
  fs::rename(dir / "LICENSE", dir / "moved");
  fs::create_symlink("moved", dir / "LICENSE");
  EXPECT_TRUE(contains(why_not_ours(dir.path()), "'LICENSE'")) << "nothing we write is a link";
}

// Of a large file samples are compared; whoever changes what lies between makes it younger.
TEST(OwnFiles, ALargeFileMustNotBeYoungerThanTheList) {
  const TempDir dir;
  spew(dir / "images.npy", "");
  fs::resize_file(dir / "images.npy", 4 * SampledBytes::kSampled);  // of holes
  write_own_files_list(dir.path());
  EXPECT_EQ(why_not_ours(dir.path()), "");
  fs::last_write_time(dir / "images.npy",
                      fs::last_write_time(dir / kOwnFilesList) + std::chrono::seconds(1));
  EXPECT_EQ(why_not_ours(dir.path()), "its 'images.npy' is not as this program wrote it");
}

}  // namespace
}  // namespace mnm
