#include <gtest/gtest.h>

#include <functional>

#include "families/family.h"
#include "families/mamba2/config.h"
#include "families/open_model.h"
#include "tests/families/expect_error.h"
#include "tests/support/tiny_mamba2.h"

namespace mnm {
namespace {

using nlohmann::json;
using test::TinyMamba2;

Mamba2Config parse(const json& config, const std::string& granularities = "") {
  return parse_mamba2_config(config, {granularities});
}

TinyMamba2 authors() {
  TinyMamba2 tiny;
  tiny.mamba_ssm = true;
  return tiny;
}

TEST(Mamba2Config, ReadsEveryVariantInBothLayouts) {
  for (const TinyMamba2& tiny : test::tiny_mamba2s()) {
    SCOPED_TRACE(tiny.name);
    const Mamba2Config config = parse(tiny.config());
    EXPECT_EQ(config.layers, tiny.layers);
    EXPECT_EQ(config.hidden_size, tiny.hidden);
    EXPECT_EQ(config.vocab_size, tiny.vocab);
    EXPECT_EQ(config.head_dim, tiny.head_dim);
    EXPECT_EQ(config.state_size, tiny.state);
    EXPECT_EQ(config.groups, tiny.groups);
    EXPECT_EQ(config.conv_kernel, tiny.kernel);
    EXPECT_EQ(config.chunk_size, tiny.chunk);
    EXPECT_EQ(config.bias, tiny.bias);
    EXPECT_EQ(config.conv_bias, tiny.conv_bias);
    EXPECT_EQ(config.tied, tiny.tied);
    EXPECT_EQ(config.norm_eps, 1e-5);
    EXPECT_TRUE(config.residual_in_fp32);
    EXPECT_EQ(config.time_step_limit.low, tiny.low);
    EXPECT_EQ(config.time_step_limit.high, tiny.high);
    EXPECT_EQ(config.step(), tiny.step());
    EXPECT_EQ(config.full_width(0), tiny.full());
    EXPECT_EQ(config.heads(tiny.full()), tiny.heads());
  }
}

// What MambaConfig and Mamba2 of mamba_ssm, and Mamba2Config of transformers, mean by absence.
TEST(Mamba2Config, AbsentAndNullKeysMeanWhatTheirLibrariesMean) {
  for (const bool null : {false, true}) {
    json config = {{"d_model", 768}, {"n_layer", 2}, {"d_intermediate", 0}};
    if (null) config["ssm_cfg"] = config["vocab_size"] = config["tie_embeddings"] = nullptr;
    const Mamba2Config theirs = parse(config);
    EXPECT_EQ(theirs.vocab_size, 50280);
    EXPECT_EQ(theirs.head_dim, 24);
    EXPECT_EQ(theirs.state_size, 128);
    EXPECT_EQ(theirs.groups, 1);
    EXPECT_EQ(theirs.conv_kernel, 4);
    EXPECT_EQ(theirs.chunk_size, 256);
    EXPECT_EQ(theirs.full_width(0), 768);  // expand is 2
    EXPECT_EQ(theirs.norm_eps, 1e-5);
    EXPECT_EQ(theirs.initializer_range, 0.02);
    EXPECT_EQ(theirs.time_step_min, 0.001);
    EXPECT_EQ(theirs.time_step_max, 0.1);
    EXPECT_EQ(theirs.time_step_floor, 1e-4);
    EXPECT_FALSE(theirs.time_step_limit.binds());
    EXPECT_TRUE(theirs.residual_in_fp32 && theirs.rescale_prenorm_residual);
    EXPECT_EQ(theirs.dtype, Dtype::kF32);
    EXPECT_TRUE(theirs.tied && theirs.conv_bias && !theirs.bias);
    EXPECT_EQ(theirs.granularities[1], (std::vector<Width>{96, 192, 384, 768}));
  }
  json stock = {{"d_model", 768}, {"n_layer", 2}, {"ssm_cfg", {{"layer", "Mamba2"}}}};
  EXPECT_EQ(parse(stock).head_dim, 64);
  EXPECT_EQ(parse(stock).granularities[0], (std::vector<Width>{768}));
  stock["pad_vocab_size_multiple"] = 16;
  EXPECT_EQ(parse(stock).vocab_size, 50288);
  EXPECT_EQ(parse(stock, "1/2,1").granularities[0], (std::vector<Width>{384, 768}));

  const Mamba2Config huggingface = parse({{"model_type", "mamba2"},
                                          {"hidden_size", 4096},
                                          {"num_hidden_layers", 1},
                                          {"vocab_size", 9}});
  EXPECT_EQ(huggingface.groups, 8);
  EXPECT_EQ(huggingface.head_dim, 64);
  EXPECT_EQ(huggingface.state_size, 128);
  EXPECT_EQ(huggingface.conv_kernel, 4);
  EXPECT_EQ(huggingface.chunk_size, 256);
  EXPECT_EQ(huggingface.norm_eps, 1e-5);
  EXPECT_EQ(huggingface.initializer_range, 0.1);
  EXPECT_EQ(huggingface.time_step_min, 0.001);
  EXPECT_EQ(huggingface.time_step_max, 0.1);
  EXPECT_EQ(huggingface.time_step_floor, 1e-4);
  EXPECT_FALSE(huggingface.time_step_limit.binds() || huggingface.rescale_prenorm_residual);
  EXPECT_TRUE(huggingface.residual_in_fp32 && huggingface.conv_bias && !huggingface.bias);
  EXPECT_EQ(huggingface.heads(huggingface.full_width(0)), 128);
  EXPECT_FALSE(huggingface.tied);
}

// As Python's json writes it, as transformers 5 does, and left out.
TEST(Mamba2Config, LimitsOfTimeStepsAreReadInEverySpelling) {
  json config = TinyMamba2{}.config();
  const auto limit = [&](json value) {
    config["time_step_limit"] = std::move(value);
    return parse(config).time_step_limit;
  };
  EXPECT_FALSE(limit(nullptr).binds());
  EXPECT_FALSE(limit({0, nullptr}).binds());
  EXPECT_FALSE(limit({0.0, {{"__float__", "Infinity"}}}).binds());
  EXPECT_TRUE(limit({0.25, nullptr}).binds_low());
  EXPECT_FALSE(limit({0.25, nullptr}).binds_high());
  EXPECT_EQ(limit({0, 0.5}).high, 0.5);
  EXPECT_EQ(limit({1, 1}).low, 1);
}

TEST(Mamba2Config, GranularitiesComeFromTheConfigTheUserOrMatMamba) {
  json config = {{"d_model", 64}, {"n_layer", 2}};
  EXPECT_EQ(parse(config, "1/4,1").granularities[0], (std::vector<Width>{16, 64}));
  config["matformer_granularities"] = {2, 64};
  EXPECT_EQ(parse(config).granularities[1], (std::vector<Width>{2, 64}));
  test::expect_error<UsageError>([&] { parse(config, "1/4,1"); }, "leave them out");
}

TEST(Mamba2Config, RefusesWhatIsNotComputedOrContradicts) {
  struct Case {
    bool mamba_ssm;
    std::function<void(json&)> change;
    const char* phrase;
  };
  const auto set = [](const char* pointer, json value) {
    return [=](json& config) { config[json::json_pointer(pointer)] = value; };
  };
  const Case cases[] = {
      {true, set("/d_intermediate", 64), "MLPs"},
      {true, set("/attn_layer_idx", {1}), "attention layers"},
      {true, set("/rms_norm", false), "LayerNorm"},
      {true, set("/ssm_cfg/layer", "Mamba1"), "expected Mamba2 or MatMamba2"},
      {true, set("/ssm_cfg/layer", 2), "ssm_cfg.layer is 2"},
      {true, set("/ssm_cfg/d_sate", 2), "ssm_cfg.d_sate is not a setting"},
      {true, set("/ssm_cfg/rmsnorm", false), "ssm_cfg.rmsnorm"},
      {true, set("/ssm_cfg/norm_before_gate", true), "after the gate"},
      {true, set("/ssm_cfg/D_has_hdim", true), "one number per head"},
      {true, set("/ssm_cfg/dt_limit", {0.1}), "ssm_cfg.dt_limit is [0.1], expected [low, high]"},
      {true, set("/ssm_cfg/d_ssm", 16), "an MLP in part"},
      {true, set("/ssm_cfg/headdim", 5), "expand * d_model is 32, expected a multiple"},
      {true, set("/ssm_cfg/headdim", 0), "ssm_cfg.headdim is 0"},
      {true, set("/ssm_cfg", {1, 2}), "expected an object"},
      {true, set("/d_model", 2147483647), "past 2147483647"},
      {true, set("/vocab_size", 2147483647), "takes past"},
      {true, set("/n_layer", 70000), "n_layer is 70000"},
      {false, set("/architectures", {"MambaForCausalLM"}), "expected Mamba2ForCausalLM"},
      {false, set("/hidden_act", "relu"), "expected silu"},
      {false, set("/quantization_config", {{"a", 1}}), "quantization_config"},
      {false, set("/time_step_limit", {nullptr, 8.0}), "time_step_limit is [null,8.0]"},
      {false, set("/time_step_limit", {-0.1, 8.0}), "time_step_limit"},
      {false, set("/time_step_limit", {0.2, 0.1}), "time_step_limit"},
      {false, set("/time_step_limit", {0.0, 0.0}), "time_step_limit"},
      {false, set("/time_step_limit", {0.1, "Infinity"}), "time_step_limit"},
      {false, set("/time_step_limit", {0.0, 1.0, 2.0}), "time_step_limit"},
      {false, set("/time_step_limit", 1), "time_step_limit"},
      {false, set("/num_heads", 7), "expected hidden_size * expand, 32"},
      {false, set("/num_heads", 2147483647), "past 2147483647"},
      {false, set("/n_groups", 3), "expected a multiple of n_groups, 3"},
      {true, set("/d_model", 536870912), "more than 2^53"},
      {false, set("/state_size", -1), "state_size is -1"},
      {false, set("/use_bias", "yes"), "use_bias is \"yes\""},
      {false, set("/layer_norm_epsilon", 0), "layer_norm_epsilon is 0"},
      {false, set("/time_step_min", 0.5), "time_step_max is 0.1"},
      {false, set("/matformer_granularities", {3, 16}), "multiples of half a head, 2"},
      {false, set("/matformer_granularities", {2, 8}), "expected the full width 16"},
      {false, set("/matformer_widths", {16, 8}), "expected one width for each of the 3 layers"},
      {false, set("/matformer_widths", {16, 8, 18}), "expected widths from 1 to"},
      {false, set("/matformer_widths", {4, 8, 8}), "as its widest"},
      {false, set("/dtype", "int8"), "dtype is"},
  };
  for (const Case& c : cases) {
    const TinyMamba2 tiny = c.mamba_ssm ? authors() : TinyMamba2{};
    json config = tiny.config();
    if (c.mamba_ssm) config["ssm_cfg"].erase("d_ssm");
    c.change(config);
    SCOPED_TRACE(c.phrase);
    test::expect_error<Error>([&] { parse(config); }, c.phrase);
  }
  test::expect_error<Error>(
      [] {
        json config = TinyMamba2{}.config();
        config.erase("matformer_granularities");
        config["matformer_widths"] = {16, 15, 16};
        parse(config);
      },
      "layer 1 has full width 15, expected a multiple of 2");
  test::expect_error<UsageError>(
      [] {
        parse({{"d_model", 64}, {"n_layer", 1}}, "1/64,1/3,1");
      },
      "no whole number");
  const json narrow = {{"d_model", 16}, {"n_layer", 1}, {"ssm_cfg", {{"layer", "MatMamba2"}}}};
  test::expect_error<Error>([&] { parse(narrow); }, "at least 32");
  TinyMamba2 groups;
  groups.groups = 2;
  test::expect_error<Error>([&] { parse(groups.config()); }, "a head's group moves with the width");
  groups.granularities = {};
  test::expect_error<UsageError>([&] { parse(groups.config(), "1/2,1"); }, "2 groups of B and C");
  TinyMamba2 odd;
  odd.hidden = odd.head_dim = 15;
  odd.expand = 1;
  odd.granularities = {};
  test::expect_error<Error>([&] { parse(odd.config()); }, "expected an even number");
}

TEST(Mamba2Config, KeepsTheFirstLayers) {
  TinyMamba2 tiny;
  for (const bool mamba_ssm : {false, true}) {
    tiny.mamba_ssm = mamba_ssm;
    EXPECT_EQ(parse(mamba2_config_with_layers(tiny.config(), 2)).layers, 2);
    EXPECT_EQ(parse(mamba2_config_with_layers(tiny.config(), 9)).layers, 9);
  }
  tiny.mamba_ssm = false;
  json mixed = tiny.config();
  mixed.erase("matformer_granularities");
  mixed["matformer_widths"] = {8, 4, 16};
  const json shorter = mamba2_config_with_layers(mixed, 2);
  EXPECT_EQ(shorter["num_heads"], 4);
  EXPECT_EQ(parse(shorter).granularities, (std::vector<std::vector<Width>>{{8}, {4}}));
  test::expect_error<UsageError>([&] { mamba2_config_with_layers(mixed, 4); }, "cannot be made up");
}

// From disk: the authors' name of the embedding, a head stored beside it, and what contradicts.
TEST(Mamba2Config, CheckpointsOpenInBothLayouts) {
  const test::TempDir dir;
  for (const TinyMamba2& tiny : test::tiny_mamba2s()) {
    SCOPED_TRACE(tiny.name);
    const OpenedModel opened = open_model(tiny.write(dir / tiny.name));
    EXPECT_EQ(opened.model.dtype, tiny.dtype);
    for (const TensorSpec& spec : opened.model.table.tensors) {
      EXPECT_EQ(opened.checkpoint.at(spec.name).shape, spec.shape);
    }
  }
  TinyMamba2 tiny = authors();
  tiny.tied = true;
  auto tensors = tiny.tensors();
  tensors.push_back(tensors.front());
  tensors.back().name = "lm_head.weight";  // torch.save keeps both names of a tied head
  test::write_checkpoint(dir / "copy", tiny.config(), tensors);
  EXPECT_NO_THROW(open_model(dir / "copy"));
  tensors.back().values[7] += 1;
  test::write_checkpoint(dir / "other", tiny.config(), tensors);
  test::expect_error<Error>([&] { open_model(dir / "other"); }, "both are there, and differ");
  tensors.back() = tensors.front();
  tensors.back().name = "backbone.embeddings.weight";
  test::write_checkpoint(dir / "twice", tiny.config(), tensors);
  test::expect_error<Error>([&] { open_model(dir / "twice"); }, "two names of one tensor");
  tensors.pop_back();
  tensors[2].shape.push_back(1);
  test::write_checkpoint(dir / "shape", tiny.config(), tensors);
  test::expect_error<Error>([&] { open_model(dir / "shape"); }, "is there with shape [8, 1]");
  std::filesystem::create_directories(dir / "pickled");
  test::spew(dir / "pickled/config.json", tiny.config().dump());
  test::spew(dir / "pickled/pytorch_model.bin", "PK");
  test::expect_error<Error>([&] { open_model(dir / "pickled"); }, "convert it with");
}

}  // namespace
}  // namespace mnm
