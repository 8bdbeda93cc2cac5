// Exports of what is too large to be run or written, onto places that cannot hold it, of what a
// format cannot say: one sentence, exit 1, and nothing under the final name.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <cmath>
#include <fstream>
#include <thread>

#include "tests/end_to_end/sparse.h"
#include "tests/end_to_end/workshop.h"
#include "tests/support/tiny_mamba2.h"

namespace mnm::test {
namespace {

namespace fs = std::filesystem;

// Files below a directory, hidden ones and all.
std::size_t files_below(const fs::path& directory) {
  return static_cast<std::size_t>(std::distance(fs::recursive_directory_iterator(directory), {}));
}

TEST_F(Workshop, AnExportThatIsCheckedInPartSaysSo) {
  const Result whole = expect_done({"export", model_, "--widths", "16x2,8x2", "--out",
                                    path("whole"), "--threads", "1", "--db", db_});
  EXPECT_EQ(whole.out.find("first"), std::string::npos) << whole.out;
  EXPECT_TRUE(fs::exists(path("whole/probe.safetensors")));
  const std::vector<std::string> part = {"export",         model_,       "--widths",  "16x2,8x2",
                                         "--check-layers", "3",          "--threads", "1",
                                         "--out",          path("part"), "--db",      db_};
  const Result checked = expect_done(part);
  EXPECT_NE(checked.out.find("through the first 3 of 4 layers alone (as asked"), std::string::npos)
      << checked.out;
  // The logits of three layers are no probe of four.
  EXPECT_FALSE(fs::exists(path("part/probe.safetensors")));
  EXPECT_EQ(slurp(path("part/model.safetensors")), slurp(path("whole/model.safetensors")));
  for (const char* format : {"huggingface", "gguf"}) {
    expect_done({"export", model_, "--widths", "32", "--check-layers", "1", "--threads", "1",
                 "--format", format, "--dtype", "f16", "--out", path(format)});
  }
  std::vector<std::string> dry = part;
  std::ranges::replace(dry, path("part"), path("planned"));
  dry.push_back("--dry-run");
  const Result planned = expect_done(dry);
  EXPECT_EQ(planned.out.find("probe"), std::string::npos) << planned.out;
  EXPECT_NE(planned.err.find("first 3 of 4 layers"), std::string::npos) << planned.err;
}

// Channels enough that the model is run with altered weights once.
TEST_F(Workshop, AnExportIsCheckedInTheMemoryThereIs) {
  llama_.hidden = 32;
  const auto within = [&](const char* memory, const char* name, std::vector<std::string> more) {
    const std::string model = llama_.write(dir_ / (std::string("of-") + name)).string();
    std::vector<std::string> command = {"export", model,   "--widths", "16x2,8x2", "--threads",
                                        "1",      "--out", path(name), "--memory", memory};
    command.insert(command.end(), more.begin(), more.end());
    return mixnmatch(command);
  };
  const Result streamed = within("160K", "streamed", {});
  EXPECT_EQ(streamed.status, 0) << streamed.err;
  EXPECT_TRUE(fs::exists(path("streamed/probe.safetensors"))) << streamed.out;
  const Result none = within("4K", "none", {});
  EXPECT_EQ(none.status, 0) << none.err;
  EXPECT_NE(none.out.find("nothing was run, since memory does not hold one layer"),
            std::string::npos)
      << none.out;
  const Result tight = within("4K", "tight", {"--check-layers", "4"});
  EXPECT_EQ(tight.status, 1);
  EXPECT_NE(tight.err.find("cannot stream the weights within"), std::string::npos) << tight.err;
  EXPECT_FALSE(fs::exists(path("tight")));

  // Rounded weights, and such as tell what rounding of operands does.
  for (const Dtype stored : {Dtype::kF32, Dtype::kF16}) {
    llama_.dtype = stored;
    const auto half = [&](const char* memory, const char* name) {
      return within(memory, name,
                    {"--format", "gguf", "--dtype", "f16", "--check-layers", "4", "--force"});
    };
    const Result refused = half("20K", "refused");
    EXPECT_EQ(refused.status, 1) << refused.out;
    EXPECT_NE(refused.err.find("cannot stream the weights within"), std::string::npos)
        << refused.err;
    EXPECT_NE(half("4K", "refused").err.find("within 4K bytes"), std::string::npos)
        << "as it was given";
    EXPECT_FALSE(fs::exists(path("refused")));
    const Result altered = half("200K", "altered");
    EXPECT_EQ(altered.status, 0) << altered.err;
    EXPECT_TRUE(fs::exists(path("altered/probe.safetensors"))) << altered.out;
  }
}

// The check runs one pass, whose states are kept nowhere but in memory.
TEST_F(Workshop, TheCheckNeedsNoDirectoryForTemporaryFiles) {
  std::vector<std::string> argv = {"/usr/bin/env", "TMPDIR=" + path("none")};
  const std::vector<std::string> exporting =
      mixnmatch_argv({"export", model_, "--widths", "8", "--out", path("out")});
  argv.insert(argv.end(), exporting.begin(), exporting.end());
  const Result result = Running(argv).wait();
  EXPECT_EQ(result.status, 0) << result.err;
  EXPECT_TRUE(fs::exists(path("out/probe.safetensors"))) << result.out;
}

TEST_F(Workshop, ShardsMayBeMoreThanTheFilesThatAProgramGets) {
  llama_.shards = 38;
  const std::string model = llama_.write(dir_ / "shards").string();
  for (const std::string format : {"huggingface", "gguf", "onnx"}) {
    std::vector<std::string> argv = {"/bin/bash", "-c", "ulimit -Sn 30; exec \"$@\"", "sh"};
    const std::vector<std::string> exporting =
        mixnmatch_argv({"export", model, "--widths", "8", "--shard-size", "1K", "--format", format,
                        "--dtype", "f32", "--threads", "1", "--out", path("of-" + format)});
    argv.insert(argv.end(), exporting.begin(), exporting.end());
    const Result result = Running(argv).wait();
    EXPECT_EQ(result.status, 0) << format << ": " << result.err;
  }
}

// A directory on another file system than the source, where there is one; gone with it.
class Elsewhere {
 public:
  explicit Elsewhere(const fs::path& source) {
    struct stat here {
    }, there{};
    if (::stat("/dev/shm", &there) != 0 || ::stat(source.c_str(), &here) != 0 ||
        here.st_dev == there.st_dev) {
      return;
    }
    path_ = "/dev/shm/mnm-test-" + std::to_string(::getpid());
    fs::create_directory(path_);
  }
  ~Elsewhere() {
    if (exists()) fs::remove_all(path_);
  }
  bool exists() const { return !path_.empty(); }
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

constexpr const char* kFormats[] = {"huggingface", "gguf", "onnx"};

// The rename is one on the target's own file system: what is unfinished lies there as well, and is
// gone where it could not be finished.
TEST_F(Workshop, ATargetOnAnotherFileSystemGetsTheSameBytes) {
  const Elsewhere home(dir_.path());
  if (!home.exists()) GTEST_SKIP() << "there is one file system only";
  for (const std::string format : kFormats) {
    const std::string there = (home.path() / format).string();
    std::vector<std::string> words = {"export",     model_,    "--widths",   "8",
                                      "--no-check", "--out",   path(format), "--format",
                                      format,       "--dtype", "f32"};
    expect_done(words);
    words[6] = there;
    expect_done(words);
    std::size_t files = 0;
    for (const auto& entry : fs::directory_iterator(there)) {
      EXPECT_EQ(slurp(entry.path()), slurp(path(format) / entry.path().filename()));
      ++files;
    }
    EXPECT_EQ(files, files_below(path(format)));
    EXPECT_EQ(std::distance(fs::directory_iterator(home.path()), {}), 1) << "something is left";
    const fs::path kept = fs::directory_iterator(there)->path();
    const std::string before = slurp(kept);
    std::string line = "trap '' XFSZ; ulimit -f 8; exec " + mixnmatch_argv({}).front();
    for (const std::string& word : words) line += " " + word;
    const Result refused = Running({"/bin/sh", "-c", line + " --force"}).wait();
    EXPECT_EQ(refused.status, 1) << format;
    EXPECT_NE(refused.err.find("File too large"), std::string::npos) << refused.err;
    EXPECT_EQ(slurp(kept), before) << format;
    EXPECT_EQ(std::distance(fs::directory_iterator(home.path()), {}), 1) << "something is left";
    fs::remove_all(there);
  }
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
  fs::create_directory(path("out"));  // an empty one would be used
  expect_refused(words, 1, "free there");
  EXPECT_EQ(files_below(path("out")), 0u);
}

// A limit on file sizes is the full disk that needs no root.
TEST_F(Workshop, AFileThatCannotGrowLeavesNothing) {
  fs::create_directory(path("home"));
  const std::string program = mixnmatch_argv({}).front();
  for (const char* format : kFormats) {
    const std::string line = "trap '' XFSZ; ulimit -f 8; exec " + program + " export " + model_ +
                             " --no-check --widths 8 --format " + format + " --out " +
                             path("home/out");
    const Result result = Running({"/bin/sh", "-c", line}).wait();
    EXPECT_EQ(result.status, 1) << format;
    EXPECT_NE(result.err.find("File too large"), std::string::npos) << result.err;
    EXPECT_EQ(files_below(path("home")), 0u) << format;
  }
}

// Grown, cut short, written over, or replaced by another file of its name, once some of the export
// has been written; in the other formats one of these.
TEST_F(Workshop, ASourceThatChangesWhileItIsReadIsNotExported) {
  TinyLlama llama;
  llama.layers = 8;
  llama.hidden = 1024;
  llama.full = 8192;
  llama.granularities = {4096, 8192};
  llama.dtype = Dtype::kBF16;
  const std::string source = path("large/model.safetensors");
  using Change = void (*)(const std::string&);
  const Change grow = [](const std::string& file) { std::ofstream(file, std::ios::app) << 'x'; };
  const Change cut = [](const std::string& file) { fs::resize_file(file, 1'000'000); };
  const Change write_over = [](const std::string& file) {
    std::fstream out(file, std::ios::in | std::ios::out);
    out.seekp(static_cast<std::streamoff>(fs::file_size(file)) - 1);
    out << 'x';
  };
  const Change replace = [](const std::string& file) { fs::rename(file + ".twin", file); };
  struct Case {
    const char* format;
    Change change;
    const char* found;
  };
  const Case cases[] = {{"huggingface", grow, "changed"},       {"huggingface", cut, "cut short"},
                        {"huggingface", write_over, "changed"}, {"huggingface", replace, "changed"},
                        {"gguf", write_over, "changed"},        {"onnx", write_over, "changed"}};
  for (const Case& c : cases) {
    SCOPED_TRACE(fmt::format("{}, {}", c.format, &c - cases));
    write_sparse(llama, dir_ / "twin");
    write_sparse(llama, dir_ / "large");
    fs::rename(path("twin/model.safetensors"), source + ".twin");
    fs::remove_all(path("home"));
    fs::create_directory(path("home"));
    // The source is open once a megabyte of it has been written.
    const auto is_in_the_middle = [&] {
      if (fs::exists(path("home/out"))) return false;
      std::error_code gone;
      for (fs::recursive_directory_iterator it(path("home"), gone), end; !gone && it != end;
           it.increment(gone)) {
        std::error_code no_size;
        const auto size = fs::file_size(it->path(), no_size);
        if (!no_size && size > 1'000'000) return true;
      }
      return false;
    };
    Running running(
        mixnmatch_argv({"export", path("large"), "--widths", "4096", "--no-check", "--format",
                        c.format, "--dtype", "bf16", "--out", path("home/out")}),
        Running::Start::kTraced);
    const bool stopped = running.hold(is_in_the_middle, [&] { c.change(source); });
    const Result result = running.wait();
    ASSERT_TRUE(stopped) << "never in the middle";
    EXPECT_EQ(result.status, 1);
    EXPECT_NE(result.err.find(c.found + std::string(" while it was read")), std::string::npos)
        << result.err;
    EXPECT_EQ(files_below(path("home")), 0u);
    fs::remove_all(path("large"));
    fs::remove_all(path("twin"));
  }
}

// While its header is parsed, which is mapped, or while the program waits for its prompt, after
// which weights are read: a signal in the one case, an error of the read in the other.
TEST_F(Workshop, AModelThatIsCutShortWhileItIsOpenEndsInASentence) {
  const std::string prompt = path("prompt"), weights = model_ + "/model.safetensors";
  ASSERT_EQ(::mkfifo(prompt.c_str(), 0600), 0);
  const int writer = ::open(prompt.c_str(), O_RDWR | O_CLOEXEC);
  ASSERT_GE(writer, 0);
  Running running({"/bin/sh", "-c",
                   "exec " + mixnmatch_argv({}).front() + " generate " + model_ + " < " + prompt});
  const std::string maps = "/proc/" + std::to_string(running.pid()) + "/maps";
  bool mapped = false;
  while (!mapped && !running.ended()) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    mapped = slurp(maps).find(weights) != std::string::npos;
  }
  ASSERT_TRUE(mapped);
  fs::resize_file(weights, 0);
  ASSERT_EQ(::write(writer, "def ", 4), 4);
  ::close(writer);
  const Result result = running.wait();
  EXPECT_EQ(result.status, 1) << result.err;
  EXPECT_EQ(result.out, "");
  EXPECT_NE(result.err.find("cut short while it was read"), std::string::npos) << result.err;
}

TEST_F(Workshop, WhatAFormatCannotHold) {
  // A finite weight that f16 has no number for.
  std::vector<TestTensor> tensors = llama_.tensors();
  for (TestTensor& t : tensors) {
    if (t.name == "model.layers.3.mlp.up_proj.weight") t.values[0] = 1e6f;
  }
  write_checkpoint(path("loud"), llama_.config(), tensors, 1);
  for (const char* format : kFormats) {
    expect_refused({"export", path("loud"), "--widths", "8", "--no-check", "--dtype", "f16",
                    "--format", format, "--out", path("out")},
                   1, "model.layers.3.mlp.up_proj.weight");
  }
  expect_refused(
      {"export", model_, "--widths", "8", "--no-check", "--dtype", "q8_0", "--out", path("out")}, 2,
      "gguf alone");
  expect_refused({"export", model_, "--widths", "8", "--dtype", "q9", "--format", "gguf", "--out",
                  path("out")},
                 2, "f32, f16, bf16, q8_0");
  // Rows of 16 are no multiple of the block of 32.
  expect_refused({"export", model_, "--widths", "8", "--no-check", "--dtype", "q8_0", "--format",
                  "gguf", "--out", path("out")},
                 1, "32");
  spew(path("model/tokenizer.json"), R"({"model": {"type": "WordPiece", "vocab": {}}})");
  expect_refused(
      {"export", model_, "--widths", "8", "--no-check", "--format", "gguf", "--out", path("out")},
      1, "--no-tokenizer writes the model without it");
  expect_done({"export", model_, "--widths", "8", "--no-check", "--format", "gguf", "--out",
               path("ids"), "--no-tokenizer"});
  expect_refused(
      {"export", model_, "--widths", "8", "--no-check", "--out", path("out"), "--no-tokenizer"}, 2,
      "--format gguf");
  fs::remove(path("model/tokenizer.json"));
  const auto refused_with = [&](const char* widths, const char* format, const std::string& model,
                                const std::string& part) {
    expect_refused({"export", model, "--widths", widths, "--no-check", "--format", format, "--out",
                    path("out")},
                   1, part);
  };
  refused_with("8", "decilm", model_, "256");
  refused_with("8x2,16x2", "decilm", model_, "'--widths 8x2,16x2 --explain' in place of --out");
  TinyLlama other = llama_;
  other.act_of_product = true;
  const std::string gated = other.write(dir_ / "gated").string();
  for (const char* format : {"gguf", "decilm"}) refused_with("32", format, gated, "act(gate*up)");
  TinyMamba2 states;
  const std::string mamba = states.write(dir_ / "states").string();
  refused_with("4,8,16", "gguf", mamba, "one inner size for all layers");
  refused_with("8", "decilm", mamba, "block_configs");
  states.bias = true;
  refused_with("8", "gguf", states.write(dir_ / "biased").string(), "biases");
  EXPECT_FALSE(fs::exists(path("out")));
}

// One tensor in two files, under two names, or named twice in one head.
TEST_F(Workshop, NamesThatCollideAreNotExported) {
  fs::create_directory(path("home"));
  const auto refused = [&](const std::string& model, const char* widths, const std::string& part) {
    for (const char* format : kFormats) {
      expect_refused({"export", model, "--widths", widths, "--no-check", "--format", format,
                      "--dtype", "f32", "--out", path("home/out")},
                     1, part);
      EXPECT_EQ(files_below(path("home")), 0u) << format;
    }
  };
  std::vector<TestTensor> tensors = llama_.tensors();
  write_checkpoint(path("two"), llama_.config(), tensors, 2);
  std::vector<TestTensor> second(tensors.begin() + static_cast<std::ptrdiff_t>(tensors.size() / 2),
                                 tensors.end());
  second.push_back(tensors.front());
  write_safetensors(path("two/model-00002-of-00002.safetensors"), second, {});
  refused(path("two"), "8", "'" + tensors.front().name + "'");

  write_checkpoint(path("one"), llama_.config(), tensors);
  std::string bytes = slurp(path("one/model.safetensors"));
  const std::string name = "model.layers.1.mlp.up_proj.weight";
  bytes[bytes.find(name) + std::string("model.layers.").size()] = '2';
  spew(path("one/model.safetensors"), bytes);
  refused(path("one"), "8", "model.layers.2.mlp.up_proj.weight");

  TinyMamba2 states;
  tensors = states.tensors();
  tensors.push_back(tensors.front());  // mamba_ssm's name of it
  tensors.back().name = "backbone.embedding.weight";
  write_checkpoint(path("states"), states.config(), tensors);
  refused(path("states"), "8", "two names of one tensor");
}

}  // namespace
}  // namespace mnm::test
