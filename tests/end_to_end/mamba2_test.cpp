// State-space models: exports are what the nested model computes, and transformers agrees; the
// authors' checkpoints, and weights that are no numbers.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "cli/command.h"
#include "tests/end_to_end/workshop.h"
#include "tests/support/python.h"
#include "tests/support/tiny_mamba2.h"

namespace mnm::test {
namespace {

namespace fs = std::filesystem;

// One allowed width per layer, trained or not.
std::string random_widths(const TinyMamba2& tiny, std::mt19937& random) {
  const auto allowed = static_cast<unsigned>(tiny.full() / tiny.step());
  std::vector<int> widths;
  for (int layer = 0; layer < tiny.layers; ++layer) {
    widths.push_back(tiny.step() * static_cast<int>(1 + random() % allowed));
  }
  return fmt::format("{}", fmt::join(widths, ","));
}

// The export command itself holds nested run, extracted and reloaded tensors against each other. It
// runs in this process, which opens LibTorch once: that takes longer than an export.
std::string export_here(const std::vector<std::string>& arguments) {
  testing::internal::CaptureStdout();
  testing::internal::CaptureStderr();
  const int status = run_program(arguments);
  const std::string out = testing::internal::GetCapturedStdout();
  const std::string err = testing::internal::GetCapturedStderr();
  EXPECT_EQ(status, 0) << err;
  return out;
}

TEST_F(Workshop, StateSpaceExportsComputeWhatTransformersComputes) {
  std::vector<std::string> verify = {"/usr/bin/env", "OMP_NUM_THREADS=1", "/bin/bash",
                                     MNM_SOURCE_DIR "/scripts/verify", "transformers"};
  std::mt19937 random(7);
  for (TinyMamba2& tiny : tiny_mamba2s()) {
    const std::string model = tiny.write(dir_ / tiny.name).string();
    const int full = tiny.full();
    std::vector<std::string> wanted = {std::to_string(full)};
    if (tiny.groups == 1) {
      // Half of it, which transformers says natively, the narrowest, and random ones.
      wanted.push_back(std::to_string(full / 2 / tiny.step() * tiny.step()));
      wanted.push_back(std::to_string(tiny.step()));
      for (int i = 0; i < 2; ++i) wanted.push_back(random_widths(tiny, random));
    }
    for (const std::string& widths : wanted) {
      const std::string out = path(tiny.name + "-" + widths);
      const std::string said = export_here(
          {"export", model, "--widths", widths, "--out", out, "--threads", "1", "--force"});
      EXPECT_NE(said.find("checked: "), std::string::npos) << tiny.name << " " << said;
      verify.push_back(out);
    }
  }
  if (!python_has("transformers")) GTEST_SKIP() << kNoPython;
  const Result answer = Running(verify).wait();
  EXPECT_EQ(answer.status, 0) << answer.out << answer.err;
}

TEST_F(Workshop, StateSpaceModelsAreScoredSharedAsOneByOne) {
  TinyMamba2 tiny;
  tiny.vocab = 256;
  const std::string model = tiny.write(dir_ / "mamba").string();
  std::vector<std::string> command = {
      "eval",   model,      "--data",  search_,         "--context", "64",
      "--json", "--widths", "uniform", "--widths",      "6,10,14",   "--widths",
      "6,10,2", "--widths", "16,12,4", "--consistency", "--threads", "2"};
  const nlohmann::json shared = expect_done(command).json();
  command.push_back("--one-by-one");
  const nlohmann::json alone = expect_done(command).json();
  ASSERT_EQ(shared.size(), 7u);
  ASSERT_EQ(alone.size(), 7u);
  for (std::size_t i = 0; i < shared.size(); ++i) {
    EXPECT_EQ(shared[i]["widths"], alone[i]["widths"]);
    EXPECT_NEAR(shared[i]["loss"].get<double>(), alone[i]["loss"].get<double>(), 2e-5);
  }
}

// As MatMambaLMHeadModel.save_pretrained leaves it: pickled, the tied head under both names. The
// error's own line makes of it the checkpoint that it was.
TEST_F(Workshop, APickledCheckpointIsConvertedByTheLineThatItsErrorGives) {
  if (!python_has("transformers")) GTEST_SKIP() << kNoPython;
  TinyMamba2 tiny;
  tiny.mamba_ssm = tiny.matmamba = tiny.tied = true;
  tiny.hidden = 64, tiny.head_dim = 2;
  tiny.vocab = 256;
  tiny.granularities = {};
  const std::string sound = tiny.write(dir_ / "sound").string(), pickled = path("the pickled");
  fs::create_directory(pickled);
  fs::copy(sound + "/config.json", pickled);
  const std::string python = MNM_SOURCE_DIR "/.venv/bin/python";
  const Result saved = Running({python, "-c",
                                "import sys, torch, safetensors.torch as s\n"
                                "d = s.load_file(sys.argv[1])\n"
                                "d['lm_head.weight'] = d['backbone.embedding.weight']\n"
                                "torch.save(d, sys.argv[2])\n",
                                sound + "/model.safetensors", pickled + "/pytorch_model.bin"})
                           .wait();
  ASSERT_EQ(saved.status, 0) << saved.err;

  const Result refused = mixnmatch({"inspect", pickled});
  EXPECT_EQ(refused.status, 1);
  const std::size_t line = refused.err.find("python -c ");
  ASSERT_NE(line, std::string::npos) << refused.err;
  const Result converted =
      Running({"/bin/sh", "-c",
               "PATH='" MNM_SOURCE_DIR "/.venv/bin':$PATH; " + refused.err.substr(line)})
          .wait();
  ASSERT_EQ(converted.status, 0) << converted.err;
  const auto score_of = [&](const std::string& model) {
    return expect_done({"eval", model, "--data", search_, "--context", "64", "--widths", "8,64,34",
                        "--threads", "1", "--json"})
        .out;
  };
  EXPECT_EQ(score_of(pickled), score_of(sound));
}

// What only the last head computes with reaches no narrower sibling of its pass, nor the front.
TEST_F(Workshop, NaNInAHeadIsThatOfTheWidthsThatHaveIt) {
  TinyMamba2 tiny;
  tiny.vocab = 256;
  std::vector<TestTensor> tensors = tiny.tensors();
  for (TestTensor& t : tensors) {
    if (t.name == "backbone.layers.1.mixer.in_proj.weight") t.values.back() = std::nanf("");
  }
  write_checkpoint(path("nan"), tiny.config(), tensors, 1);
  for (const bool alone : {false, true}) {
    std::vector<std::string> command = {"eval",      path("nan"), "--data",   search_,
                                        "--context", "64",        "--widths", "16,14,16",
                                        "--json",    "--widths",  "16,16,16", "--widths",
                                        "2,16,2",    "--widths",  "16,2,16"};
    if (alone) command.push_back("--one-by-one");
    const nlohmann::json scores = expect_done(command).json();
    ASSERT_EQ(scores.size(), 4u);
    for (std::size_t i = 0; i < 4; ++i) {
      EXPECT_EQ(scores[i]["status"], i == 1 || i == 2 ? "nan" : "ok") << alone << " " << i;
    }
  }
  model_ = path("nan");
  expect_done(search({"--strategy", "uniform"}, db_));
  const nlohmann::json front = expect_done({"pareto", "--db", db_, "--json"}).json();
  for (const nlohmann::json& record : front) EXPECT_NE(record["widths"], "16x3");
  EXPECT_FALSE(front.empty());
  expect_refused({"export", model_, "--widths", "16", "--out", path("out")}, 1, "no numbers");
  EXPECT_FALSE(fs::exists(path("out")));
}

// Both ways that a width can be none, at every place where one is said.
TEST_F(Workshop, WidthsThatCutAHeadAreRefusedWithTheNearest) {
  TinyMamba2 tiny;
  tiny.head_dim = 8;  // half a head is 4
  tiny.granularities = {4, 8, 16};
  tiny.vocab = 256;
  const std::string model = tiny.write(dir_ / "heads").string();
  for (const char* widths : {"10", "16,10,16"}) {
    expect_refused({"eval", model, "--data", search_, "--context", "64", "--widths", widths}, 2,
                   "multiples of 4 up to 16); nearest allowed: 8 and 12");
    for (const char* format : {"huggingface", "gguf", "onnx"}) {
      expect_refused(
          {"export", model, "--widths", widths, "--format", format, "--out", path("out")}, 2,
          "nearest allowed: 8 and 12");
    }
    expect_refused({"export", model, "--widths", widths, "--explain"}, 2,
                   "nearest allowed: 8 and 12");
    expect_refused({"generate", model, "--widths", widths, "--prompt", "a"}, 2,
                   "nearest allowed: 8 and 12");
  }
  EXPECT_FALSE(fs::exists(path("out")));
}

}  // namespace
}  // namespace mnm::test
