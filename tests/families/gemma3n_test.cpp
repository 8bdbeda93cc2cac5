// Gemma 3n as data: the config in every spelling, what it refuses, the tensors of the released
// shapes, their costs, and the submodels that its authors have published.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include "base/json.h"
#include "export/huggingface.h"
#include "export/runtimes.h"
#include "families/family.h"
#include "families/gemma3n/config.h"
#include "families/open_model.h"
#include "model/cost.h"
#include "model/flops.h"
#include "model/shapes.h"
#include "model/slice_plan.h"
#include "tests/families/expect_error.h"
#include "tests/support/tiny_gemma3n.h"

namespace mnm {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using test::TempDir;

json released(const std::string& name) {
  return read_json(fs::path(MNM_SOURCE_DIR) / "data/shapes" / fmt::format("gemma3n-{}.json", name));
}

NestedModel describe(const json& config, const Nesting& nesting = {}) {
  return family_named("gemma3n").describe(config, nesting);
}

std::int64_t layer_embeddings(const NestedModel& model) {
  return element_count(
      model.table.find("model.language_model.embed_tokens_per_layer.weight")->shape);
}

// The two numbers that Google's own notebook prints for each.
TEST(Gemma3n, ReleasedShapesHaveTheirPublishedParameters) {
  const NestedModel e4b = describe(released("e4b")), e2b = describe(released("e2b"));
  const Cost large = cost_of(e4b, e4b.space.full()), small = cost_of(e2b, e2b.space.full());
  EXPECT_EQ(large.of(parse_cost_kind("effective")), 3'980'491'248);
  EXPECT_EQ(large.params, 6'866'696'688);
  EXPECT_EQ(small.non_embedding, 1'905'495'648);
  EXPECT_EQ(small.params, 4'456'156'768);
  EXPECT_EQ(layer_embeddings(e4b), 35 * 67'108'864LL);
  // E2B is E4B at half the width without layers 20 to 24: it costs the same, cache included.
  const Cost cut = cost_of(e4b, parse_widths("8192x20,-x5,8192x10", 35));
  EXPECT_EQ(cut.params, small.params);
  EXPECT_EQ(cut.non_embedding, small.non_embedding);
  EXPECT_EQ(cut.flops, small.flops);
  EXPECT_EQ(cut.kv_bytes, small.kv_bytes);
  EXPECT_EQ(cut.state_bytes, small.state_bytes);
}

TEST(Gemma3n, CostsFollowFromWindowsAndSharing) {
  const NestedModel e4b = describe(released("e4b")), e2b = describe(released("e2b"));
  const CostBasis at_1024 = {Dtype::kBF16, 1024};
  const Cost large = cost_of(e4b, e4b.space.full(), at_1024);
  const double head = 2.0 * 262400 * 2048;
  EXPECT_NEAR(static_cast<double>(large.flops) - head, 8.018e9, 0.001e9);
  EXPECT_NEAR(static_cast<double>(cost_of(e2b, e2b.space.full(), at_1024).flops) - head, 3.872e9,
              0.001e9);
  // Four layers keep all positions, 16 keep 512, and 15 read what others keep.
  EXPECT_EQ(large.kv_bytes, 4 * 2 * 2 * 256 * 2);
  EXPECT_EQ(large.state_bytes, 16 * 512 * 2 * 2 * 256 * 2);
  const Cost step = cost_of(e4b, parse_widths("16384x34,8192", 35));
  EXPECT_EQ(large.params - step.params, 50'331'648);
  // Each sibling's own work, 2.13 MFLOPs a token, and down in layers that clip.
  EXPECT_NEAR(e4b.mixing[20].flops_per_sibling, 2.13e6, 0.01e6);
  EXPECT_EQ(e4b.mixing[20].flops_per_sibling_width, 0);
  EXPECT_EQ(e4b.mixing[9].flops_per_sibling_width, 2 * 2048);
  EXPECT_EQ(e4b.mixing[17].flow_per_token, 4 * 2048);
  EXPECT_EQ(e4b.mixing[18].flow_per_token, 4 * 2048 + 2 * 512);
  EXPECT_EQ(e4b.mixing[34].flow_per_token, 4 * 2048 + 4 * 512);
}

TEST(Gemma3n, PublishedSubmodelsHaveWhatTheirAuthorsState) {
  const NestedModel e4b = describe(released("e4b"));
  const std::vector<NamedWidths> all = family_named("gemma3n").published(e4b);
  ASSERT_EQ(all.size(), 16u);
  std::set<Widths> distinct;
  for (const NamedWidths& named : all) {
    const auto counted = static_cast<double>(cost_of(e4b, named.widths).non_embedding) * 1e-9;
    EXPECT_NEAR(counted, named.billions, 0.02) << named.name;
    distinct.insert(named.widths);
  }
  EXPECT_EQ(distinct.size(), 16u);
  EXPECT_EQ(widths_of_set(all, "block").size(), 2 + 6u);
  EXPECT_EQ(widths_of_set(all, "layer").size(), 2 + 8u);
  EXPECT_TRUE(family_named("gemma3n").published(describe(released("e2b"))).empty());
  test::expect_error<UsageError>([] { widths_of_set({}, "published"); }, "Gemma 3n E4B");
}

TEST(Gemma3n, TheReleasedModelNestsWithoutSayingSo) {
  const NestedModel e4b = describe(released("e4b"));
  for (std::size_t layer = 0; layer < e4b.layers(); ++layer) {
    const LayerChoices& choices = e4b.space.layers[layer];
    EXPECT_EQ(choices.granularities, (std::vector<Width>{8192, 16384}));
    EXPECT_TRUE(choices.allows(1));
    EXPECT_EQ(choices.may_skip, layer >= 20 && layer <= 24) << layer;
  }
  const NestedModel e2b = describe(released("e2b"));
  EXPECT_EQ(e2b.space.submodels(), 1);
}

TEST(Gemma3n, ProducersStayAndTheRefusalSaysWhy) {
  const json e4b = released("e4b");
  for (const std::string producer : {"18", "19"}) {
    test::expect_error<UsageError>(
        [&] {
          describe(e4b, {"", producer});
        },
        fmt::format("layer {} always stays: layer 2", producer));
    Widths widths = describe(e4b).space.full();
    widths[static_cast<std::size_t>(std::stoi(producer))] = kSkip;
    const auto refusal = describe(e4b, {"", "0-17,20-34"}).space.refusal(widths);
    ASSERT_TRUE(refusal);
    EXPECT_NE(refusal->find("read its keys and values"), std::string::npos) << *refusal;
  }
  // Without sharing no layer is reserved.
  const json alone = test::tiny_gemma3n("", {{"num_kv_shared_layers", 0}}).config;
  EXPECT_EQ(describe(alone, {"", "0-6"}).space.choices(4).front(), kSkip);
}

TEST(Gemma3n, SkippedLayersTakeTheirColumnsAndRows) {
  const NestedModel e4b = describe(released("e4b"));
  const SlicePlan plan = plan_slices(e4b.table, parse_widths("8192x20,-x5,16384x10", 35));
  const TensorSlice* table = plan.find("model.language_model.embed_tokens_per_layer.weight");
  EXPECT_EQ(table->shape, (std::vector<std::int64_t>{262144, 30 * 256}));
  EXPECT_EQ(table->ranges, (std::vector<Range>{{0, 5120}, {6400, 8960}}));
  const TensorSlice* rows = plan.find("model.language_model.per_layer_model_projection.weight");
  EXPECT_EQ(rows->ranges, table->ranges);
  EXPECT_EQ(plan.find("model.language_model.layers.25.mlp.up_proj.weight")->name,
            "model.language_model.layers.20.mlp.up_proj.weight");
  EXPECT_EQ(plan.tensors.size(), 30 * 24 + 11u);
}

TEST(Gemma3n, EverySpellingOpensAsTheSameModel) {
  const TempDir dir;
  const test::TinyGemma3n tiny = test::tiny_gemma3n("base");
  const OpenedModel base = open_model(tiny.write(dir.path() / "base"));
  for (const std::string prefix : {"model.language_model.", "language_model.model."}) {
    std::vector<test::TestTensor> tensors = tiny.tensors();
    for (test::TestTensor& tensor : tensors) tensor.name.replace(0, 6, prefix);
    test::write_checkpoint(dir.path() / prefix, tiny.config, tensors);
    const OpenedModel opened = open_model(dir.path() / prefix);
    EXPECT_EQ(opened.checkpoint.at("model.norm.weight").name, prefix + "norm.weight");
    EXPECT_EQ(cost_of(opened.model, opened.model.space.full()).params,
              cost_of(base.model, base.model.space.full()).params);
  }
  // Consumers without the keys and values that nothing reads, which only the tensors say.
  json silent = test::tiny_gemma3n("bare", {{"mixnmatch_unused_kv", false}}).config;
  const std::vector<test::TestTensor> bare = test::TinyGemma3n{"bare", silent}.tensors();
  silent.erase("mixnmatch_unused_kv");
  test::write_checkpoint(dir.path() / "bare", silent, bare);
  const OpenedModel opened = open_model(dir.path() / "bare");
  EXPECT_EQ(opened.model.table.find("model.layers.6.self_attn.k_proj.weight"), nullptr);
  EXPECT_EQ(cost_of(base.model, base.model.space.full()).params -
                cost_of(opened.model, opened.model.space.full()).params,
            3 * (2 * 32 * 32 + 16));
}

TEST(Gemma3n, TowersAreCarriedAndATextModelIsCutOut) {
  const TempDir dir;
  const test::TinyGemma3n tiny = test::tiny_gemma3n_multimodal("full");
  std::vector<test::TestTensor> tensors = tiny.tensors();
  const Cost text = cost_of(describe(tiny.config), describe(tiny.config).space.full());
  tensors.insert(tensors.begin() + 3, test::random_tensor("model.vision_tower.timm_model.x.weight",
                                                          {5, 3}, 1, 1, Dtype::kF16));
  tensors.push_back(test::random_tensor("model.audio_tower.conformer.0.y.weight", {7}, 2));
  test::write_checkpoint(dir.path() / "full", tiny.config, tensors);
  const OpenedModel opened = open_model(dir.path() / "full");
  EXPECT_EQ(cost_of(opened.model, opened.model.space.full()).params, text.params);
  ASSERT_EQ(other_parts(*opened.family, opened.model, opened.checkpoint).size(), 2u);

  const OpenedModel alone = text_only(open_model(dir.path() / "full"));
  EXPECT_TRUE(other_parts(*alone.family, alone.model, alone.checkpoint).empty());
  EXPECT_EQ(alone.checkpoint.at("model.norm.weight").name, "model.language_model.norm.weight");
  EXPECT_EQ(cost_of(alone.model, alone.model.space.full()).params, text.params);
}

TEST(Gemma3n, ASubmodelsConfigSaysAllThatWidthsChange) {
  const NestedModel e4b = describe(released("e4b"));
  const Family& family = family_named("gemma3n");
  const json written =
      family.huggingface_config(e4b, parse_widths("8192x20,-x5,16384x10", 35), Dtype::kBF16);
  const json& text = written["text_config"];
  EXPECT_EQ(text["num_hidden_layers"], 30);
  EXPECT_EQ(text["num_kv_shared_layers"], 10);
  EXPECT_EQ(text["intermediate_size"].size(), 30u);
  EXPECT_EQ(text["layer_types"][24], "full_attention");
  EXPECT_TRUE(text["activation_sparsity_pattern"][29].is_number_float());
  EXPECT_EQ(text["altup_coef_clip"], 120.0);
  EXPECT_EQ(text["rope_local_base_freq"], 10000.0);
  EXPECT_EQ(text["rope_parameters"]["full_attention"]["rope_theta"], 1000000.0);
  // What is written describes the submodel, and says the same again.
  for (const test::TinyGemma3n& tiny : test::tiny_gemma3ns()) {
    const NestedModel model = describe(tiny.config);
    const NestedModel again = family.submodel(model, model.space.full(), Dtype::kF32);
    EXPECT_EQ(family.huggingface_config(again, again.space.full(), Dtype::kF32), again.config)
        << tiny.name;
    EXPECT_EQ(again.table.tensors.size(), model.table.tensors.size());
  }
}

// As transformers' convert_rope_params_to_dict.
TEST(Gemma3n, WhatRopeParametersDoNotSayIsOfTheOldKeys) {
  const std::string s = "sliding_attention", f = "full_attention";
  const json silent = {{"rope_type", "default"}};
  const json nine = {{"rope_type", "default"}, {"rope_theta", 9.0}};
  struct Case {
    json parameters;
    double full, sliding;
  };
  const Case cases[] = {
      {nullptr, 7, 3},
      {json::object(), 7, 3},
      {json::object({{f, silent}, {s, silent}}), 7, 3},
      {json::object({{f, silent}}), 7, 3},
      {json::object({{f, nine}, {s, nullptr}}), 9, 3},
      {json::object({{f, silent}, {s, nine}}), 7, 9},
      {json::object({{f, nine}, {s, nine}}), 9, 9},
      {nine, 7, 3},  // of no layer type: not read
  };
  for (const Case& c : cases) {
    json config = test::tiny_gemma3n_text();
    config["rope_theta"] = 7.0;
    config["rope_local_base_freq"] = 3.0;
    config["rope_parameters"] = c.parameters;
    const Gemma3nConfig read = parse_gemma3n_config(config, {});
    EXPECT_EQ(read.full_theta, c.full) << c.parameters;
    EXPECT_EQ(read.sliding_theta, c.sliding) << c.parameters;
  }
}

TEST(Gemma3n, RuntimesThatDoNotLoadTheModelSayWhy) {
  const auto refusal = [](const json& config, const std::string& runtime,
                          const std::string& may_skip) -> std::string {
    for (const RuntimeRule& rule :
         family_named("gemma3n").runtimes(describe(config, {"", may_skip}))) {
      if (rule.runtime == runtime) return rule.refusal;
    }
    return "not in the table";
  };
  const std::string s = "sliding_attention", f = "full_attention";
  const auto text = [](const json& more) { return test::tiny_gemma3n("", more).config; };
  const json multimodal = test::tiny_gemma3n_multimodal("").config;
  const json bare = {{"mixnmatch_unused_kv", false}};
  json bare_multimodal = multimodal;
  bare_multimodal["text_config"].update(bare);
  // All consumers slide, so the last layer with keys and values of its own is read by none.
  const json slides = text({{"layer_types", {s, s, f, s, f, s, s, s}}});
  struct Case {
    json config;
    std::string runtime, says, may_skip = "";
  };
  const Case cases[] = {
      {released("e4b"), "vLLM", ""},
      {released("e4b"), "mistral.rs", ""},
      {released("e4b"), "mlx-lm", ""},
      {released("e4b"), "LiteRT-LM", ".litertlm"},
      {text({}), "vLLM", ""},
      {text({{"altup_correct_scale", false}}), "vLLM", "altup_correct_scale"},
      {text({{"layer_types", {f, s, f, s, s, f, f, f}}, {"mixnmatch_may_skip", {1, 3}}}), "vLLM",
       "those of layer 2"},
      {slides, "vLLM", ""},
      {slides, "vLLM", "layer 4 may be left out", "4"},
      {text({{"num_kv_shared_layers", 0}}), "vLLM", "", "1"},
      {multimodal, "mistral.rs", ""},
      {text({}), "mistral.rs", "this is a text model"},
      {bare_multimodal, "mistral.rs", "layers from 5 on have none"},
      {text(bare), "mlx-lm", "layers from 5 on have none"},
      {text({{"mixnmatch_unused_kv", false}, {"num_kv_shared_layers", 0}}), "mlx-lm", ""},
  };
  for (const Case& c : cases) {
    const std::string said = refusal(c.config, c.runtime, c.may_skip);
    EXPECT_EQ(said.empty(), c.says.empty()) << c.runtime << ": " << said;
    EXPECT_NE(said.find(c.says), std::string::npos) << c.runtime << ": " << said;
  }
}

struct Lie {
  std::string key;
  json value;
  std::string says;
};

TEST(Gemma3n, EachLieOfAConfigIsRefusedByItsKey) {
  const std::string s = "sliding_attention", f = "full_attention";
  const Lie lies[] = {
      {"num_hidden_layers", 0, "num_hidden_layers is 0"},
      {"num_hidden_layers", 7, "expected one for each of the 7 layers"},
      {"num_hidden_layers", 100000, "1024"},
      {"intermediate_size", {96, 96}, "intermediate_size is [96,96]"},
      {"intermediate_size", -3, "intermediate_size is -3"},
      {"intermediate_size", {96, 96, 96, 96, 96, 96, 96, 1.5}, "intermediate_size holds 1.5"},
      {"layer_types", {s, s}, "layer_types is"},
      {"layer_types", {s, s, f, s, f, s, f, "other"}, "layer_types holds \"other\""},
      {"activation_sparsity_pattern", 0.95, "activation_sparsity_pattern is 0.95"},
      {"activation_sparsity_pattern", {0, 0, 0, 0, 0, 0, 0, 1}, "holds 1"},
      {"num_kv_shared_layers", 9, "num_kv_shared_layers is 9"},
      {"num_kv_shared_layers", -1, "num_kv_shared_layers is -1"},
      {"num_kv_shared_layers", 8, "none of the first 0 layers"},
      {"num_kv_shared_layers", 6, "none of the first 2 layers"},
      {"hidden_size", 34, "multiple of num_attention_heads"},
      {"num_key_value_heads", 3, "multiple of num_key_value_heads"},
      {"head_dim", 15, "even"},
      {"hidden_activation", "silu", "gelu_pytorch_tanh"},
      {"altup_active_idx", 4, "altup_active_idx is 4"},
      {"altup_num_inputs", 1000, "altup_num_inputs"},
      {"altup_coef_clip", "x", "altup_coef_clip is \"x\""},
      {"altup_coef_clip", 0, "altup_coef_clip is 0"},
      {"altup_coef_clip", -120.0, "altup_coef_clip is -120"},
      {"altup_coef_clip", nullptr, "altup_coef_clip is null"},
      {"final_logit_softcapping", 0, "final_logit_softcapping is 0"},
      {"final_logit_softcapping", nullptr, "final_logit_softcapping is null"},
      {"rms_norm_eps", nullptr, "rms_norm_eps is null"},
      {"hidden_size", nullptr, "hidden_size is null"},
      {"intermediate_size", nullptr, "intermediate_size is null"},
      {"rms_norm_eps", -1e-6, "rms_norm_eps"},
      {"sliding_window", 0, "sliding_window is 0"},
      {"vocab_size", "60", "vocab_size is \"60\""},
      {"model_type", "gemma3n_audio", "of no family"},
      {"rope_parameters", {{f, {{"rope_type", "yarn"}}}}, "rope_type is 'yarn'"},
      {"rope_parameters", {{f, {{"type", "linear"}, {"factor", 2.0}}}}, "type is 'linear'"},
      {"rope_parameters", {{f, {{"rope_type", "default"}, {"type", "linear"}}}}, "must agree"},
      {"rope_scaling", {{"rope_type", "linear"}, {"factor", 2.0}}, "rope_scaling is"},
      {"quantization_config", json::object({{"bits", 4}}), "quantization_config"},
      {"mixnmatch_may_skip", {3}, "layer 3 always stays"},
      {"architectures", {"Gemma3ForCausalLM"}, "architectures"},
      {"hidden_size_per_layer_input", 2147483647, "past"},
  };
  for (const Lie& lie : lies) {
    json config = test::tiny_gemma3n_text();
    config[lie.key] = lie.value;
    SCOPED_TRACE(lie.key + " " + lie.value.dump());
    test::expect_error<Error>([&] { describe_model(config, {}, "config.json"); }, lie.says);
  }
  // Each of the two classes of transformers reads one of the two keys.
  const json tied = test::tiny_gemma3n_multimodal("").config;
  json outer = tied, inner = tied, silent = tied, null = tied;
  outer["tie_word_embeddings"] = false;
  inner["text_config"]["tie_word_embeddings"] = false;
  silent["text_config"].erase("tie_word_embeddings");
  silent["tie_word_embeddings"] = false;
  null["tie_word_embeddings"] = nullptr;
  for (const json& config : {outer, inner, silent}) {
    test::expect_error<Error>([&] { describe(config); }, "text_config.tie_word_embeddings is");
  }
  test::expect_error<Error>([&] { describe(null); }, "tie_word_embeddings is null");
  inner["tie_word_embeddings"] = false;
  EXPECT_FALSE(parse_gemma3n_config(inner, {}).tied);
  json bare = test::tiny_gemma3n_multimodal("").config;
  bare["text_config"] = 3;
  test::expect_error<Error>([&] { describe(bare); }, "text_config is 3");
  bare.erase("text_config");
  test::expect_error<Error>([&] { describe(bare); }, "text_config is missing");
}

TEST(Gemma3n, TensorsThatContradictTheConfigAreRefused) {
  const TempDir dir;
  const test::TinyGemma3n tiny = test::tiny_gemma3n("base");
  const auto opening = [&](const std::function<void(std::vector<test::TestTensor>&)>& change,
                           const std::string& says) {
    std::vector<test::TestTensor> tensors = tiny.tensors();
    change(tensors);
    test::write_checkpoint(dir.path() / "case", tiny.config, tensors);
    test::expect_error<Error>([&] { open_model(dir.path() / "case"); }, says);
    fs::remove_all(dir.path() / "case");
  };
  // Tensors gone, and of another shape: those outside of layers, and some of every layer.
  const std::size_t count = tiny.tensors().size();
  for (std::size_t i = 0; i < count; i += i < 12 ? 1 : 7) {
    const std::string name = tiny.tensors()[i].name;
    opening([&](auto& tensors) { tensors.erase(tensors.begin() + static_cast<std::ptrdiff_t>(i)); },
            name.ends_with("k_proj.weight") && name > "model.layers.5" ? "k_" : name);
    opening([&](auto& tensors) { tensors[i] = test::random_tensor(name, {3, 3, 3}, 1); }, name);
  }
  opening([](auto& tensors) { tensors.push_back(test::random_tensor("model.more", {1}, 1)); },
          "model.more");
  opening(
      [](auto& tensors) {
        tensors.push_back(test::random_tensor("model.vision_tower.x", {1}, 1));  // of a text model
      },
      "model.vision_tower.x");
}

}  // namespace
}  // namespace mnm
