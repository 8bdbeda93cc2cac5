// Names, shapes and transforms as llama.cpp reads them: its src/models/mamba2.cpp.
#include "families/mamba2/gguf.h"

#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "families/mamba2/config.h"

namespace mnm {
namespace {

// Trained without positions; llama.cpp's own converter writes this for such models.
constexpr std::uint32_t kContextLength = 1u << 20;

GgufValue number(std::int64_t value) { return static_cast<std::uint32_t>(value); }

GgufTensor named(std::string name, std::vector<std::int64_t> shape = {}) {
  GgufTensor tensor;
  tensor.name = std::move(name);
  tensor.shape = std::move(shape);
  return tensor;
}

GgufTensor outside(const std::string& source) {
  if (source == "backbone.embeddings.weight") return named("token_embd.weight");
  if (source == "backbone.norm_f.weight") return named("output_norm.weight");
  if (source == "lm_head.weight") return named("output.weight");
  fail("the tensor {} has no name in gguf", source);
}

// `name` is the source's behind "backbone.layers.N.". The convolution is read element by element,
// in f32.
GgufTensor in_layer(const std::string& name, const Mamba2Config& config, Width width) {
  const std::int64_t inner = config.inner(width), heads = config.heads(width);
  if (name == "norm.weight") return named("attn_norm.weight");
  if (name == "mixer.in_proj.weight") return named("ssm_in.weight");
  if (name == "mixer.conv1d.weight") {
    GgufTensor tensor =
        named("ssm_conv1d.weight", {inner + 2 * config.group_state(), config.conv_kernel});
    tensor.f32 = true;
    return tensor;
  }
  if (name == "mixer.conv1d.bias") return named("ssm_conv1d.bias");
  if (name == "mixer.dt_bias") return named("ssm_dt.bias");
  if (name == "mixer.A_log") {
    GgufTensor tensor = named("ssm_a", {heads, 1});
    tensor.function = GgufFunction::kMinusExp;
    return tensor;
  }
  if (name == "mixer.D") return named("ssm_d", {heads, 1});
  if (name == "mixer.norm.weight") {
    return named("ssm_norm.weight", {config.groups, inner / config.groups});
  }
  if (name == "mixer.out_proj.weight") return named("ssm_out.weight");
  fail("the tensor {} of a layer has no name in gguf", name);
}

}  // namespace

GgufModel mamba2_gguf(const NestedModel& submodel) {
  const Mamba2Config config = parse_mamba2_config(submodel.config, {});
  const Widths widths = submodel.space.full();
  if (!is_uniform(widths)) {
    fail(
        "gguf cannot hold layers of different widths: llama.cpp's mamba2 has one inner size for "
        "all layers; choose equal widths, or format huggingface");
  }
  if (config.bias) {
    fail(
        "gguf cannot hold this model: its projections have biases, which llama.cpp's mamba2 lacks");
  }
  if (config.time_step_limit.binds()) {
    fail(
        "gguf cannot hold this model: it limits its time steps, which llama.cpp's mamba2 does not");
  }
  const Width width = widths.front();
  GgufModel gguf;
  gguf.architecture = "mamba2";
  const auto add = [&gguf](const char* key, GgufValue value) {
    gguf.fields.emplace_back(fmt::format("{}.{}", gguf.architecture, key), std::move(value));
  };
  add("vocab_size", number(config.vocab_size));
  add("context_length", kContextLength);
  add("embedding_length", number(config.hidden_size));
  add("feed_forward_length", number(0));
  add("attention.head_count", number(0));
  add("block_count", number(config.layers));
  add("attention.layer_norm_rms_epsilon", static_cast<float>(config.norm_eps));
  add("ssm.conv_kernel", number(config.conv_kernel));
  add("ssm.inner_size", number(config.inner(width)));
  add("ssm.state_size", number(config.state_size));
  add("ssm.time_step_rank", number(config.heads(width)));
  add("ssm.group_count", number(config.groups));

  for (const TensorSpec& spec : submodel.table.tensors) {
    GgufTensor tensor;
    if (spec.layer < 0) {
      tensor = outside(spec.name);
    } else {
      const std::string prefix = fmt::format("backbone.layers.{}.", spec.layer);
      tensor = in_layer(spec.name.substr(prefix.size()), config, width);
      tensor.name = fmt::format("blk.{}.{}", spec.layer, tensor.name);
      if (tensor.name.ends_with("ssm_conv1d.weight") && !config.conv_bias) {
        // llama.cpp adds one always.
        GgufTensor& bias =
            gguf.tensors.emplace_back(named(fmt::format("blk.{}.ssm_conv1d.bias", spec.layer)));
        bias.values.resize(static_cast<std::size_t>(tensor.shape.front()));
      }
    }
    tensor.source = spec.name;
    gguf.tensors.push_back(std::move(tensor));
  }
  return gguf;
}

}  // namespace mnm
