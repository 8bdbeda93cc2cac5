#include "families/mamba2/table.h"

#include <fmt/format.h>

#include <algorithm>

namespace mnm {
namespace {

// Per token, inner channel and element of the state: the decay (1), the outer product of x and B
// and its sum into the state (2), the product with C (2).
constexpr double kScan = 5;
constexpr int kRows = 0, kColumns = 1;

void cut(TensorSpec& tensor, int dim, std::vector<Piece> pieces) {
  tensor.cut_dim = dim;
  tensor.pieces = std::move(pieces);
}

}  // namespace

// Initial values: MatMamba's, which are Mamba-2's (mamba_ssm/modules/mamba2.py).
void add_mamba2_mixer(const Mamba2Config& config, Mamba2Tensors& to) {
  const Width full = config.full_width(static_cast<std::size_t>(to.layer));
  const std::int64_t hidden = config.hidden_size, inner = config.inner(full),
                     heads = config.heads(full), group_state = config.group_state();
  const std::int64_t kernel = config.conv_kernel, mixed = inner + 2 * group_state;
  const Piece channels{.begin = 0, .fixed = 0, .num = kInnerPerWidth, .den = 1};
  const Piece per_head{.begin = 0, .fixed = 0, .num = kInnerPerWidth, .den = config.head_dim};
  const auto from = [](Piece piece, std::int64_t begin) {
    piece.begin = begin;
    return piece;
  };
  const auto whole = [](std::int64_t begin, std::int64_t length) {
    return Piece{.begin = begin, .fixed = length, .num = 0, .den = 1};
  };

  // [z | x | B C | dt]
  const std::vector<Piece> projected = {channels, from(channels, inner),
                                        whole(2 * inner, 2 * group_state),
                                        from(per_head, 2 * inner + 2 * group_state)};
  cut(to.product("mixer.in_proj.weight", {inner + mixed + heads, hidden}, hidden), kRows,
      projected);
  if (config.bias) {
    cut(to.add("mixer.in_proj.bias", {inner + mixed + heads}, Init::kZero), kRows, projected);
  }

  const std::vector<Piece> convolved = {channels, whole(inner, 2 * group_state)};
  cut(to.product("mixer.conv1d.weight", {mixed, 1, kernel}, kernel), kRows, convolved);
  if (config.conv_bias) {
    TensorSpec& bias = to.product("mixer.conv1d.bias", {mixed}, kernel);
    bias.flops_per_element = 0;
    cut(bias, kRows, convolved);
  }

  TensorSpec& dt = to.add("mixer.dt_bias", {heads}, Init::kInverseSoftplus);
  dt.init_low = std::max(config.time_step_min, config.time_step_floor);
  dt.init_high = std::max(config.time_step_max, config.time_step_floor);
  cut(dt, kRows, {per_head});
  TensorSpec& a_log = to.add("mixer.A_log", {heads}, Init::kLogOfUniform);
  a_log.init_low = 1;
  a_log.init_high = 16;
  cut(a_log, kRows, {per_head});
  cut(to.add("mixer.D", {heads}, Init::kOne), kRows, {per_head});

  cut(to.norm("mixer.norm.weight", inner, config.groups), kRows, {channels});
  TensorSpec& out = to.product("mixer.out_proj.weight", {hidden, inner}, inner);
  if (config.rescale_prenorm_residual) {
    out.init_high /= std::sqrt(static_cast<double>(config.layers));
    out.init_low = -out.init_high;
  }
  cut(out, kColumns, {channels});
  if (config.bias) to.add("mixer.out_proj.bias", {hidden}, Init::kZero);
}

LayerChoices mamba2_choices(const Mamba2Config& config, std::size_t layer) {
  LayerChoices choices;
  choices.granularities = config.granularities[layer];
  const Width full = config.full_width(layer);
  if (config.groups > 1) {
    choices.why_not = fmt::format(
        "B and C have {} groups, and which heads read a group moves with the width, so that only "
        "the whole layer is a model",
        config.groups);
    return choices;
  }
  choices.step = config.step();
  choices.why_not = fmt::format(
      "width m keeps 2m channels in whole heads of {}, so widths are multiples of {} up to {}",
      config.head_dim, choices.step, full);
  return choices;
}

// The state of the scan, and the convolution's last conv_kernel - 1 inputs.
LayerMixing mamba2_mixing(const Mamba2Config& config) {
  return {.flops_per_width =
              kScan * static_cast<double>(kInnerPerWidth) * static_cast<double>(config.state_size),
          .state_per_width = kInnerPerWidth * (config.state_size + config.conv_kernel - 1),
          .state_per_sequence = 2 * config.group_state() * (config.conv_kernel - 1),
          .flow_per_token = config.hidden_size};
}

}  // namespace mnm
