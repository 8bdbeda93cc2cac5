#include <gtest/gtest.h>

#include <cfloat>
#include <cmath>
#include <functional>

#include "families/llama/config.h"
#include "tests/families/expect_error.h"
#include "tests/support/tiny_llama.h"

namespace mnm {
namespace {

using nlohmann::json;
using test::RopeSpelling;
using test::TinyLlama;

LlamaConfig parse(const json& config) { return parse_llama_config(config, {}); }

TEST(LlamaConfig, ReadsEveryVariant) {
  for (const TinyLlama& tiny : test::tiny_llamas()) {
    SCOPED_TRACE(tiny.name);
    const LlamaConfig config = parse(tiny.config());
    EXPECT_EQ(config.layers, tiny.layers);
    EXPECT_EQ(config.hidden_size, tiny.hidden);
    EXPECT_EQ(config.heads, tiny.heads);
    EXPECT_EQ(config.kv_heads, tiny.kv_heads);
    EXPECT_EQ(config.head_dim, tiny.head_size());
    EXPECT_EQ(config.vocab_size, tiny.vocab);
    EXPECT_EQ(config.max_position_embeddings, tiny.positions);
    EXPECT_EQ(config.rms_norm_eps, 1e-5);
    EXPECT_EQ(config.tied, tiny.tied);
    EXPECT_EQ(config.qkv_bias, tiny.attention_bias);
    EXPECT_EQ(config.o_bias, tiny.attention_bias);
    EXPECT_EQ(config.mlp_bias, tiny.mlp_bias);
    EXPECT_EQ(config.hidden_act, tiny.hidden_act);
    EXPECT_EQ(config.gate == GateVariant::kActOfProduct, tiny.act_of_product);
    EXPECT_EQ(config.rope_theta, tiny.rope_theta);
    EXPECT_EQ(config.rope_scaling, tiny.llama3
                                       ? std::optional(RopeScaling{RopeType::kLlama3, 4, 1, 4, 16})
                                       : std::nullopt);
    EXPECT_EQ(config.dtype, tiny.dtype);
    ASSERT_EQ(config.granularities.size(), static_cast<std::size_t>(tiny.layers));
    const std::vector<Width> expected =
        tiny.granularities.empty() ? std::vector<Width>{32} : tiny.granularities;
    for (const auto& layer : config.granularities) EXPECT_EQ(layer, expected);
  }
}

// transformers' LlamaConfig is the reference for what an absent or null key means.
TEST(LlamaConfig, AbsentAndNullKeysMeanWhatTransformersMeans) {
  json config = {{"hidden_size", 16},        {"intermediate_size", 32}, {"num_hidden_layers", 2},
                 {"num_attention_heads", 4}, {"vocab_size", 50},        {"model_type", "llama"}};
  for (const bool null : {false, true}) {
    SCOPED_TRACE(null);
    if (null) {
      for (const char* key : {"architectures",
                              "num_key_value_heads",
                              "head_dim",
                              "max_position_embeddings",
                              "rms_norm_eps",
                              "initializer_range",
                              "tie_word_embeddings",
                              "attention_bias",
                              "mlp_bias",
                              "hidden_act",
                              "matformer_gate",
                              "matformer_granularities",
                              "matformer_widths",
                              "rope_theta",
                              "rope_scaling",
                              "rope_parameters",
                              "dtype",
                              "torch_dtype",
                              "quantization_config",
                              "per_layer_config",
                              "partial_rotary_factor",
                              "original_max_position_embeddings"}) {
        config[key] = nullptr;
      }
    }
    const LlamaConfig parsed = parse(config);
    EXPECT_EQ(parsed.kv_heads, 4);
    EXPECT_EQ(parsed.head_dim, 4);
    EXPECT_EQ(parsed.max_position_embeddings, 2048);
    EXPECT_EQ(parsed.rms_norm_eps, 1e-6);
    EXPECT_EQ(parsed.initializer_range, 0.02);
    EXPECT_FALSE(parsed.tied || parsed.qkv_bias || parsed.o_bias || parsed.mlp_bias);
    EXPECT_EQ(parsed.activation, Activation::kSilu);
    EXPECT_EQ(parsed.gate, GateVariant::kActGateTimesUp);
    EXPECT_EQ(parsed.rope_theta, 10000);
    EXPECT_FALSE(parsed.rope_scaling.has_value());
    EXPECT_EQ(parsed.dtype, Dtype::kF32);
  }
}

TEST(LlamaConfig, ActivationsByEveryName) {
  const std::pair<const char*, Activation> names[] = {
      {"silu", Activation::kSilu},          {"swish", Activation::kSilu},
      {"gelu", Activation::kGelu},          {"gelu_new", Activation::kGeluTanh},
      {"gelu_fast", Activation::kGeluTanh}, {"gelu_pytorch_tanh", Activation::kGeluTanh},
      {"gelu_python", Activation::kGelu},   {"gelu_python_tanh", Activation::kGeluTanh},
      {"relu", Activation::kRelu},          {"gelu_accurate", Activation::kGeluTanh}};
  json config = TinyLlama{}.config();
  for (const auto& [name, activation] : names) {
    config["hidden_act"] = name;
    EXPECT_EQ(parse(config).activation, activation) << name;
  }
  for (const std::string name : {"gelu_10", "quick_gelu", "relu2", "mish"}) {
    config["hidden_act"] = name;
    test::expect_error<Error>([&] { parse(config); }, "hidden_act is '" + name + "'");
  }
}

TEST(LlamaConfig, RopeSpellingsThatAgreeAreOneSetting) {
  const json llama3 = {{"rope_type", "llama3"},
                       {"factor", 4},
                       {"low_freq_factor", 1},
                       {"high_freq_factor", 4},
                       {"original_max_position_embeddings", 16}};
  const struct {
    const char* name;
    std::function<void(json&)> edit;
  } edits[] = {
      {"theta thrice",
       [&](json& c) {
         c["rope_theta"] = 500;
         c["rope_parameters"] = c["rope_scaling"] = llama3;
         c["rope_parameters"]["rope_theta"] = c["rope_scaling"]["rope_theta"] = 500.0;
       }},
      {"type",
       [&](json& c) {
         c["rope_theta"] = 500;
         c["rope_scaling"] = llama3;
         c["rope_scaling"].erase("rope_type");
         c["rope_scaling"]["type"] = "llama3";
       }},
      {"original positions outside",
       [&](json& c) {
         c["rope_theta"] = 500;
         c["rope_scaling"] = llama3;
         c["rope_scaling"].erase("original_max_position_embeddings");
         c["original_max_position_embeddings"] = 16;
       }},
      {"original positions are all positions",
       [&](json& c) {
         c["rope_theta"] = 500;
         c["rope_scaling"] = llama3;
         c["rope_scaling"].erase("original_max_position_embeddings");
         c["max_position_embeddings"] = 16;
       }},
      {"empty beside full",
       [&](json& c) {
         c["rope_parameters"] = llama3;
         c["rope_parameters"]["rope_theta"] = 500;
         c["rope_scaling"] = json::object();
         c["partial_rotary_factor"] = 1.0;
       }},
  };
  for (const auto& edit : edits) {
    SCOPED_TRACE(edit.name);
    json config = TinyLlama{}.config();
    for (const char* key : {"rope_theta", "rope_scaling", "rope_parameters"}) config.erase(key);
    edit.edit(config);
    const LlamaConfig parsed = parse(config);
    EXPECT_EQ(parsed.rope_theta, 500);
    EXPECT_EQ(parsed.rope_scaling, (RopeScaling{RopeType::kLlama3, 4, 1, 4, 16}));
  }
}

// One key is changed in a sound config; the error must name it.
TEST(LlamaConfig, EveryBadValueIsRefusedByItsKey) {
  const struct {
    const char* key;
    const char* value;  // JSON; "absent" erases the key
    const char* part;
  } cases[] = {
      {"num_hidden_layers", "absent", "num_hidden_layers is missing"},
      {"num_hidden_layers", "null", "num_hidden_layers is missing"},
      {"num_hidden_layers", "0", "num_hidden_layers is 0"},
      {"num_hidden_layers", "65537", "num_hidden_layers is 65537"},
      {"num_hidden_layers", "\"3\"", "num_hidden_layers is \"3\""},
      {"num_hidden_layers", "3.0", "num_hidden_layers is 3.0"},
      {"hidden_size", "absent", "hidden_size is missing"},
      {"hidden_size", "-16", "hidden_size is -16"},
      {"hidden_size", "2147483648", "hidden_size is 2147483648"},
      {"hidden_size", "18446744073709551615", "hidden_size is 18446744073709551615"},
      {"hidden_size", "18", "hidden_size is 18, expected a multiple of num_attention_heads, 4"},
      {"num_attention_heads", "absent", "num_attention_heads is missing"},
      {"num_attention_heads", "[4]", "num_attention_heads is [4]"},
      {"num_key_value_heads", "0", "num_key_value_heads is 0"},
      {"num_key_value_heads", "3", "expected a multiple of num_key_value_heads, 3"},
      {"num_key_value_heads", "8", "expected a multiple of num_key_value_heads, 8"},
      {"head_dim", "0", "head_dim is 0"},
      {"head_dim", "5", "head_dim is 5, expected an even number"},
      {"head_dim", "1073741824", "head_dim is 1073741824 and num_attention_heads 4"},
      {"vocab_size", "absent", "vocab_size is missing"},
      {"vocab_size", "1e3", "vocab_size is 1000.0"},
      {"intermediate_size", "absent", "intermediate_size is missing"},
      {"intermediate_size", "[32, 32, 32]", "intermediate_size is [32,32,32]"},
      {"intermediate_size", "64", "matformer_granularities in layer 0"},
      {"max_position_embeddings", "0", "max_position_embeddings is 0"},
      {"rms_norm_eps", "0", "rms_norm_eps is 0"},
      {"rms_norm_eps", "-1e-5", "rms_norm_eps is -1e-05"},
      {"rms_norm_eps", "\"1e-5\"", "rms_norm_eps is \"1e-5\""},
      {"initializer_range", "0", "initializer_range is 0"},
      {"tie_word_embeddings", "1", "tie_word_embeddings is 1"},
      {"attention_bias", "\"no\"", "attention_bias is \"no\""},
      {"mlp_bias", "0", "mlp_bias is 0"},
      {"hidden_act", "\"quick_gelu\"", "hidden_act is 'quick_gelu', expected one of silu"},
      {"hidden_act", "1", "hidden_act is 1"},
      {"matformer_gate", "\"gate*up\"", "matformer_gate is 'gate*up'"},
      {"matformer_widths", "[32, 32]", "matformer_widths is [32,32], expected one width"},
      {"matformer_widths", "32", "matformer_widths is 32"},
      {"matformer_widths", "[32, 64, 32]", "matformer_widths holds 64"},
      {"matformer_widths", "[32, 0, 32]", "matformer_widths holds 0"},
      {"matformer_widths", "[16, 8, 4]", "matformer_widths has 16 as its widest"},
      {"matformer_widths", "[32, 8, 32]", "matformer_granularities in layer 1"},
      {"rope_theta", "0", "rope_theta is 0"},
      {"rope_theta", "\"1e4\"", "rope_theta is \"1e4\""},
      {"rope_theta", "500", "rope_theta is 500 but rope_parameters.rope_theta is 10000"},
      {"rope_parameters", "[1]", "rope_parameters is [1]"},
      {"rope_parameters", "{\"rope_type\": \"su\"}", "rope_parameters.rope_type is 'su'"},
      {"rope_parameters", "{\"rope_type\": 1}", "rope_parameters.rope_type is 1"},
      {"rope_parameters", "{\"rope_type\": \"default\", \"type\": \"llama3\"}",
       "rope_parameters.rope_type is 'default' but rope_parameters.type is 'llama3'"},
      {"rope_parameters", "{\"partial_rotary_factor\": 0.5}",
       "rope_parameters.partial_rotary_factor is 0.5"},
      {"rope_scaling", "{\"type\": \"ntk\", \"factor\": 2}", "rope_scaling.type is 'ntk'"},
      {"rope_scaling", "{\"rope_theta\": 7}", "rope_scaling.rope_theta is 7"},
      {"partial_rotary_factor", "0.5", "partial_rotary_factor is 0.5"},
      {"torch_dtype", "\"float16\"", "dtype is float32 but torch_dtype is float16"},
      {"dtype", "\"int8\"", "dtype is \"int8\""},
      {"dtype", "32", "dtype is 32"},
      {"architectures", "[\"LlamaForSequenceClassification\"]", "architectures is"},
      {"architectures", "[\"GraniteForCausalLM\"]",
       "whose model_type is 'granite' and not 'llama'"},
      {"residual_multiplier", "0.22",
       "residual_multiplier is 0.22, and a model of type 'llama' has"},
      {"architectures", "[]", "architectures is []"},
      {"architectures", "\"LlamaForCausalLM\"", "architectures is \"LlamaForCausalLM\""},
      {"quantization_config", "{\"bits\": 4}", "quantization_config is set"},
      {"per_layer_config", "{\"0\": {\"head_dim\": 8}}", "per_layer_config.0.head_dim is 8"},
  };
  const json sound = TinyLlama{}.config();
  parse(sound);
  for (const auto& c : cases) {
    SCOPED_TRACE(fmt::format("{}: {}", c.key, c.value));
    json config = sound;
    if (std::string(c.value) == "absent") {
      config.erase(c.key);
    } else {
      config[c.key] = json::parse(c.value);
    }
    test::expect_error<Error>([&] { parse(config); }, c.part);
  }
  for (const json& config : {json(), json::array(), json("llama"), json(3)}) {
    test::expect_error<Error>([&] { parse(config); }, "expected a JSON object");
  }
}

// Whatever lies under a key, the answer is a config or an Error: nothing else gets out.
TEST(LlamaConfig, AnyValueUnderAnyKeyIsReadOrRefused) {
  TinyLlama tiny;
  tiny.llama3 = true;
  json sound = tiny.config();
  for (const char* key :
       {"head_dim", "matformer_gate", "matformer_widths", "original_max_position_embeddings",
        "partial_rotary_factor", "quantization_config", "initializer_range"}) {
    sound[key] = nullptr;
  }
  const char* values[] = {"null",
                          "true",
                          "-1",
                          "0",
                          "1",
                          "1.5",
                          "1e308",
                          "18446744073709551615",
                          "\"x\"",
                          "\"\"",
                          "[]",
                          "[1]",
                          "[[]]",
                          "[[1]]",
                          "[null]",
                          "[[1], {}, \"\"]",
                          "{}",
                          "{\"a\": 1}",
                          "{\"rope_type\": {}}",
                          "{\"rope_theta\": []}",
                          "{\"type\": \"llama3\"}"};
  int refused = 0;
  const auto attempt = [&](const json& config) {
    try {
      parse(config);
    } catch (const Error&) {
      ++refused;
    }
  };
  for (const auto& [key, unused] : sound.items()) {
    for (const char* value : values) {
      SCOPED_TRACE(key + ": " + value);
      json config = sound;
      config[key] = json::parse(value);
      EXPECT_NO_THROW(attempt(config));
    }
  }
  for (const auto& [key, unused] : sound["rope_scaling"].items()) {
    for (const char* value : values) {
      json config = sound;
      config["rope_scaling"][key] = config["rope_parameters"][key] = json::parse(value);
      SCOPED_TRACE("rope_scaling." + key + ": " + value);
      EXPECT_NO_THROW(attempt(config));
    }
  }
  EXPECT_GT(refused, 300);  // of some 600
}

TEST(LlamaConfig, Llama3ScalingIsChecked) {
  const struct {
    const char* key;
    const char* value;
    const char* part;
  } cases[] = {
      {"factor", "null", "rope_scaling.factor is missing"},
      {"factor", "0.5", "rope_scaling.factor is 0.5, expected at least 1"},
      {"factor", "-4", "rope_scaling.factor is -4"},
      {"low_freq_factor", "null", "rope_scaling.low_freq_factor is missing"},
      {"low_freq_factor", "0", "rope_scaling.low_freq_factor is 0"},
      {"low_freq_factor", "4", "rope_scaling.high_freq_factor is 4, expected more"},
      {"high_freq_factor", "null", "rope_scaling.high_freq_factor is missing"},
      {"high_freq_factor", "0.5", "rope_scaling.high_freq_factor is 0.5, expected more"},
      {"original_max_position_embeddings", "0",
       "rope_scaling.original_max_position_embeddings is 0"},
      {"original_max_position_embeddings", "1.5",
       "rope_scaling.original_max_position_embeddings is 1.5"},
  };
  TinyLlama tiny;
  tiny.llama3 = true;
  tiny.spelling = RopeSpelling::kOld;
  for (const auto& c : cases) {
    SCOPED_TRACE(fmt::format("{}: {}", c.key, c.value));
    json config = tiny.config();
    config["rope_scaling"][c.key] = json::parse(c.value);
    test::expect_error<Error>([&] { parse(config); }, c.part);
  }

  tiny.spelling = RopeSpelling::kBoth;
  for (const char* key :
       {"factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"}) {
    json config = tiny.config();
    config["rope_scaling"][key] = 3;
    test::expect_error<Error>([&] { parse(config); }, "describe different scalings");
  }
  json config = tiny.config();
  config["rope_scaling"] = {{"rope_type", "default"}};
  test::expect_error<Error>([&] { parse(config); }, "describe different scalings");
  config = tiny.config();
  config["original_max_position_embeddings"] = 32;
  test::expect_error<Error>([&] { parse(config); }, "original_max_position_embeddings is 32");
}

TEST(LlamaConfig, SizesThatOverflowTogetherAreRefused) {
  json config = TinyLlama{}.config();
  config.erase("matformer_granularities");
  config["num_hidden_layers"] = 1024;
  config["hidden_size"] = config["intermediate_size"] = 2147483632;
  test::expect_error<Error>([&] { parse(config); }, "more than 2^53");
}

// The values are transformers 5.23's LlamaRotaryEmbedding.inv_freq. Every step is one correctly
// rounded f32 operation but the power, whose last bit may differ between libraries: that bit, grown
// by at most three further roundings.
TEST(LlamaConfig, RopeFrequenciesAreTransformersOwn) {
  const struct {
    double theta;
    std::int64_t head_dim;
    std::optional<RopeScaling> scaling;
    std::vector<float> expected;
  } cases[] = {
      {10000,
       16,
       std::nullopt,
       {1.f, 0.316227764f, 0.100000001f, 0.0316227786f, 0.00999999978f, 0.00316227786f,
        0.00100000005f, 0.000316227786f}},
      {500, 6, std::nullopt, {1.f, 0.125992104f, 0.0158740096f}},
      {500000,
       32,
       RopeScaling{RopeType::kLlama3, 32, 1, 4, 8192},
       {1.f, 0.440366626f, 0.193922758f, 0.0853971019f, 0.0376060307f, 0.0165604409f,
        0.00729266508f, 0.00321144611f, 0.000429556705f, 1.94616387e-05f, 8.57025589e-06f,
        3.77405445e-06f, 1.66196742e-06f, 7.31874934e-07f, 3.22293289e-07f, 1.41927202e-07f}},
      {10000,
       20,
       RopeScaling{RopeType::kLlama3, 4, 1.5, 5, 256},
       {1.f, 0.398107171f, 0.158489317f, 0.0302510355f, 0.0062797158f, 0.00249999994f,
        0.000995267648f, 0.000396223331f, 0.000157739327f, 6.27971749e-05f}},
      {10000, 2, std::nullopt, {1.f}},
      {10000,
       16,
       RopeScaling{RopeType::kYarn, 4, 1, 4, 64},
       {1.f, 0.237170815f, 0.049999997f, 0.00790569466f, 0.00249999994f, 0.000790569466f,
        0.000250000012f, 7.90569466e-05f}},
      {10000,
       16,
       RopeScaling{RopeType::kYarn, 4, 1, 4, 64, 32, 1, 1, false},
       {1.f, 0.198583528f, 0.0255952496f, 0.00790569466f, 0.00249999994f, 0.000790569466f,
        0.000250000012f, 7.90569466e-05f}},
      {10000,
       32,
       RopeScaling{RopeType::kYarn, 40, 1, 4, 4096, 32, 1, 1, false},
       {1.f, 0.562341332f, 0.316227764f, 0.177827939f, 0.100000001f, 0.0562341288f, 0.0277108587f,
        0.0127031431f, 0.00552406255f, 0.00219573081f, 0.000722638157f, 0.000118387645f,
        2.49999994e-05f, 1.40585325e-05f, 7.90569447e-06f, 4.44569832e-06f}},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(fmt::format("theta {} head_dim {}", c.theta, c.head_dim));
    LlamaConfig config;
    config.rope_theta = c.theta;
    config.head_dim = config.rotary_dim = c.head_dim;
    config.rope_scaling = c.scaling;
    const std::vector<float> frequencies = rope_inverse_frequencies(config);
    ASSERT_EQ(frequencies.size(), c.expected.size());
    for (std::size_t i = 0; i < frequencies.size(); ++i) {
      EXPECT_NEAR(frequencies[i], c.expected[i], 4 * FLT_EPSILON * c.expected[i]) << i;
    }
  }
}

// The factors are those of transformers 5.23's _compute_yarn_parameters.
TEST(LlamaConfig, YarnsMscaleMakesItsAttentionFactor) {
  const auto read = [](const json& more) {
    json config = TinyLlama{}.config();
    config.erase("rope_parameters");
    config["rope_scaling"] = {
        {"type", "yarn"}, {"factor", 40.0}, {"original_max_position_embeddings", 16}};
    config["rope_scaling"].update(more);
    return parse(config).rope_scaling.value();
  };
  const double usual = 0.1 * std::log(40.0) + 1;
  const std::pair<json, double> cases[] = {
      {{{"mscale", 0.707}, {"mscale_all_dim", 1.0}}, 0.9210423553163399},
      {{{"mscale", 1.0}, {"mscale_all_dim", 1}}, 1},
      {{{"mscale", 0.707}}, usual},
      {{{"mscale_all_dim", 0.707}}, usual},
      {{{"mscale", 1.0}, {"mscale_all_dim", 0.0}}, usual},
      {{{"mscale", 0.707}, {"mscale_all_dim", 1.0}, {"attention_factor", 1.25}}, 1.25},
  };
  for (const auto& [more, factor] : cases) {
    EXPECT_DOUBLE_EQ(read(more).attention_factor, factor) << more;
  }
  EXPECT_TRUE(read({{"truncate", true}}).truncates);
  EXPECT_FALSE(read({{"truncate", false}}).truncates);
  for (const json& value : {json(-1), json("1"), json(true)}) {
    test::expect_error<Error>([&] { read({{"mscale", value}}); }, "rope_scaling.mscale is ");
  }
  test::expect_error<Error>([&] { read({{"truncate", 1}}); }, "rope_scaling.truncate is 1");
}

// The key that transformers has for layers that differ: a sparse map from a layer's number.
TEST(LlamaConfig, WidthsPerLayerAreReadFromPerLayerConfig) {
  const auto widths_of = [](const json& per_layer, const json& usual) {
    json config = TinyLlama{}.config();  // 3 layers
    config.erase("matformer_granularities");
    config["per_layer_config"] = per_layer;
    config["intermediate_size"] = usual;
    std::vector<Width> widths;
    for (const auto& layer : parse_llama_config(config, {}).granularities) {
      widths.push_back(layer.back());
    }
    return widths;
  };
  const json eight = {{"intermediate_size", 8}}, wide = {{"intermediate_size", 48}};
  EXPECT_EQ(widths_of(json::object(), 32), (std::vector<Width>{32, 32, 32}));
  EXPECT_EQ(widths_of({{"1", eight}}, 32), (std::vector<Width>{32, 8, 32}));
  EXPECT_EQ(widths_of({{"0", wide}, {"2", eight}, {"1", nullptr}}, 32),
            (std::vector<Width>{48, 32, 8}));
  EXPECT_EQ(widths_of({{"0", wide}, {"2", eight}, {"1", eight}}, nullptr),
            (std::vector<Width>{48, 8, 8}));
  const struct {
    json per_layer, usual;
    const char* part;
  } refused[] = {
      {{{"3", eight}}, 32, "has the key '3', expected a layer's number from 0 to 2"},
      {{{"-1", eight}}, 32, "has the key '-1'"},
      {{{"1x", eight}}, 32, "has the key '1x'"},
      {{{"", eight}}, 32, "has the key ''"},
      {{{"1", 7}}, 32, "per_layer_config.1"},
      {{{"1", {{"intermediate_size", 0}}}}, 32, "per_layer_config.1.intermediate_size is 0"},
      {{{"1", {{"num_key_value_heads", 1}}}},
       32,
       "num_key_value_heads is 1, which is not computed"},
      {{{"1", {{"skip", {"mlp"}}}}}, 32, "skip is [\"mlp\"], which is not computed"},
      {{{"1", eight}}, nullptr, "intermediate_size is missing"},
      {json::array({1}), 32, "per_layer_config is [1]"},
  };
  for (const auto& c : refused) {
    test::expect_error<Error>([&] { widths_of(c.per_layer, c.usual); }, c.part);
  }
  json both = TinyLlama{}.config();
  both.erase("matformer_granularities");
  both["per_layer_config"] = {{"1", eight}};
  EXPECT_EQ(parse_llama_config(llama_config_with_layers(both, 1), {}).granularities.size(), 1u);
  test::expect_error<UsageError>([&] { llama_config_with_layers(both, 4); }, "3 layers");
  both["matformer_widths"] = {32, 8, 32};
  test::expect_error<Error>([&] { parse_llama_config(both, {}); }, "are both there");
}

TEST(LlamaConfig, LayersAreThoseTheConfigHasOrMoreOfTheSame) {
  const auto full_widths = [](const json& config) {
    std::vector<Width> widths;
    for (const auto& layer : parse_llama_config(config, {}).granularities) {
      widths.push_back(layer.back());
    }
    return widths;
  };
  const json alike = TinyLlama{}.config();
  for (const std::int64_t layers : {1, 3, 7}) {
    const LlamaConfig config = parse_llama_config(llama_config_with_layers(alike, layers), {});
    EXPECT_EQ(config.layers, layers);
    EXPECT_EQ(config.granularities[0], (std::vector<Width>{4, 8, 16, 32}));
  }
  json mixed = alike;
  mixed["matformer_widths"] = {8, 16, 32};
  mixed["matformer_granularities"] = {{4, 8}, {4, 16}, {32}};
  EXPECT_EQ(full_widths(llama_config_with_layers(mixed, 3)), (std::vector<Width>{8, 16, 32}));
  EXPECT_EQ(full_widths(llama_config_with_layers(mixed, 2)), (std::vector<Width>{8, 16}));
  test::expect_error<UsageError>([&] { llama_config_with_layers(mixed, 4); }, "3 layers");
}

}  // namespace
}  // namespace mnm
