#include "export/own_files.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <string>

#include "tests/support/error_of.h"
#include "tests/support/temp_dir.h"

namespace mnm {
namespace {

namespace fs = std::filesystem;
using Files = std::map<std::string, std::string>;

const std::string kOurs = R"({"mixnmatch": {"widths": "8"}})";

std::string judged(const Files& files) {
  const test::TempDir dir;
  for (const auto& [name, bytes] : files) test::spew(dir / name, bytes);
  return why_not_ours(dir.path());
}

TEST(OwnFiles, ExportsAreOurs) {
  const Files all[] = {
      {{"config.json", kOurs}, {"model.safetensors", ""}},
      {{"config.json", kOurs},
       {"model-00001-of-00002.safetensors", ""},
       {"model-00002-of-00002.safetensors", ""},
       {"model.safetensors.index.json", ""},
       {"modeling_mixnmatch_llama.py", ""},
       {"probe.safetensors", ""},
       {"verified.json", ""},
       {"tokenizer.json", ""},
       {"generation_config.json", ""},
       {"LICENSE.txt", ""}},
      {{"model.gguf", "GGUF....mixnmatch.widths"}, {"LICENSE", ""}},
      {{"images.npy", ""},
       {"labels.npy", ""},
       {"classes.json", "[]"},
       {"names.json", "[]"},
       {"set.json", R"({"mixnmatch": {"image_set": 1}})"}},
      {{"model.onnx", std::string(20u << 20, 'x') + "mixnmatch.provenance"},
       {"model.onnx.data", ""},
       {"scorer.onnx", ""},
       {"genai_config.json", ""}},
      {{"probe.safetensors", "........{\"format\":\"mixnmatch-probe-2\"}"}, {"model.onnx", ""}}};
  for (const Files& files : all) EXPECT_EQ(judged(files), "");
}

TEST(OwnFiles, WhatSomebodyElseWroteIsNot) {
  struct Case {
    Files files;
    std::string phrase;
  };
  const Case cases[] = {
      {{{"thesis.tex", "three years"}}, "'thesis.tex'"},
      {{{"config.json", kOurs}, {"model.safetensors", ""}, {"notes.md", ""}}, "'notes.md'"},
      {{{"config.json", kOurs}, {"optimizer.pt", ""}}, "'optimizer.pt'"},
      {{{"config.json", kOurs}, {"results.db", ""}}, "'results.db'"},
      {{{"config.json", kOurs}, {"state.safetensors", ""}}, "'state.safetensors'"},
      // A checkpoint as it was downloaded, and names alone.
      {{{"config.json", R"({"model_type": "llama"})"}, {"model.safetensors", ""}}, "nothing in it"},
      {{{"config.json", "no JSON"}, {"model.safetensors", ""}}, "nothing in it"},
      {{{"model.gguf", "GGUF"}}, "nothing in it"},
      {{{"LICENSE", ""}}, "nothing in it"}};
  for (const Case& c : cases) EXPECT_TRUE(test::contains(judged(c.files), c.phrase)) << c.phrase;

  const test::TempDir dir;
  test::spew(dir / "config.json", kOurs);
  fs::create_symlink("/etc/passwd", dir / "model.safetensors");  // no export holds a link
  EXPECT_TRUE(test::contains(why_not_ours(dir.path()), "'model.safetensors'"));
}

}  // namespace
}  // namespace mnm
