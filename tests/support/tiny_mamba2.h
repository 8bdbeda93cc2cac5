// Random tiny Mamba-2 checkpoints, in every variant that the family knows and in both layouts.
// Names and shapes are written down here from Hugging Face's Mamba2ForCausalLM and from mamba_ssm,
// not taken from the tensor table they are to judge.
#pragma once

#include <filesystem>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "model/dtype.h"
#include "tests/support/tensors.h"

namespace mnm::test {

struct TinyMamba2 {
  std::string name = "plain";  // of the variant, for messages
  std::uint32_t seed = 1;
  bool mamba_ssm = false;  // the layout; else Hugging Face's
  bool matmamba = false;   // mamba_ssm: ssm_cfg names no layer, heads have hidden / 32 channels
  int layers = 3;
  std::int64_t hidden = 16, head_dim = 4, expand = 2;
  std::int64_t state = 6, groups = 1, kernel = 4, chunk = 8;
  std::vector<int> granularities = {2, 4, 8, 16};  // empty: config.json states none
  std::int64_t vocab = 48;                         // rows of the embedding
  bool bias = false, conv_bias = true, tied = false;
  double low = 0, high = std::numeric_limits<double>::infinity();  // of time steps
  Dtype dtype = Dtype::kF32;
  std::size_t shards = 1;

  std::int64_t inner() const { return expand * hidden; }
  std::int64_t heads() const { return inner() / head_dim; }
  int full() const { return static_cast<int>(inner() / 2); }
  // Half a head; a whole one where that is no whole number of channels.
  int step() const { return static_cast<int>(head_dim % 2 == 0 ? head_dim / 2 : head_dim); }

  bool limited() const { return low > 0 || high < std::numeric_limits<double>::infinity(); }

  nlohmann::json config() const {
    nlohmann::json json;
    nlohmann::json limit = {low, {{"__float__", "Infinity"}}};
    if (high < std::numeric_limits<double>::infinity()) limit.back() = high;
    if (mamba_ssm) {
      json = {{"d_intermediate", 0},
              {"d_model", hidden},
              {"attn_cfg", nlohmann::json::object()},
              {"attn_layer_idx", nlohmann::json::array()},
              {"fused_add_norm", true},
              {"n_layer", layers},
              {"pad_vocab_size_multiple", 8},
              {"residual_in_fp32", true},
              {"rms_norm", true},
              {"ssm_cfg",
               {{"d_state", state},
                {"d_conv", kernel},
                {"expand", expand},
                {"ngroups", groups},
                {"chunk_size", chunk},
                {"bias", bias},
                {"conv_bias", conv_bias}}},
              {"tie_embeddings", tied},
              {"vocab_size", vocab - 5}};
      if (limited()) json["ssm_cfg"]["dt_limit"] = limit;
      if (!matmamba) {
        json["ssm_cfg"]["layer"] = "Mamba2";
        json["ssm_cfg"]["headdim"] = head_dim;
      }
    } else {
      json = {{"architectures", {"Mamba2ForCausalLM"}},
              {"chunk_size", chunk},
              {"conv_kernel", kernel},
              {"dtype", torch_name(dtype)},
              {"expand", expand},
              {"head_dim", head_dim},
              {"hidden_act", "silu"},
              {"hidden_size", hidden},
              {"layer_norm_epsilon", 1e-5},
              {"model_type", "mamba2"},
              {"n_groups", groups},
              {"num_heads", heads()},
              {"num_hidden_layers", layers},
              {"state_size", state},
              {"tie_word_embeddings", tied},
              {"time_step_limit", limit},
              {"use_bias", bias},
              {"use_conv_bias", conv_bias},
              {"vocab_size", vocab}};
    }
    if (!granularities.empty()) json["matformer_granularities"] = granularities;
    return json;
  }

  // Products have a spread that keeps activations near 1, norms and D lie around 1; time steps of
  // 0.05 to 2 and decays of 1 to 8 make states that forget within some tokens.
  std::vector<TestTensor> tensors() const {
    std::vector<TestTensor> all;
    const auto add = [&](std::string tensor, std::vector<std::int64_t> shape, float scale,
                         float centre) {
      const auto id = static_cast<std::uint32_t>(all.size());
      all.push_back(random_tensor(std::move(tensor), std::move(shape), seed * 1000 + id, scale,
                                  dtype, centre));
    };
    const std::int64_t mixed = inner() + 2 * groups * state;
    const std::int64_t projected = inner() + mixed + heads();
    add(mamba_ssm ? "backbone.embedding.weight" : "backbone.embeddings.weight", {vocab, hidden},
        0.5f, 0);
    for (int i = 0; i < layers; ++i) {
      const std::string layer = "backbone.layers." + std::to_string(i) + ".";
      const std::string mixer = layer + "mixer.";
      add(layer + "norm.weight", {hidden}, 0.3f, 1);
      add(mixer + "dt_bias", {heads()}, 1.5f, -1);
      add(mixer + "A_log", {heads()}, 1, 1);
      add(mixer + "D", {heads()}, 0.5f, 1);
      add(mixer + "in_proj.weight", {projected, hidden}, 0.4f, 0);
      if (bias) add(mixer + "in_proj.bias", {projected}, 0.2f, 0);
      add(mixer + "conv1d.weight", {mixed, 1, kernel}, 0.5f, 0);
      if (conv_bias) add(mixer + "conv1d.bias", {mixed}, 0.2f, 0);
      add(mixer + "norm.weight", {inner()}, 0.3f, 1);
      add(mixer + "out_proj.weight", {hidden, inner()}, 0.4f, 0);
      if (bias) add(mixer + "out_proj.bias", {hidden}, 0.2f, 0);
    }
    add("backbone.norm_f.weight", {hidden}, 0.3f, 1);
    if (!tied) add("lm_head.weight", {vocab, hidden}, 0.4f, 0);
    return all;
  }

  // The submodel's tensors under Hugging Face's names, cut one element at a time.
  std::vector<TestTensor> tensors_at(const std::vector<int>& widths) const {
    std::vector<TestTensor> all = tensors();
    for (TestTensor& t : all) {
      if (t.name == "backbone.embedding.weight") t.name = "backbone.embeddings.weight";
      const int layer = layer_of(t.name);
      if (layer < 0) continue;
      const std::int64_t kept = 2 * widths[static_cast<std::size_t>(layer)];
      const std::size_t dim = t.name.ends_with("out_proj.weight") ? 1 : 0;
      const std::int64_t length = t.shape[dim];
      std::int64_t inside = 1;  // elements per index of dim
      for (std::size_t d = dim + 1; d < t.shape.size(); ++d) inside *= t.shape[d];
      std::vector<float> values;
      std::int64_t count = 0;
      for (std::int64_t at = 0; at < length; ++at) count += keeps(t.name, at, kept) ? 1 : 0;
      for (std::size_t i = 0; i < t.values.size(); ++i) {
        const std::int64_t at = static_cast<std::int64_t>(i) / inside % length;
        if (keeps(t.name, at, kept)) values.push_back(t.values[i]);
      }
      t.values = std::move(values);
      t.shape[dim] = count;
    }
    return all;
  }

  // The checkpoint as a directory; returns it.
  std::filesystem::path write(const std::filesystem::path& directory) const {
    write_checkpoint(directory, config(), tensors(), shards);
    return directory;
  }

 private:
  static int layer_of(const std::string& tensor) {
    const std::string prefix = "backbone.layers.";
    return tensor.starts_with(prefix) ? std::stoi(tensor.substr(prefix.size())) : -1;
  }

  // Whether index `at` of the cut dimension is among those of `kept` inner channels.
  bool keeps(const std::string& tensor, std::int64_t at, std::int64_t kept) const {
    const std::int64_t b_and_c = 2 * groups * state;
    const auto part = [&](std::string_view end) { return tensor.ends_with(end); };
    if (part("in_proj.weight") || part("in_proj.bias")) {
      if (at < inner()) return at < kept;                     // z
      if (at < 2 * inner()) return at - inner() < kept;       // x
      if (at < 2 * inner() + b_and_c) return true;            // B, C
      return (at - 2 * inner() - b_and_c) * head_dim < kept;  // dt
    }
    if (part("conv1d.weight") || part("conv1d.bias")) return at < kept || at >= inner();
    if (part("dt_bias") || part("A_log") || part(".D")) return at * head_dim < kept;
    if (part("mixer.norm.weight") || part("out_proj.weight")) return at < kept;
    return true;
  }
};

// Every variant by itself, and together.
inline std::vector<TinyMamba2> tiny_mamba2s() {
  std::vector<TinyMamba2> all;
  const auto add = [&](std::string name) -> TinyMamba2& {
    TinyMamba2& tiny = all.emplace_back();
    tiny.name = std::move(name);
    tiny.seed = static_cast<std::uint32_t>(all.size());
    return tiny;
  };
  add("plain");
  add("tied").tied = true;
  add("bias").bias = true;
  add("no_conv_bias").conv_bias = false;
  add("conv_of_2").kernel = 2;
  add("wide_state").state = 24;
  add("one_channel_heads").head_dim = 1;
  all.back().granularities = {1, 3, 16};
  add("odd_heads").head_dim = 5;
  all.back().hidden = 20;
  all.back().granularities = {5, 15, 20};
  add("expand_1").expand = 1;
  all.back().granularities = {2, 4, 8};
  add("expand_3").expand = 3;
  all.back().granularities = {4, 24};
  add("groups").groups = 2;
  all.back().granularities = {};
  TinyMamba2& limited = add("limited");  // about a third of the time steps at either end
  limited.low = 0.15, limited.high = 0.5;
  add("limited_below").low = 0.3;
  add("limited_above").high = 0.3;
  all.back().mamba_ssm = true;
  add("mamba_ssm").mamba_ssm = true;
  TinyMamba2& authors = add("matmamba");
  authors.mamba_ssm = authors.matmamba = authors.tied = true;
  authors.hidden = 64;
  authors.head_dim = 2;
  authors.granularities = {};
  add("bf16").dtype = Dtype::kBF16;
  add("f16").dtype = Dtype::kF16;
  add("sharded").shards = 3;
  add("one_layer").layers = 1;
  add("one_granularity").granularities = {};
  TinyMamba2& most = add("everything");
  most.mamba_ssm = most.bias = most.tied = true;
  most.conv_bias = false;
  most.kernel = 3;
  most.dtype = Dtype::kBF16;
  most.shards = 4;
  return all;
}

}  // namespace mnm::test
