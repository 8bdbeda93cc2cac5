// `export --format onnx` judged by the runtimes that it is for: onnxruntime and onnxruntime-genai.
#include <fmt/ranges.h>

#include <cmath>

#include "tests/end_to_end/workshop.h"

namespace mnm::test {
namespace {

const std::string kRoot = MNM_SOURCE_DIR;

// tests/end_to_end/onnx_check.py with these words.
Result onnx_check(std::vector<std::string> words) {
  words.insert(words.begin(),
               {kRoot + "/.venv/bin/python", kRoot + "/tests/end_to_end/onnx_check.py"});
  return Running(words).wait();
}

constexpr int kNotInstalled = 77;
const char* const kWhy = "onnxruntime or onnxruntime-genai is not installed: scripts/setup test";

TEST_F(Workshop, OnnxOfEveryVariantComputesInItsRuntimesWhatTheNestedModelDoes) {
  std::vector<std::string> words = {"agree"};
  const auto add = [&](const TinyLlama& llama, const std::string& widths,
                       const std::string& dtype) {
    const std::string name = llama.name + "-" + dtype + "-" + std::to_string(words.size());
    const std::string model = llama.write(dir_ / ("model-" + name)).string();
    const Result result = expect_done({"export", model, "--format", "onnx", "--widths", widths,
                                       "--dtype", dtype, "--out", path(name), "--threads", "1"});
    EXPECT_NE(result.out.find("checked: "), std::string::npos) << name;
    words.push_back(path(name));
  };
  for (const TinyLlama& llama : tiny_llamas()) {
    const bool mixed = llama.layers == 3 && !llama.granularities.empty();
    const std::string widths = mixed ? "4,16,32" : "32x" + std::to_string(llama.layers);
    add(llama, widths, "f32");
    if (llama.name != "plain" && llama.name != "gqa" && llama.name != "everything") continue;
    add(llama, "8x3", "f32");
    add(llama, widths, "f16");
    add(llama, widths, "bf16");
  }
  ASSERT_EQ(words.size(), 1 + tiny_llamas().size() + 9);
  const Result result = onnx_check(words);
  if (result.status == kNotInstalled) GTEST_SKIP() << kWhy;
  EXPECT_EQ(result.status, 0) << result.out << result.err;
  std::printf("%s", result.out.c_str());

  // scripts/verify is not fooled: one row of the last product becomes zeros.
  const std::string wrong = words[1];
  const std::string data = wrong + "/model.onnx.data";
  std::string bytes = slurp(data);
  std::fill_n(bytes.end() - 4096, 16 * sizeof(float), '\0');  // of lm_head [50, 16]
  spew(data, bytes);
  for (const char* runtime : {"onnxruntime", "onnxruntime-genai"}) {
    const Result told = Running({kRoot + "/scripts/verify", runtime, wrong, words[2]}).wait();
    EXPECT_EQ(told.status, 1) << runtime;
    EXPECT_NE(told.out.find(wrong + ": " + runtime + " DISAGREES"), std::string::npos) << told.out;
    EXPECT_NE(told.out.find(words[2] + ": " + runtime + " agrees"), std::string::npos) << told.out;
  }
  std::filesystem::remove(data);
  EXPECT_EQ(Running({kRoot + "/scripts/verify", "onnxruntime", wrong}).wait().status, 1);
}

TEST_F(Workshop, OnnxOfTheBundledModelHasItsLossAndGeneratesItsText) {
  const std::string model = kRoot + "/data/reference", tokens = model + "/search.bin";
  const std::string widths = "512x4,256x4";
  expect_done({"export", model, "--format", "onnx", "--widths", widths, "--dtype", "f32", "--out",
               path("onnx")});
  const Result scored = onnx_check({"loss", path("onnx"), tokens, "256"});
  if (scored.status == kNotInstalled) GTEST_SKIP() << kWhy;
  ASSERT_EQ(scored.status, 0) << scored.out << scored.err;
  const double ours =
      expect_done({"eval", model, "--data", tokens, "--widths", widths, "--threads", "1", "--json"})
          .json()[0]["loss"]
          .get<double>();
  EXPECT_NEAR(std::stod(scored.out), ours, 1e-6 * ours);
  std::printf("mean loss: onnxruntime %.9f, eval %.9f\n", std::stod(scored.out), ours);

  expect_done({"export", model, "--widths", widths, "--dtype", "f32", "--out", path("full")});
  const std::vector<std::string> prompts = {"def main():", "import os\n", "    return "};
  std::vector<std::string> words = {"generate", path("onnx"), "200", path("full")};
  words.insert(words.end(), prompts.begin(), prompts.end());
  const Result text = onnx_check(words);
  ASSERT_EQ(text.status, 0) << text.out << text.err;
  std::string expected;
  for (const std::string& prompt : prompts) {
    const auto own =
        expect_done({"generate", model, "--widths", widths, "--prompt", prompt, "--max-new-tokens",
                     "200", "--ignore-end", "--threads", "1", "--json"})
            .json()["tokens"]
            .get<std::vector<int>>();
    ASSERT_EQ(own.size(), 200u);
    expected += fmt::format("{}\n", fmt::join(own, ","));
  }
  EXPECT_EQ(text.out, expected) << "onnxruntime-genai and generate, greedily";
}

TEST_F(Workshop, OnnxExportsAreListedRecordedRepeatedAndRefused) {
  const auto with = [&](const std::string& out, std::vector<std::string> more) {
    std::vector<std::string> all = {"export",   model_,  "--format", "onnx",      "--widths",
                                    "8x2,32x2", "--out", path(out),  "--threads", "1"};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  };
  const std::string dry = expect_done(with("a", {"--dry-run"})).out;
  EXPECT_FALSE(std::filesystem::exists(path("a")));
  const Result result = expect_done(with("a", {"--db", db_}));
  EXPECT_NE(result.out.find("InferenceSession(\"" + path("a/scorer.onnx")), std::string::npos);
  std::size_t files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(path("a"))) {
    ++files;
    const std::string name = entry.path().filename().string();
    EXPECT_NE(dry.find(name), std::string::npos) << name << "\n" << dry;
    EXPECT_NE(dry.find(std::to_string(entry.file_size())), std::string::npos) << name << "\n"
                                                                              << dry;
  }
  EXPECT_EQ(files, 6u) << "two graphs, their data, genai's settings, the probe, the list";
  EXPECT_EQ(expect_done({"runs", "--db", db_, "--json"}).json()["artifacts"][0]["format"], "onnx");
  expect_done(with("b", {"--no-check"}));
  for (const char* name : {"scorer.onnx", "model.onnx", "model.onnx.data", "genai_config.json"}) {
    EXPECT_EQ(slurp(path("a/") + name), slurp(path("b/") + name)) << name;
  }
  expect_refused(with("a", {}), 1, "--force");
  expect_refused(with("c", {"--dtype", "q8_0"}), 2, "q8_0");
  EXPECT_FALSE(std::filesystem::exists(path("c")));
}

}  // namespace
}  // namespace mnm::test
