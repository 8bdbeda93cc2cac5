// What exports are good for, as a user asks: --explain, inspect, and the lines of docs/exports.md.
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "tests/end_to_end/program.h"
#include "tests/support/error_of.h"
#include "tests/support/python.h"

namespace mnm {
namespace {

using test::contains;
using test::mixnmatch;
using test::Result;
using test::Running;
using test::TempDir;

const std::string kModel = MNM_SOURCE_DIR "/data/reference";
const std::string kSearch = MNM_SOURCE_DIR "/data/reference/search.bin";

// Runtime, format and first dtype -> the line.
std::map<std::string, nlohmann::json> lines(const nlohmann::json& runtimes) {
  std::map<std::string, nlohmann::json> by_name;
  for (const nlohmann::json& line : runtimes) {
    by_name[line["runtime"].get<std::string>() + " " + line["format"].get<std::string>() + " " +
            line["dtypes"][0].get<std::string>()] = line;
  }
  return by_name;
}

TEST(Explain, SaysWhichRuntimesLoadMixedWidthsAndWhatLiesNearBy) {
  const TempDir dir;
  const std::string db = (dir / "results.db").string();
  const Result scored =
      mixnmatch({"eval", kModel, "--widths", "64x2,128x2,256x2,512x2", "--widths", "256x8",
                 "--widths", "128x8", "--data", kSearch, "--max-tokens", "4096", "--db", db});
  ASSERT_EQ(scored.status, 0) << scored.err;
  const std::string before = test::slurp(db);
  const Result found = mixnmatch(
      {"export", kModel, "--widths", "64x2,128x2,256x2,512x2", "--explain", "--json", "--db", db});
  ASSERT_EQ(found.status, 0) << found.err;
  EXPECT_EQ(test::slurp(db), before);
  auto by_name = lines(found.json()["runtimes"]);
  const std::map<std::string, bool> expected = {{"transformers huggingface f32", true},
                                                {"transformers, stock huggingface f32", false},
                                                {"transformers decilm f32", false},
                                                {"llama.cpp gguf f32", true},
                                                {"llama.cpp gguf q8_0", true},
                                                {"onnxruntime onnx f32", true},
                                                {"onnxruntime-genai onnx f32", true},
                                                {"vLLM huggingface f32", false},
                                                {"vLLM decilm f32", false},
                                                {"NVIDIA DeciLM decilm f32", false}};
  for (const auto& [name, loads] : expected) {
    ASSERT_TRUE(by_name.contains(name)) << name;
    EXPECT_EQ(by_name[name]["loads"], loads) << name;
    EXPECT_FALSE(by_name[name]["version"].get<std::string>().empty()) << name;
    EXPECT_EQ(by_name[name]["evidence"], name[0] == 'v' || name[0] == 'N' ? "read" : "run") << name;
  }
  EXPECT_EQ(by_name["llama.cpp gguf f32"]["why"], "architecture deci");
  EXPECT_TRUE(contains(by_name["vLLM decilm f32"]["why"].get<std::string>(), "multiple of 256"));

  // One width: 240 a layer. The store knows two of the detours, on the sequences of what was asked.
  std::map<std::string, nlohmann::json> detours;
  const nlohmann::json answer = found.json();
  for (const nlohmann::json& line : answer["detours"]) {
    detours[line["requirement"].get<std::string>() + " " + line["widths"].get<std::string>()] =
        line;
  }
  const nlohmann::json asked = detours[" 64x2,128x2,256x2,512x2"];
  ASSERT_TRUE(asked.is_object()) << found.out;
  const nlohmann::json up = detours["one width 256x8"], down = detours["one width 128x8"];
  ASSERT_TRUE(up.is_object() && down.is_object() && detours.contains("one width 240x8"));
  EXPECT_EQ(up["direction"], "up");
  EXPECT_EQ(down["direction"], "down");
  EXPECT_EQ(detours["one width 240x8"]["trained"], false);
  EXPECT_TRUE(detours["one width 240x8"]["loss"].is_null());
  EXPECT_GT(up["params"], asked["params"]);
  EXPECT_LT(down["params"], asked["params"]);
  ASSERT_TRUE(detours.contains("multiples of 256 256x6,512x2")) << found.out;
  // As `compare` says it.
  const Result compared =
      mixnmatch({"compare", "256x8", "64x2,128x2,256x2,512x2", "--db", db, "--json"});
  ASSERT_EQ(compared.status, 0) << compared.err;
  EXPECT_EQ(compared.json()[0]["difference"], up["difference"]);
  EXPECT_EQ(compared.json()[0]["difference_se"], up["difference_se"]);
  EXPECT_EQ(compared.json()[0]["a_loss"], up["loss"]);
}

TEST(Explain, SaysWhichWidthsOfStateSpaceModelsLoadWhere) {
  const std::string model = MNM_SOURCE_DIR "/data/matmamba";  // d is 128, half a head 8
  const std::map<std::string, std::set<std::string>> loading = {
      {"transformers huggingface f32", {"128x8", "64x8", "32x8", "40x8", "16x4,64x4"}},
      {"transformers, stock huggingface f32", {"128x8", "64x8"}},
      {"onnxruntime onnx f32", {"128x8", "64x8", "32x8", "40x8", "16x4,64x4"}},
      {"onnxruntime-genai onnx f32", {}},
      {"llama.cpp gguf f32", {"128x8", "64x8", "32x8", "40x8"}},
      {"llama.cpp gguf q8_0", {"128x8", "64x8", "32x8"}},
      {"vLLM huggingface f32", {"128x8", "64x8"}}};
  for (const char* widths : {"128x8", "64x8", "32x8", "40x8", "16x4,64x4"}) {
    const Result found = mixnmatch({"export", model, "--widths", widths, "--explain", "--json"});
    ASSERT_EQ(found.status, 0) << found.err;
    const auto by_name = lines(found.json()["runtimes"]);
    ASSERT_EQ(by_name.size(), loading.size());
    for (const auto& [name, those] : loading) {
      ASSERT_TRUE(by_name.contains(name)) << name;
      const nlohmann::json& line = by_name.at(name);
      EXPECT_EQ(line["loads"], those.contains(widths)) << name << " " << widths;
      EXPECT_EQ(line["evidence"], name[0] == 'v' ? "read" : "run") << name;
      EXPECT_NE(line["why"], "") << name;
    }
  }
  const nlohmann::json mixed =
      mixnmatch({"export", model, "--widths", "16x4,64x4", "--explain", "--json"}).json();
  EXPECT_EQ(lines(mixed["runtimes"]).at("llama.cpp gguf f32")["why"],
            "layers of different widths: its mamba2 has one ssm.inner_size for all layers");
  std::set<std::string> near;
  for (const nlohmann::json& line : mixed["detours"]) {
    near.insert(line["requirement"].get<std::string>() + " " + line["widths"].get<std::string>());
  }
  EXPECT_TRUE(near.contains("one width 40x8") && near.contains("one width 64x8") &&
              near.contains("one width, multiples of 64 64x8"))
      << mixed.dump(1);
}

TEST(Explain, OfOneRuntimeAndOfAConfigAlone) {
  const Result one = mixnmatch({"export", MNM_SOURCE_DIR "/data/shapes/llama-70b.json", "--budget",
                                "40B", "--explain", "--runtime", "vLLM"});
  ASSERT_EQ(one.status, 0) << one.err;
  EXPECT_TRUE(contains(one.out, "DeciLMForCausalLM, --trust-remote-code")) << one.out;
  EXPECT_FALSE(contains(one.out, "llama.cpp")) << one.out;
  const Result two =
      mixnmatch({"export", kModel, "--widths", "256", "--explain", "--runtime", "none"});
  EXPECT_EQ(two.status, 2);
  EXPECT_TRUE(contains(two.err, "there are transformers")) << two.err;
  const std::vector<std::string> base = {"export", kModel, "--widths", "256"};
  for (const auto& more : std::vector<std::vector<std::string>>{{"--json", "--dry-run"},
                                                                {"--runtime", "vLLM", "--dry-run"},
                                                                {"--explain", "--out", "x"}}) {
    std::vector<std::string> all = base;
    all.insert(all.end(), more.begin(), more.end());
    EXPECT_EQ(mixnmatch(all).status, 2) << more[0];
  }
}

TEST(Inspect, OfAnExportSaysWhatLoadsItAndWhatWasVerified) {
  const TempDir dir;
  const std::string blocks = (dir / "decilm").string(), file = (dir / "gguf").string();
  const Result made = mixnmatch(
      {"export", kModel, "--widths", "256x4,512x4", "--format", "decilm", "--out", blocks});
  ASSERT_EQ(made.status, 0) << made.err;
  const Result refused = mixnmatch(
      {"export", kModel, "--widths", "64", "--format", "decilm", "--out", (dir / "no").string()});
  EXPECT_EQ(refused.status, 1);
  EXPECT_TRUE(contains(refused.err, "nearest are 256")) << refused.err;
  EXPECT_FALSE(std::filesystem::exists(dir / "no"));

  const Result found = mixnmatch({"inspect", blocks, "--json"});
  ASSERT_EQ(found.status, 0) << found.err;
  EXPECT_TRUE(lines(found.json()["runtimes"])["vLLM decilm f32"]["loads"]);
  EXPECT_FALSE(lines(found.json()["runtimes"])["vLLM huggingface f32"]["loads"]);
  EXPECT_TRUE(found.json()["verified"].empty());

  ASSERT_EQ(mixnmatch({"export", kModel, "--widths", "64", "--format", "gguf", "--dtype", "q8_0",
                       "--out", file})
                .status,
            0);
  const Result foreign = mixnmatch({"inspect", file, "--json"});
  ASSERT_EQ(foreign.status, 0) << foreign.err;
  EXPECT_EQ(foreign.json()["probe"]["widths"], "64x8");
  EXPECT_GT(foreign.json()["probe"]["moved by storing"], 0);
  const std::string artifact = foreign.json()["probe"]["fingerprint"];
  nlohmann::json answer = {{"artifact", artifact}, {"runtime", "llama.cpp"}, {"version", "1"},
                           {"worst", 0.25},        {"tolerance", 0.5},       {"agrees", true},
                           {"machine", "m"},       {"created", "c"}};
  nlohmann::json other = answer;
  other["artifact"] = "of what lay here before";
  test::spew(dir / "gguf/verified.json", nlohmann::json{other, answer}.dump());
  const auto verified = mixnmatch({"inspect", file, "--json"}).json()["verified"];
  ASSERT_EQ(verified.size(), 1u);
  EXPECT_EQ(verified[0]["worst"], 0.25);
  EXPECT_EQ(verified[0]["agrees"], true);
  EXPECT_EQ(foreign.json()["probe"]["files"], "as exported");

  // Answers are of the files that were asked, not of what these became.
  const std::string weights = test::slurp(dir / "gguf/model.gguf");
  std::string flipped = weights;
  flipped[flipped.size() / 2] ^= 1;
  for (const std::string& damaged : {flipped, weights.substr(0, 1000), std::string()}) {
    test::spew(dir / "gguf/model.gguf", damaged);
    const nlohmann::json seen = mixnmatch({"inspect", file, "--json"}).json();
    EXPECT_TRUE(contains(seen["probe"]["files"].get<std::string>(), "NOT as exported"))
        << damaged.size();
    EXPECT_TRUE(seen["verified"].empty());
  }
  test::spew(dir / "gguf/model.gguf", weights);
  EXPECT_EQ(found.json()["as_exported"], true);
  auto config = nlohmann::json::parse(test::slurp(dir / "decilm/config.json"));
  config["rms_norm_eps"] = 0.5;
  test::spew(dir / "decilm/config.json", config.dump());
  EXPECT_EQ(mixnmatch({"inspect", blocks, "--json"}).json()["as_exported"], false);
  EXPECT_TRUE(contains(mixnmatch({"inspect", blocks}).out, "NOT as exported"));

  for (const char* wrong : {"{", "[1]", "[{}]", "{\"a\": 1}"}) {
    test::spew(dir / "gguf/verified.json", wrong);
    EXPECT_EQ(mixnmatch({"inspect", file}).status, 1) << wrong;
  }
}

TEST(ExportsPage, ShowsWhatWorks) {
  const std::string python = MNM_SOURCE_DIR "/.venv/bin/python";
  if (!test::python_has("transformers")) GTEST_SKIP() << test::kNoPython;
  const Result page = Running({python, MNM_SOURCE_DIR "/tests/end_to_end/exports_page.py"}).wait();
  EXPECT_EQ(page.status, 0) << page.out << page.err;
}

}  // namespace
}  // namespace mnm
