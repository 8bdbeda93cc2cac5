// Exports of what is too large to be run or written, onto places that cannot hold it, of what a
// format cannot say: one sentence, exit 1, and nothing under the final name.
#include <signal.h>
#include <sys/stat.h>

#include <chrono>
#include <cmath>
#include <fstream>
#include <thread>

#include "tests/end_to_end/sparse.h"
#include "tests/end_to_end/workshop.h"

namespace mnm::test {
namespace {

namespace fs = std::filesystem;

// Files below a directory, hidden ones and all.
std::size_t files_below(const fs::path& directory) {
  return static_cast<std::size_t>(std::distance(fs::recursive_directory_iterator(directory), {}));
}

TEST_F(Workshop, ATargetOnAnotherFileSystemGetsTheSameBytes) {
  struct stat here {
  }, there{};
  if (::stat("/dev/shm", &there) != 0 || ::stat(dir_.path().c_str(), &here) != 0 ||
      here.st_dev == there.st_dev) {
    GTEST_SKIP() << "there is one file system only";
  }
  const fs::path home = "/dev/shm/mnm-test-" + std::to_string(::getpid());
  fs::create_directory(home);
  expect_done({"export", model_, "--widths", "8", "--no-check", "--out", path("here")});
  expect_done(
      {"export", model_, "--widths", "8", "--no-check", "--out", (home / "there").string()});
  EXPECT_EQ(slurp(home / "there/model.safetensors"), slurp(path("here/model.safetensors")));
  EXPECT_EQ(std::distance(fs::directory_iterator(home), {}), 1) << "nothing is left beside it";
  fs::remove_all(home);
}

// Terabytes of zeros: more than is free, also beside what --force would replace.
TEST_F(Workshop, SpaceIsAskedForBeforeTheFirstByte) {
  TinyLlama llama;
  llama.layers = 4;
  llama.hidden = 1 << 16;
  llama.full = 1 << 22;
  llama.granularities = {1 << 21, 1 << 22};
  llama.dtype = Dtype::kF32;
  try {
    write_sparse(llama, dir_ / "large");
  } catch (const fs::filesystem_error&) {
    GTEST_SKIP() << "this file system holds no such file";
  }
  const std::vector<std::string> words = {"export",     path("large"), "--widths", "2097152",
                                          "--no-check", "--out",       path("out")};
  expect_refused(words, 1, "free there");
  EXPECT_FALSE(fs::exists(path("out")));
  fs::create_directory(path("out"));
  spew(path("out/mine"), "kept");
  std::vector<std::string> forced = words;
  forced.push_back("--force");
  expect_refused(forced, 1, "free there");
  EXPECT_EQ(slurp(path("out/mine")), "kept");
  EXPECT_EQ(files_below(path("out")), 1u);
}

// A limit on file sizes is the full disk that needs no root.
TEST_F(Workshop, AFileThatCannotGrowLeavesNothing) {
  fs::create_directory(path("home"));
  const std::string program = mixnmatch_argv({}).front();
  for (const char* format : {"huggingface", "gguf"}) {
    const std::string line = "trap '' XFSZ; ulimit -f 8; exec " + program + " export " + model_ +
                             " --no-check --widths 8 --format " + format + " --out " +
                             path("home/out");
    const Result result = Running({"/bin/sh", "-c", line}).wait();
    EXPECT_EQ(result.status, 1) << format;
    EXPECT_NE(result.err.find("File too large"), std::string::npos) << result.err;
    EXPECT_EQ(files_below(path("home")), 0u) << format;
  }
}

TEST_F(Workshop, ASourceThatChangesWhileItIsReadIsNotExported) {
  TinyLlama llama;
  llama.layers = 8;
  llama.hidden = 1024;
  llama.full = 16384;
  llama.granularities = {8192, 16384};
  llama.dtype = Dtype::kBF16;
  write_sparse(llama, dir_ / "large");
  fs::create_directory(path("home"));
  Running running(mixnmatch_argv(
      {"export", path("large"), "--widths", "8192", "--no-check", "--out", path("home/out")}));
  // The source is open once a megabyte of it has been written.
  bool begun = false;
  for (int i = 0; i < 20'000 && !begun; ++i) {
    std::this_thread::sleep_for(std::chrono::microseconds(500));
    std::error_code gone;
    for (fs::recursive_directory_iterator it(path("home"), gone), end; !gone && it != end;
         it.increment(gone)) {
      std::error_code no_size;
      const auto size = fs::file_size(it->path(), no_size);
      if (!no_size && it->path().extension() == ".safetensors" && size > 1'000'000) begun = true;
    }
  }
  running.signal(SIGSTOP);
  ASSERT_TRUE(begun);
  ASSERT_FALSE(fs::exists(path("home/out"))) << "it was stopped in the middle";
  std::ofstream(path("large/model.safetensors"), std::ios::app) << 'x';
  running.signal(SIGCONT);
  const Result result = running.wait();
  EXPECT_EQ(result.status, 1);
  EXPECT_NE(result.err.find("changed while it was read"), std::string::npos) << result.err;
  EXPECT_EQ(files_below(path("home")), 0u);
}

TEST_F(Workshop, WhatAFormatCannotHold) {
  // A finite weight that f16 has no number for.
  std::vector<TestTensor> tensors = llama_.tensors();
  for (TestTensor& t : tensors) {
    if (t.name == "model.layers.3.mlp.up_proj.weight") t.values[0] = 1e6f;
  }
  write_checkpoint(path("loud"), llama_.config(), tensors, 1);
  for (const char* format : {"huggingface", "gguf"}) {
    expect_refused({"export", path("loud"), "--widths", "8", "--no-check", "--dtype", "f16",
                    "--format", format, "--out", path("out")},
                   1, "model.layers.3.mlp.up_proj.weight");
  }
  expect_refused(
      {"export", model_, "--widths", "8", "--no-check", "--dtype", "q8_0", "--out", path("out")}, 2,
      "q8_0");
  // Rows of 16 are no multiple of the block of 32.
  expect_refused({"export", model_, "--widths", "8", "--no-check", "--dtype", "q8_0", "--format",
                  "gguf", "--out", path("out")},
                 1, "32");
  spew(path("model/tokenizer.json"), R"({"model": {"type": "WordPiece", "vocab": {}}})");
  expect_refused(
      {"export", model_, "--widths", "8", "--no-check", "--format", "gguf", "--out", path("out")},
      1, "tokenizer");
  fs::remove(path("model/tokenizer.json"));
  EXPECT_FALSE(fs::exists(path("out")));
}

}  // namespace
}  // namespace mnm::test
