// Rotary positions: the types of frequencies that are read, as transformers' modeling_rope_utils.py
// has them. Two types take their frequencies from the length of the whole sequence. Scoring does
// so; a decoder takes the length that it was opened for.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "families/config_reader.h"

namespace mnm {

struct LlamaConfig;

enum class RopeType : std::uint8_t { kLlama3, kLinear, kYarn, kDynamic, kLongrope };  // not default
std::string_view to_string(RopeType type);  // "llama3", "linear", "yarn", "dynamic", "longrope"

// RoPE frequencies stretched for long contexts.
struct RopeScaling {
  RopeType type = RopeType::kLlama3;
  double factor = 1;
  double low_freq_factor = 1, high_freq_factor = 4;   // llama3
  std::int64_t original_max_position_embeddings = 0;  // all but linear
  double beta_fast = 32, beta_slow = 1;               // yarn
  double attention_factor = 1;                        // yarn, longrope: of cosines and sines
  bool truncates = true;                              // yarn: its ramp, to whole indices
  // longrope: what frequencies are divided by, [rotary_dim / 2], up to the original length and past
  // it.
  std::vector<double> short_factor = {}, long_factor = {};
  friend bool operator==(const RopeScaling&, const RopeScaling&) = default;
};

// Fills in rope_theta, local_theta, rope_scaling and rotary_dim, of a config whose sizes are there.
// Error names a key that is absent, out of range, spelled in two ways that disagree, or of a type
// that is not computed here.
void read_rope(const ConfigReader& keys, LlamaConfig& config);

// The attention_factor that the type has where the config states none.
double usual_attention_factor(const RopeScaling& scaling);

// Of sequences up to this length all frequencies are the same; 0: of all.
std::int64_t rope_stays_within(const LlamaConfig& config);

// [rotary_dim / 2], in f32 step by step as transformers computes them, scaling applied, for a
// sequence of that length (0: a short one); or those of local layers, if they have their own.
// Position p turns the pair (i, i + rotary_dim / 2) by p
// * frequencies[i]; cosines and sines of that are taken times RopeScaling::attention_factor.
std::vector<float> rope_inverse_frequencies(const LlamaConfig& config, std::int64_t length = 0,
                                            bool local = false);

}  // namespace mnm
