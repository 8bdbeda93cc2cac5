// The architectures that are Llama's but for a few facts: siblings against each alone, whole
// against token by token, and all of it and every export against transformers, ONNX Runtime and the
// gguf package, in one Python process.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "export/gguf_writer.h"
#include "export/huggingface.h"
#include "export/onnx_writer.h"
#include "families/llama/architectures.h"
#include "families/llama/config.h"
#include "families/open_model.h"
#include "fold/fold.h"
#include "fold/layer_step.h"
#include "tests/families/expect_error.h"
#include "tests/support/python.h"
#include "tests/support/tiny_architectures.h"

namespace mnm {
namespace {

namespace fs = std::filesystem;
using test::TempDir;
using test::TestTensor;
using test::TinyArchitecture;

constexpr std::int64_t kTokens = 20;

// A model with its weights in a type: whole, in shared passes, by chunks.
class LoadedArchitecture {
 public:
  LoadedArchitecture(const NestedModel& model, const std::vector<TestTensor>& tensors,
                     at::ScalarType type)
      : model_(model) {
    for (const TestTensor& tensor : tensors) {
      weights_[tensor.name] = at::tensor(tensor.values).view(tensor.shape).to(type);
    }
    fold_ = make_fold({model_, [this](const std::string& name) { return weights_.at(name); }});
  }

  // [tokens, vocab] of a state of one sequence.
  at::Tensor logits(const State& state) {
    return fold_->logits(fold_->readout(state).flatten(0, 2)).to(at::kDouble);
  }
  at::Tensor whole(const at::Tensor& tokens, const Widths& widths) {
    return logits(step_layers(*fold_, fold_->embed({tokens}), widths));
  }
  // The same in one pass with two siblings in every layer.
  at::Tensor shared(const at::Tensor& tokens, const Widths& widths) {
    auto [state, givens] = fold_->embed({tokens});
    for (std::size_t layer = 0; layer < widths.size(); ++layer) {
      Children children;
      const Width full = model_.space.layers[layer].granularities.back();
      children.add(0, widths[layer]);
      if (widths[layer] != full) children.add(0, full);
      state = fold_->step(layer, givens, state, children);
      state.tensors.front() = state.tensors.front().narrow(0, 0, 1).contiguous();
    }
    return logits(state);
  }
  // In a sequence that is opened for all of the tokens, so that RoPE's frequencies are those of the
  // whole.
  at::Tensor by_chunks(const at::Tensor& tokens, const Widths& widths, std::int64_t chunk) {
    std::vector<LayerCache> caches(widths.size());
    for (LayerCache& cache : caches) cache.context = tokens.size(1);
    std::vector<at::Tensor> all;
    for (std::int64_t position = 0; position < tokens.size(1); position += chunk) {
      const std::int64_t count = std::min(chunk, tokens.size(1) - position);
      auto [state, givens] = fold_->embed({tokens.narrow(1, position, count)});
      for (std::size_t layer = 0; layer < widths.size(); ++layer) {
        state = extend_layer(*fold_, layer, givens, state, widths[layer], position, caches);
      }
      all.push_back(logits(state));
    }
    return at::cat(all);
  }

 private:
  const NestedModel& model_;
  std::map<std::string, at::Tensor> weights_;
  std::unique_ptr<Fold> fold_;
};

at::Tensor tokens_of(std::int64_t vocab) {
  return at::arange(kTokens, at::kLong).mul(7).remainder(vocab).view({1, kTokens});
}

double worst(const at::Tensor& a, const at::Tensor& b) {
  return (a - b).abs().max().item<double>() / b.abs().max().item<double>();
}

// As in llama_fold_test.cpp: the terms of all products on a path, each off by an epsilon.
double roundings(const LlamaConfig& config) {
  return static_cast<double>(config.layers + 1) *
         static_cast<double>(3 * config.hidden_size + config.head_dim + kTokens + config.q_size() +
                             config.full_width(0)) *
         std::max(1.0, config.embedding_multiplier);
}

void write_logits(const fs::path& file, const at::Tensor& logits) {
  const at::Tensor flat = logits.contiguous();
  const double* const data = flat.const_data_ptr<double>();
  test::spew(file, nlohmann::json(std::vector<double>(data, data + flat.numel())).dump());
}

// Every way to compute it; leaves f32's logits for the judge.
void check_fold(const OpenedModel& opened, const std::vector<TestTensor>& tensors,
                const Widths& widths, const fs::path& logits) {
  const at::Tensor tokens = tokens_of(opened.model.vocab_size);
  const LlamaConfig config = parse_llama_config(opened.model.config, {});
  LoadedArchitecture exact(opened.model, tensors, at::kDouble),
      single(opened.model, tensors, at::kFloat);
  const at::Tensor alone = exact.whole(tokens, widths);  // gradients are on
  const at::NoGradGuard no_grad;
  const double in_double = roundings(config) * 0x1p-53, in_float = roundings(config) * 0x1p-24;
  EXPECT_LE(worst(exact.shared(tokens, widths), alone), in_double);
  EXPECT_LE(worst(single.shared(tokens, widths), alone), in_float);
  for (const std::int64_t chunk : {1, 3, 19}) {
    EXPECT_LE(worst(exact.by_chunks(tokens, widths, chunk), alone), in_double) << chunk;
    EXPECT_LE(worst(single.by_chunks(tokens, widths, chunk), alone), in_float) << chunk;
  }
  write_logits(logits, single.whole(tokens, widths));
}

// Why the format has none of these widths; nothing where it was written.
std::string write_export(const OpenedModel& opened, const Widths& widths, const std::string& format,
                         const fs::path& place) {
  const NestedModel& model = opened.model;
  std::optional<FormatModel> stated;
  try {
    stated = opened.family->in_format(format, model, widths, Dtype::kF32);
  } catch (const Error& error) {
    return error.what();
  }
  const nlohmann::json config = opened.family->huggingface_config(model, widths, Dtype::kF32);
  std::unique_ptr<PlannedExport> plan;
  if (const auto* gguf = std::get_if<GgufModel>(&*stated)) {
    plan = plan_gguf(model, opened.checkpoint, widths, *gguf, config, {GgufType::kF32, {}});
  } else if (const auto* onnx = std::get_if<OnnxModel>(&*stated)) {
    plan = plan_onnx(model, opened.checkpoint, widths, *onnx, config, {Dtype::kF32, {}});
  } else {
    auto [json, texts, auto_class] = std::get<HuggingFaceTexts>(std::move(*stated));
    const bool bridged = !texts.empty();
    texts["config.json"] = json.dump();
    HuggingFaceOptions options;
    options.dtype = Dtype::kF32;
    plan = huggingface_export(
        plan_huggingface(model, opened.checkpoint, widths, std::move(texts), options), bridged);
  }
  fs::create_directories(place);
  plan->write(opened.checkpoint, place);
  plan->check_layout(place);
  const OpenedModel written = open_model(plan->reopen(place));  // as we read it again
  EXPECT_EQ(written.model.space.full(), kept_widths(widths));
  return "";
}

TEST(LlamaArchitectures, AreWhatOtherPeopleCompute) {
  const TempDir dir;
  at::set_num_threads(1);
  std::set<std::string> types;
  for (const TinyArchitecture& tiny : test::tiny_architectures()) {
    SCOPED_TRACE(tiny.name);
    const fs::path place = dir / "cases" / tiny.name;
    const OpenedModel opened = open_model(tiny.write(place / "full"), {.may_skip = "2"});
    types.insert(tiny.config["model_type"].get<std::string>());
    nlohmann::json facts;
    for (const auto& [name, widths] : {std::pair<std::string, Widths>("whole", {32, 32, 32, 32}),
                                       {"uniform", {16, 16, 16, 16}},
                                       {"mixed", {8, 32, 16, 7}},
                                       {"skipped", {16, 16, kSkip, 16}}}) {
      SCOPED_TRACE(name);
      fs::create_directories(place / name);
      facts[name]["widths"] = widths;
      if (name != "skipped") {
        check_fold(opened, tiny.tensors(), widths, place / name / "logits.json");
      }
      if (name == "whole") continue;
      for (const std::string format : {"huggingface", "onnx", "gguf"}) {
        facts[name][format] = write_export(opened, widths, format, place / name / format);
      }
    }
    test::spew(place / "case.json", facts.dump());
  }
  // Yi, InternLM2 and MiniCPM are the tests below.
  EXPECT_EQ(types.size() + 3, llama_architectures().size());

  if (!test::python_has("transformers")) GTEST_SKIP() << test::kNoPython;
  EXPECT_EQ(test::python_failure("families/architectures_check.py", {dir / "cases"}, dir), "");
}

// Yi's first release is not in transformers: it is Llama with other names.
TEST(LlamaArchitectures, YiIsLlamaByOtherNames) {
  const TempDir dir;
  const TinyArchitecture llama = test::tiny_architecture("llama", "Llama", "llama", {});
  TinyArchitecture yi = test::tiny_architecture("yi", "Yi", "Yi", {});
  std::vector<TestTensor> tensors = llama.tensors();
  for (TestTensor& tensor : tensors) {
    for (const auto& [ours, theirs] :
         {std::pair<std::string, std::string>("input_layernorm", "ln1"),
          {"post_attention_layernorm", "ln2"}}) {
      const std::size_t at = tensor.name.find(ours);
      if (at != std::string::npos) tensor.name.replace(at, ours.size(), theirs);
    }
  }
  test::write_checkpoint(dir / "yi", yi.config, tensors);
  const OpenedModel opened = open_model(dir / "yi");
  const OpenedModel same = open_model(llama.write(dir / "llama"));
  for (const TensorSpec& spec : same.model.table.tensors) {
    EXPECT_EQ(test::values_of(opened.checkpoint, opened.checkpoint.at(spec.name)),
              test::values_of(same.checkpoint, same.checkpoint.at(spec.name)))
        << spec.name;
  }
  EXPECT_EQ(opened.model.table.tensors.size(), same.model.table.tensors.size());
  const Widths widths = {16, 16, 16, 16};
  EXPECT_EQ(opened.family->huggingface_config(opened.model, widths, Dtype::kF32),
            same.family->huggingface_config(same.model, widths, Dtype::kF32));
}

// A Llama's tensors as InternLM2 has them: in one matrix, a head of k and of v after those of q
// that share them.
std::vector<TestTensor> as_internlm2(const std::vector<TestTensor>& llama) {
  constexpr std::int64_t kDim = 4, kGroups = 2, kShare = 2;
  const std::pair<std::string, std::string> names[] = {
      {"model.embed_tokens", "model.tok_embeddings"},
      {"lm_head", "output"},
      {"input_layernorm", "attention_norm"},
      {"post_attention_layernorm", "ffn_norm"},
      {"self_attn.o_proj", "attention.wo"},
      {"mlp.gate_proj", "feed_forward.w1"},
      {"mlp.up_proj", "feed_forward.w3"},
      {"mlp.down_proj", "feed_forward.w2"}};
  std::vector<TestTensor> all;
  for (std::size_t i = 0; i < llama.size(); ++i) {
    TestTensor tensor = llama[i];
    for (const auto& [ours, theirs] : names) {
      const std::size_t at = tensor.name.find(ours);
      if (at != std::string::npos) tensor.name.replace(at, ours.size(), theirs);
    }
    const std::size_t at = tensor.name.find("self_attn.q_proj");
    if (at != std::string::npos) {
      const auto other = [&](const char* part) {
        std::string name = llama[i].name;
        name.replace(at, 16, part);
        return std::ranges::find(llama, name, &TestTensor::name)->values;
      };
      const std::vector<float> q = tensor.values, k = other("self_attn.k_proj"),
                               v = other("self_attn.v_proj");
      const std::ptrdiff_t row = std::ssize(q) / (kDim * kGroups * kShare);
      tensor.name.replace(at, 16, "attention.wqkv");
      tensor.shape[0] = kDim * kGroups * (kShare + 2);
      tensor.values.clear();
      const auto append = [&](const std::vector<float>& from, std::ptrdiff_t head,
                              std::ptrdiff_t heads) {
        tensor.values.insert(tensor.values.end(), from.begin() + head * kDim * row,
                             from.begin() + (head + heads) * kDim * row);
      };
      for (std::ptrdiff_t group = 0; group < kGroups; ++group) {
        append(q, group * kShare, kShare);
        append(k, group, 1);
        append(v, group, 1);
      }
    }
    const bool in_it = tensor.name.find("k_proj") != std::string::npos ||
                       tensor.name.find("v_proj") != std::string::npos;
    if (!in_it) all.push_back(tensor);
  }
  return all;
}

TinyArchitecture tiny_internlm2(bool bias) {
  return test::tiny_architecture("internlm2", "InternLM2", "internlm2", {{"bias", bias}});
}

void expect_same_tensors(const OpenedModel& a, const OpenedModel& b) {
  ASSERT_EQ(a.model.table.tensors.size(), b.model.table.tensors.size());
  for (const TensorSpec& spec : b.model.table.tensors) {
    EXPECT_EQ(test::values_of(a.checkpoint, a.checkpoint.at(spec.name)),
              test::values_of(b.checkpoint, b.checkpoint.at(spec.name)))
        << spec.name;
  }
}

// InternLM2 is not in transformers: it is a Llama with other names and with its rows in another
// order. Its exports are that Llama's, byte for byte of every tensor.
TEST(LlamaArchitectures, InternLm2IsALlamaOfInterleavedRows) {
  const TempDir dir;
  for (const bool bias : {false, true}) {
    SCOPED_TRACE(bias);
    const fs::path place = dir / fmt::format("bias {}", bias);
    const TinyArchitecture llama =
        test::tiny_architecture("llama", "Llama", "llama", {{"attention_bias", bias}});
    test::write_checkpoint(place / "internlm2", tiny_internlm2(bias).config,
                           as_internlm2(llama.tensors()), 3);
    const OpenedModel opened = open_model(place / "internlm2");
    const OpenedModel same = open_model(llama.write(place / "llama"));
    expect_same_tensors(opened, same);
    const Widths widths = {8, 32, 16, 7};
    EXPECT_EQ(opened.family->huggingface_config(opened.model, widths, Dtype::kF32),
              same.family->huggingface_config(same.model, widths, Dtype::kF32));
    for (const std::string format : {"huggingface", "onnx", "gguf"}) {
      SCOPED_TRACE(format);
      EXPECT_EQ(write_export(opened, widths, format, place / format), "");
      EXPECT_EQ(write_export(same, widths, format, place / (format + " of llama")), "");
    }
    expect_same_tensors(open_model(place / "huggingface"),
                        open_model(place / "huggingface of llama"));
    EXPECT_EQ(test::slurp(place / "gguf/model.gguf"),
              test::slurp(place / "gguf of llama/model.gguf"));
  }
}

// What training writes: tensors with the names of the table, beside a config that they belong to.
TEST(LlamaArchitectures, TensorsOfTheTableHaveTheConfigOfTheirNames) {
  const TempDir dir;
  const TinyArchitecture llama = test::tiny_architecture("llama", "Llama", "llama", {});
  const TinyArchitecture yi = test::tiny_architecture("yi", "Yi", "Yi", {});
  for (const nlohmann::json& config : {tiny_internlm2(false).config, yi.config}) {
    const auto type = config["model_type"].get<std::string>();
    SCOPED_TRACE(type);
    const Family& family = family_of(config);
    const NestedModel model = family.describe(config, {});
    const nlohmann::json written = family.config_of_table(model);
    EXPECT_EQ(written["model_type"], "llama");
    EXPECT_EQ(written["architectures"], nlohmann::json({"LlamaForCausalLM"}));
    test::write_checkpoint(dir / type, written, llama.tensors());
    const OpenedModel opened = open_model(dir / type);
    EXPECT_EQ(opened.model.space.submodels(), model.space.submodels());
    expect_same_tensors(opened, open_model(llama.write(dir / (type + " as llama"))));
    EXPECT_EQ(family.config_of_table(opened.model), opened.model.config);
  }
}

TEST(LlamaArchitectures, InternLm2sMatrixIsThatOfItsConfig) {
  const TempDir dir;
  const std::vector<TestTensor> llama =
      test::tiny_architecture("llama", "Llama", "llama", {{"attention_bias", true}}).tensors();
  // Biases that are there and not said.
  test::write_checkpoint(dir / "said", tiny_internlm2(false).config, as_internlm2(llama));
  test::expect_error<Error>([&] { open_model(dir / "said"); }, "attention.wqkv.bias");
  for (const char* key : {"num_key_value_heads", "num_attention_heads"}) {
    nlohmann::json config = tiny_internlm2(true).config;
    config[key] = key[4] == 'k' ? 4 : 8;
    test::write_checkpoint(dir / key, config, as_internlm2(llama));
    test::expect_error<Error>([&] { open_model(dir / key); },
                              "attention.wqkv.weight' has the shape [32, 16], expected");
  }
  std::vector<TestTensor> both = as_internlm2(llama);
  both.push_back(llama[2]);
  test::write_checkpoint(dir / "both", tiny_internlm2(true).config, both);
  test::expect_error<Error>([&] { open_model(dir / "both"); }, "is there, and in the rows of");
}

// MiniCPM is not in transformers: it is a Llama some of whose tensors are scaled, here by powers of
// two, which round nothing.
TEST(LlamaArchitectures, MiniCpmIsALlamaOfScaledTensors) {
  const TempDir dir;
  at::set_num_threads(1);
  const at::NoGradGuard no_grad;
  const TinyArchitecture minicpm =
      test::tiny_architecture("minicpm", "MiniCPM", "minicpm",
                              {{"scale_emb", 16.0}, {"scale_depth", 1.0}, {"dim_model_base", 8}});
  const std::vector<TestTensor> tensors = minicpm.tensors();
  std::vector<TestTensor> scaled = tensors;
  for (TestTensor& tensor : scaled) {
    const bool out = tensor.name.ends_with("o_proj.weight") ||
                     tensor.name.ends_with("down_proj.weight") || tensor.name == "lm_head.weight";
    const float factor = tensor.name == "model.embed_tokens.weight" ? 16.0f : out ? 0.5f : 1.0f;
    for (float& value : tensor.values) value *= factor;
  }
  const TinyArchitecture llama = test::tiny_architecture("llama", "Llama", "llama", {});
  const OpenedModel opened = open_model(minicpm.write(dir / "minicpm"));
  test::write_checkpoint(dir / "llama", llama.config, scaled);
  const OpenedModel same = open_model(dir / "llama");
  const at::Tensor tokens = tokens_of(opened.model.vocab_size);
  const double bound = roundings(parse_llama_config(opened.model.config, {})) * 0x1p-53;
  for (const Widths& widths : {Widths{32, 32, 32, 32}, Widths{16, 16, 16, 16}}) {
    LoadedArchitecture ours(opened.model, tensors, at::kDouble),
        judge(same.model, scaled, at::kDouble);
    const at::Tensor expected = judge.whole(tokens, widths);
    EXPECT_LE(worst(ours.whole(tokens, widths), expected), bound);
    EXPECT_LE(worst(ours.by_chunks(tokens, widths, 3), expected), bound);
    EXPECT_LE(worst(ours.shared(tokens, widths), expected), bound);

    const fs::path place = dir / fmt::format("export {}", widths[0]);
    EXPECT_EQ(write_export(opened, widths, "huggingface", place), "");
    const OpenedModel written = open_model(place);
    EXPECT_EQ(written.model.config["architectures"], nlohmann::json({"GraniteForCausalLM"}));
    std::vector<TestTensor> stored;
    for (const TensorSpec& spec : written.model.table.tensors) {
      const StoredTensor& tensor = written.checkpoint.at(spec.name);
      stored.push_back({spec.name, tensor.shape, test::values_of(written.checkpoint, tensor)});
    }
    LoadedArchitecture granite(written.model, stored, at::kDouble);
    EXPECT_LE(worst(granite.whole(tokens, widths), expected), bound);
  }
  for (const char* format : {"onnx", "gguf"}) {
    EXPECT_EQ(write_export(opened, {16, 16, 16, 16}, format, dir / format), "") << format;
  }
}

TEST(LlamaArchitectures, OldSpellingsOfLlamaAreRead) {
  nlohmann::json config = test::tiny_architecture("old", "LLaMA", "llama", {}).config;
  const Family& family = family_of(config);
  const NestedModel model = family.describe(config, {});
  const nlohmann::json written = family.huggingface_config(model, {16, 16, 16, 16}, Dtype::kF32);
  EXPECT_EQ(written["architectures"], nlohmann::json({"LlamaForCausalLM"}));
}

// EXAONE's spelling of which layers have a window, beside which it lists them.
TEST(LlamaArchitectures, APatternMayBeLetters) {
  for (const auto& [pattern, every] :
       {std::pair<nlohmann::json, int>("LLG", 3), {"G", 1}, {2, 2}}) {
    const LlamaConfig config = parse_llama_config(
        test::tiny_architecture("letters", "Exaone4", "exaone4",
                                {{"sliding_window", 5}, {"sliding_window_pattern", pattern}})
            .config,
        {});
    for (int layer = 0; layer < 4; ++layer) {
      EXPECT_EQ(config.local[static_cast<std::size_t>(layer)], (layer + 1) % every != 0);
    }
  }
}

// As Phi-3 called it first.
TEST(LlamaArchitectures, LongropeIsReadByItsOldNames) {
  for (const char* name : {"su", "yarn", "longrope"}) {
    const nlohmann::json scaling = {
        {"type", name}, {"short_factor", {1, 1}}, {"long_factor", {1, 2}}};
    const TinyArchitecture tiny = test::tiny_architecture(
        "long", "Phi3", "phi3",
        {{"rope_scaling", scaling}, {"original_max_position_embeddings", 16}});
    const LlamaConfig config = parse_llama_config(tiny.config, {});
    ASSERT_TRUE(config.rope_scaling.has_value());
    EXPECT_EQ(config.rope_scaling->type, RopeType::kLongrope) << name;
    EXPECT_EQ(config.rope_scaling->factor, 4);
    EXPECT_DOUBLE_EQ(config.rope_scaling->attention_factor, std::sqrt(1.5));  // 1 + ln 4 / ln 16
  }
}

TEST(LlamaArchitectures, BadConfigsAreRefusedByTheirKeys) {
  const struct {
    const char *stem, *type, *key, *value, *part;
  } cases[] = {
      {"Mistral", "mistral", "sliding_window", "0", "sliding_window is 0, expected a whole"},
      {"Mistral", "mistral", "sliding_window", "\"a\"", "sliding_window is \"a\""},
      {"Mistral", "qwen2", "sliding_window", "4", "whose model_type is 'mistral' and not 'qwen2'"},
      {"Qwen2", "qwen2", "use_sliding_window", "1", "use_sliding_window is 1"},
      {"Qwen2", "qwen2", "layer_types", "[\"full_attention\"]", "one for each of the 4 layers"},
      {"Qwen2", "qwen2", "layer_types", "[1, 1, 1, 1]", "layer_types holds 1"},
      {"Qwen2", "qwen2", "layer_types",
       "[\"full_attention\", \"full_attention\", \"full_attention\", \"sliding_attention\"]",
       "but use_sliding_window is false"},
      {"SmolLM3", "smollm3", "no_rope_layers", "[1, 1, 2, 1]", "no_rope_layers holds 2"},
      {"SmolLM3", "smollm3", "no_rope_layers", "[1]", "for each of the 4 layers"},
      {"SmolLM3", "smollm3", "no_rope_layer_interval", "0", "no_rope_layer_interval is 0"},
      {"Granite", "granite", "logits_scaling", "0", "logits_scaling is 0"},
      {"Granite", "granite", "attention_multiplier", "\"x\"", "attention_multiplier is \"x\""},
      {"Qwen3", "qwen3", "head_dim", "5", "head_dim is 5, expected an even"},
      {"Llama", "llama", "rope_scaling", R"({"type": "linear"})", "rope_scaling.factor is missing"},
      {"Llama", "llama", "rope_scaling", R"({"type": "linear", "factor": 0.5})", "at least 1"},
      {"Llama", "llama", "rope_scaling", R"({"type": "su", "factor": 2})",
       "are default, llama3, linear, yarn, dynamic, longrope"},
      {"Llama", "llama", "rope_scaling", R"({"type": "dynamic"})",
       "rope_scaling.factor is missing"},
      {"Llama", "llama", "partial_rotary_factor", "0.5", "only whole heads are turned here"},
      {"Cwm", "cwm", "rope_theta", "500", "rope_parameters is missing"},
      {"Phi3", "phi3", "partial_rotary_factor", "0.3", "which makes 1 of a head's 4 elements"},
      {"Phi3", "phi3", "partial_rotary_factor", "1.5", "expected at most 1"},
      {"Phi3", "phi3", "rope_scaling", R"({"type": "linear", "factor": 2})",
       "are default, longrope"},
      {"Phi3", "phi3", "rope_scaling", R"({"type": "su", "short_factor": [1, 1]})",
       "rope_scaling.long_factor is missing, expected 2 numbers"},
      {"Phi3", "phi3", "rope_scaling",
       R"({"type": "su", "short_factor": [1], "long_factor": [1, 1]})",
       "rope_scaling.short_factor is [1], expected 2 numbers"},
      {"Phi3", "phi3", "rope_scaling",
       R"({"type": "su", "short_factor": [1, 0], "long_factor": [1, 1]})",
       "rope_scaling.short_factor holds 0"},
      {"Falcon", "falcon", "vocab_size", "50", "model_type is \"falcon\""},
      {"Gemma3", "gemma3_text", "attn_logit_softcapping", "50",
       "attn_logit_softcapping is 50, which Gemma3ForCausalLM does not compute"},
      {"Gemma3", "gemma3_text", "use_bidirectional_attention", "true", "only attention to earlier"},
      {"Gemma3", "gemma3_text", "sliding_window_pattern", "0", "sliding_window_pattern is 0"},
      {"Gemma3", "gemma3_text", "sliding_window_pattern", "\"GL\"", "L's and a G at their end"},
      {"Gemma3", "gemma3_text", "rope_parameters", R"({"rope_type": "default"})",
       "expected full_attention and sliding_attention"},
      {"Gemma3", "gemma3_text", "rope_parameters",
       R"({"sliding_attention": {"rope_type": "linear", "factor": 2}})",
       "rope_parameters.sliding_attention.rope_type is 'linear'"},
      {"Gemma3", "gemma3_text", "rope_parameters",
       R"({"full_attention": {"rope_type": "yarn", "factor": 2, "truncate": false}})",
       "full_attention.truncate is false, and Gemma3ForCausalLM passes over it"},
      {"Llama", "llama", "rope_parameters", R"({"full_attention": {}})",
       "expected one RoPE for all layers"},
      {"InternLM3", "internlm3", "qkv_bias", "true",
       "qkv_bias is true and bias is false: expected the same"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.part);
    nlohmann::json config = test::tiny_architecture("bad", c.stem, c.type, {}).config;
    config[c.key] = nlohmann::json::parse(c.value);
    test::expect_error<Error>([&] { family_of(config).describe(config, {}); }, c.part);
  }
}

// Of some architectures llama.cpp takes the heads of q together to be as wide as the model.
TEST(LlamaArchitectures, GgufHasHeadsThatLlamaCppLoads) {
  const TempDir dir;
  for (const LlamaArchitecture& row : llama_architectures()) {
    if (!row.gguf_square) continue;
    for (const int head_dim : {4, 8}) {  // of four heads and 16 elements
      const std::string name = fmt::format("{} {}", row.model_type, head_dim);
      const nlohmann::json window = row.local_rope ? nlohmann::json(5) : nlohmann::json();
      const TinyArchitecture tiny =
          test::tiny_architecture(name, std::string(row.stem), std::string(row.model_type),
                                  {{"head_dim", head_dim}, {"sliding_window", window}});
      const OpenedModel opened = open_model(tiny.write(dir / name));
      const std::string why =
          write_export(opened, {16, 16, 16, 16}, "gguf", dir / (name + " gguf"));
      if (head_dim == 4) {
        EXPECT_EQ(why, "") << name;
      } else {
        EXPECT_NE(why.find("hidden_size elements together, 16, and they have 32"),
                  std::string::npos)
            << name << ": " << why;
      }
    }
  }
}

// A bias or a norm that is there and not said, or said and not there.
TEST(LlamaArchitectures, TensorsAreThoseOfTheConfig) {
  const TempDir dir;
  for (const TinyArchitecture& tiny : test::tiny_architectures()) {
    SCOPED_TRACE(tiny.name);
    for (const bool more : {false, true}) {
      std::vector<TestTensor> tensors = tiny.tensors();
      const std::string odd =
          more ? "model.layers.1.self_attn.v_norm.weight" : tensors.at(tensors.size() / 2).name;
      if (more) tensors.push_back(test::random_tensor(odd, {4}, 1));
      if (!more) tensors.erase(tensors.begin() + static_cast<std::ptrdiff_t>(tensors.size() / 2));
      test::write_checkpoint(dir / (tiny.name + (more ? "+" : "-")), tiny.config, tensors);
      test::expect_error<Error>([&] { open_model(dir / (tiny.name + (more ? "+" : "-"))); }, odd);
    }
  }
}

}  // namespace
}  // namespace mnm
