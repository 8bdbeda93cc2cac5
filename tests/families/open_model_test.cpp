#include "families/open_model.h"

#include <gtest/gtest.h>

#include <functional>

#include "tests/families/expect_error.h"
#include "tests/support/tiny_llama.h"

namespace mnm {
namespace {

using nlohmann::json;
using test::TempDir;
using test::TestTensor;
using test::TinyLlama;

TEST(OpenModel, OpensEveryVariant) {
  const TempDir dir;
  for (const TinyLlama& tiny : test::tiny_llamas()) {
    SCOPED_TRACE(tiny.name);
    const OpenedModel opened = open_model(tiny.write(dir / tiny.name));
    ASSERT_NE(opened.family, nullptr);
    EXPECT_EQ(opened.family->name(), "llama");
    EXPECT_EQ(opened.model.family, "llama");
    EXPECT_EQ(opened.checkpoint.shards().size(), tiny.shards);
    EXPECT_EQ(opened.checkpoint.tensors().size(), opened.model.table.tensors.size());
    EXPECT_EQ(opened.model.dtype, tiny.dtype);
  }
}

TEST(OpenModel, DtypeIsTheTensorsWhereTheConfigIsSilent) {
  const TempDir dir;
  for (const Dtype dtype : {Dtype::kF32, Dtype::kF16, Dtype::kBF16}) {
    TinyLlama tiny;
    tiny.dtype = dtype;
    json config = tiny.config();
    config.erase("dtype");
    config.erase("torch_dtype");
    std::vector<TestTensor> tensors = tiny.tensors();
    for (TestTensor& tensor : tensors) {  // norms in f32 are not what most are stored in
      if (tensor.shape.size() == 1) tensor.dtype = Dtype::kF32;
    }
    test::write_checkpoint(dir / "model", config, tensors);
    EXPECT_EQ(open_model(dir / "model").model.dtype, dtype) << to_string(dtype);
  }
}

// A dtype as other programs spell it, or left to the tensors; weights in double are read as f32.
TEST(OpenModel, DtypesAreSpelledInManyWays) {
  const TempDir dir;
  struct Case {
    std::string stated;
    Dtype stored, expected;
  };
  const Case cases[] = {{"auto", Dtype::kBF16, Dtype::kBF16},
                        {"auto", Dtype::kF64, Dtype::kF32},
                        {"torch.bfloat16", Dtype::kF32, Dtype::kBF16},
                        {"half", Dtype::kF32, Dtype::kF16},
                        {"float64", Dtype::kF64, Dtype::kF32}};
  for (const Case& c : cases) {
    TinyLlama tiny;
    json config = tiny.config();
    config.erase("dtype");
    config["torch_dtype"] = c.stated;
    std::vector<TestTensor> tensors = tiny.tensors();
    for (TestTensor& tensor : tensors) tensor.dtype = c.stored;
    test::write_checkpoint(dir / "model", config, tensors);
    EXPECT_EQ(open_model(dir / "model").model.dtype, c.expected) << c.stated;
  }
}

TEST(OpenModel, ATiedMatrixMayLieUnderTheHeadAlone) {
  const TempDir dir;
  TinyLlama tiny;
  tiny.tied = true;
  std::vector<TestTensor> tensors = tiny.tensors();
  for (TestTensor& tensor : tensors) {
    if (tensor.name == "model.embed_tokens.weight") tensor.name = "lm_head.weight";
  }
  test::write_checkpoint(dir / "model", tiny.config(), tensors);
  const OpenedModel opened = open_model(dir / "model");
  EXPECT_EQ(opened.checkpoint.at("model.embed_tokens.weight").name, "lm_head.weight");
}

TEST(OpenModel, TheFirstMambaIsNamed) {
  const TempDir dir;
  const json config = {
      {"d_model", 768}, {"n_layer", 24}, {"ssm_cfg", json::object()}, {"rms_norm", true}};
  test::expect_error<Error>([&] { describe_model(config, {}, "config.json"); },
                            "this may be the first Mamba");
  const std::vector<test::TestTensor> tensors = {
      {"backbone.layers.0.mixer.x_proj.weight", {1}, {0}}};
  test::write_checkpoint(dir / "model", config, tensors);
  test::expect_error<Error>([&] { open_model(dir / "model"); }, "are the first Mamba's");
}

TEST(OpenModel, GranularitiesReachTheModel) {
  const TempDir dir;
  TinyLlama tiny;
  tiny.granularities = {};
  tiny.write(dir / "model");
  EXPECT_EQ(open_model(dir / "model", {"1/4,1"}).model.space.uniform(0), (Widths{8, 8, 8}));
  test::expect_error<UsageError>([&] { open_model(dir / "model", {"64"}); }, "granularities '64'");
}

// A nested checkpoint whose tensors were cut by hand opens as what its config says.
TEST(OpenModel, OpensAMixedWidthDirectory) {
  const TempDir dir;
  const Widths widths = {4, 32, 7};
  for (const TinyLlama& tiny : test::tiny_llamas()) {
    if (tiny.layers != 3) continue;
    SCOPED_TRACE(tiny.name);
    const OpenedModel source = open_model(tiny.write(dir / tiny.name));
    const json config = source.family->huggingface_config(source.model, widths, tiny.dtype);
    const std::filesystem::path written = dir / (tiny.name + "_mixed");
    test::write_checkpoint(written, config, tiny.tensors_at(widths), 2);
    const OpenedModel opened = open_model(written);
    EXPECT_EQ(opened.family->name(), "llama");
    EXPECT_EQ(opened.model.space.full(), widths);

    test::write_checkpoint(written, config, tiny.tensors(), 2);
    test::expect_error<Error>([&] { open_model(written); }, "disagrees with its config.json");
  }
}

TEST(OpenModel, OldRotaryTablesAreIgnored) {
  const TempDir dir;
  const TinyLlama tiny;
  std::vector<TestTensor> tensors = tiny.tensors();
  for (int layer = 0; layer < tiny.layers; ++layer) {
    tensors.push_back(test::random_tensor(
        fmt::format("model.layers.{}.self_attn.rotary_emb.inv_freq", layer), {2}, 1));
  }
  test::write_checkpoint(dir / "model", tiny.config(), tensors);
  EXPECT_EQ(open_model(dir / "model").model.layers(), 3u);
}

// transformers shares the head with the embedding where a checkpoint stores both and they are
// equal.
TEST(OpenModel, AStoredCopyOfATiedHeadMustBeEqual) {
  const TempDir dir;
  TinyLlama tiny;
  tiny.tied = true;
  std::vector<TestTensor> tensors = tiny.tensors();
  TestTensor head = tensors.front();
  ASSERT_EQ(head.name, "model.embed_tokens.weight");
  head.name = "lm_head.weight";
  tensors.push_back(head);
  test::write_checkpoint(dir / "model", tiny.config(), tensors, 2);
  const OpenedModel opened = open_model(dir / "model");
  EXPECT_TRUE(opened.model.tied_head);
  EXPECT_EQ(opened.model.table.find("lm_head.weight"), nullptr);

  tensors.back().values.back() += 1;
  test::write_checkpoint(dir / "model", tiny.config(), tensors, 2);
  test::expect_error<Error>([&] { open_model(dir / "model"); }, "differ");
  tensors.back() = test::random_tensor("lm_head.weight", {2, 16}, 1);
  test::write_checkpoint(dir / "model", tiny.config(), tensors, 2);
  test::expect_error<Error>([&] { open_model(dir / "model"); }, "'lm_head.weight'");
}

// What a config says by itself is what it says of its checkpoint.
TEST(OpenModel, AConfigAloneDescribesItsModel) {
  const TempDir dir;
  for (const TinyLlama& tiny : test::tiny_llamas()) {
    SCOPED_TRACE(tiny.name);
    const OpenedModel opened = open_model(tiny.write(dir / tiny.name));
    const OpenedModel bare = without_weights(dir / tiny.name / "config.json", {});
    EXPECT_EQ(bare.model.family, opened.model.family);
    EXPECT_EQ(bare.model.dtype, opened.model.dtype);
    EXPECT_EQ(bare.checkpoint.tensors().size(), opened.checkpoint.tensors().size());
    for (const StoredTensor& tensor : bare.checkpoint.tensors()) {
      EXPECT_EQ(tensor.shape, opened.checkpoint.at(tensor.name).shape) << tensor.name;
      EXPECT_TRUE(tensor.data.empty());
    }
  }
}

TEST(OpenModel, ABareConfigIsOneWithoutAnythingLikeWeights) {
  const TempDir dir;
  test::spew(dir / "shape.json", TinyLlama{}.config().dump());
  EXPECT_EQ(bare_config(dir / "shape.json"), dir / "shape.json");
  EXPECT_EQ(bare_config(dir / "gone"), std::nullopt);
  EXPECT_EQ(bare_config(dir.path()), std::nullopt) << "no config.json";
  test::spew(dir / "config.json", TinyLlama{}.config().dump());
  test::spew(dir / "tokenizer.json", "{}");
  EXPECT_EQ(bare_config(dir.path()), dir / "config.json");
  for (const char* name : {"model.safetensors", "model.safetensors.index.json", "other.safetensors",
                           "pytorch_model.bin", "consolidated.pth"}) {
    test::spew(dir / name, "");
    EXPECT_EQ(bare_config(dir.path()), std::nullopt) << name;
    EXPECT_EQ(bare_config(dir / name).has_value(), std::string(name).ends_with(".json")) << name;
    std::filesystem::remove(dir / name);
  }
}

TEST(OpenModel, ControlCharactersInAConfigAreNamedAndNotRepeated) {
  for (const char* key : {"model_type", "hidden_act", "torch_dtype", "matformer_gate"}) {
    json config = TinyLlama{}.config();
    config[key] = "\x1b[2Jllama\n";
    try {
      describe_model(config, {}, "config.json");
      ADD_FAILURE() << key;
    } catch (const Error& error) {
      const std::string text = error.what();
      EXPECT_NE(text.find("u001b"), std::string::npos) << text;
      EXPECT_EQ(text.find_first_of("\x1b\n"), std::string::npos) << text;
    }
  }
}

TEST(OpenModel, TensorsThatDisagreeWithTheConfigAreRefusedByName) {
  using Tensors = std::vector<TestTensor>;
  const auto find = [](Tensors& tensors, std::string_view name) {
    return std::ranges::find(tensors, name, &TestTensor::name);
  };
  const struct {
    const char* name;
    std::function<void(json&, Tensors&)> edit;
    const char* part;
  } cases[] = {
      {"missing", [&](json&, Tensors& t) { t.erase(find(t, "model.layers.1.mlp.up_proj.weight")); },
       "'model.layers.1.mlp.up_proj.weight'"},
      {"extra",
       [&](json&, Tensors& t) {
         t.push_back(test::random_tensor("score.weight", {2, 16}, 1));
       },
       "'score.weight'"},
      {"a layer more", [&](json& c, Tensors&) { c["num_hidden_layers"] = 2; }, "'model.layers.2."},
      {"a layer less", [&](json& c, Tensors&) { c["num_hidden_layers"] = 4; }, "'model.layers.3."},
      {"head where it is tied", [&](json& c, Tensors&) { c["tie_word_embeddings"] = true; },
       "'lm_head.weight'"},
      {"biases promised", [&](json& c, Tensors&) { c["attention_bias"] = true; },
       "'model.layers.0.self_attn.q_proj.bias'"},
      {"transposed",
       [&](json&, Tensors& t) {
         std::ranges::reverse(find(t, "model.layers.2.mlp.down_proj.weight")->shape);
       },
       "'model.layers.2.mlp.down_proj.weight'"},
      {"narrower",
       [&](json& c, Tensors&) {
         c["intermediate_size"] = 16;
         c.erase("matformer_granularities");
       },
       "'model.layers.0.mlp.gate_proj.weight'"},
      {"another vocabulary", [&](json& c, Tensors&) { c["vocab_size"] = 51; },
       "'model.embed_tokens.weight'"},
      {"other heads", [&](json& c, Tensors&) { c["num_key_value_heads"] = 2; },
       "'model.layers.0.self_attn.k_proj.weight'"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    const TempDir dir;
    json config = TinyLlama{}.config();
    Tensors tensors = TinyLlama{}.tensors();
    c.edit(config, tensors);
    test::write_checkpoint(dir / "model", config, tensors);
    test::expect_error<Error>([&] { open_model(dir / "model"); }, c.part);
  }
}

TEST(OpenModel, ErrorsInTheConfigNameTheFile) {
  const TempDir dir;
  json config = TinyLlama{}.config();
  config["head_dim"] = 5;
  test::write_checkpoint(dir / "model", config, TinyLlama{}.tensors());
  test::expect_error<Error>([&] { open_model(dir / "model"); },
                            (dir / "model/config.json").string() + ": head_dim is 5");
  config["model_type"] = "gpt2";
  test::write_checkpoint(dir / "model", config, TinyLlama{}.tensors());
  test::expect_error<Error>([&] { open_model(dir / "model"); },
                            (dir / "model/config.json").string() + ": model_type is \"gpt2\"");
}

}  // namespace
}  // namespace mnm
