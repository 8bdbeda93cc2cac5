// The config.json of a Mamba-2 language model, resolved and checked. Two layouts are read.
//
// Hugging Face's Mamba2Config (model_type "mamba2"), with our keys for nested models:
//   matformer_granularities  [96, 192, 384, 768], or one such list per layer
//   matformer_widths         the full width of every layer if they differ, or if no whole
//                            `expand` says it; the widest is num_heads * head_dim / 2
//   mixnmatch_may_skip       the layers that may be left out, [2, 3, 8] (families/may_skip.h)
//
// mamba_ssm's MambaConfig (no model_type; d_model, n_layer, ssm_cfg), which leaves most keys to
// defaults. A ssm_cfg without `layer` is MatMamba2, as MatMamba's authors write it. Then headdim is
// d_model / 32, and the granularities are d_model times 1/8, 1/4, 1/2 and 1. The authors trained
// these, and their config does not state them. `matformer_granularities` replaces them.
//
// Shapes (inner = 2 * width, heads = inner / head_dim, N = groups * state_size, K = conv_kernel):
//   in_proj [z inner | x inner | B N | C N | dt heads, hidden]   bias likewise
//   conv1d  [x inner | B N | C N, 1, K]                          bias likewise
//   dt_bias, A_log, D [heads]   norm [inner]   out_proj [hidden, inner], bias [hidden]
#pragma once

#include <cstdint>
#include <limits>
#include <nlohmann/json.hpp>
#include <string_view>
#include <vector>

#include "families/granularities.h"
#include "families/nesting.h"
#include "model/dtype.h"
#include "model/widths.h"

namespace mnm {

inline constexpr std::int64_t kInnerPerWidth = 2;  // inner channels (of z, x, out_proj) per width

// The range that time steps are clamped to after softplus. Without a limit it is [0, infinity].
struct TimeStepLimit {
  double low = 0, high = std::numeric_limits<double>::infinity();

  bool binds_low() const { return low > 0; }
  bool binds_high() const { return high < std::numeric_limits<double>::infinity(); }
  bool binds() const { return binds_low() || binds_high(); }
};

struct Mamba2Config {
  std::int64_t layers = 0;
  std::int64_t hidden_size = 0;
  std::int64_t vocab_size = 0;  // rows of the embedding, padding included
  std::int64_t head_dim = 0;
  std::int64_t state_size = 128;
  std::int64_t groups = 1;  // more than 1: full width only
  std::int64_t conv_kernel = 4;
  std::int64_t chunk_size = 256;  // of the chunked scan in other runtimes; does not change results
  bool bias = false;              // on in_proj and out_proj; out_proj's is never cut
  bool conv_bias = true;
  bool tied = false;                      // the head is the embedding
  bool residual_in_fp32 = true;           // the stream between layers, whatever the weights' dtype
  double norm_eps = 1e-5;                 // of every norm: the blocks', the gated ones, the last
  double initializer_range = 0.1;         // standard deviation of a fresh embedding
  bool rescale_prenorm_residual = false;  // fresh out_proj over the root of `layers`
  double time_step_min = 0.001, time_step_max = 0.1, time_step_floor = 1e-4;  // of fresh dt_bias
  TimeStepLimit time_step_limit;
  Dtype dtype = Dtype::kF32;
  // [layers], ascending; the last one is the full width.
  std::vector<std::vector<Width>> granularities;

  Width full_width(std::size_t layer) const { return granularities[layer].back(); }
  std::int64_t inner(Width width) const { return kInnerPerWidth * width; }
  std::int64_t heads(Width width) const { return inner(width) / head_dim; }
  std::int64_t group_state() const { return groups * state_size; }  // channels of B, and of C
  // All widths are multiples of it. It is half the channels of a head, so heads stay whole.
  Width step() const;
};

inline constexpr std::string_view kMamba2BridgeModelType = "mixnmatch_mamba2";

bool is_mamba_ssm_config(const nlohmann::json& config);  // the second layout
bool is_image_config(const nlohmann::json& config);      // mamba_ssm's layout of a model of images

// Error names a key that is absent, of another type, out of range, contradicts another, or asks for
// what is not computed here (attention layers, MLPs, LayerNorm, D per channel...). UsageError if
// the text of `granularities` is wrong.
Mamba2Config parse_mamba2_config(const nlohmann::json& config, const Nesting& nesting);

// The blocks of a model that has them in the second layout's keys and something else around them:
// layers, d_model, ssm_cfg, and our keys for widths. `outputs`: the model chooses among so many.
// Errors as parse_mamba2_config() has them; rms_norm is the caller's to read.
Mamba2Config parse_mamba_ssm_blocks(const nlohmann::json& json, const Nesting& nesting,
                                    std::int64_t outputs);

// Family::with_layers.
nlohmann::json mamba2_config_with_layers(const nlohmann::json& config, std::int64_t layers);

}  // namespace mnm
