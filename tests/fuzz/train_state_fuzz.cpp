#include <nlohmann/json.hpp>

#include "families/family.h"
#include "tests/fuzz/fuzz.h"
#include "train/state_file.h"

namespace {

// The model of tests/fuzz/seeds/train_state/sound.
mnm::NestedModel tiny() {
  const nlohmann::json config = {{"model_type", "llama"},
                                 {"architectures", {"LlamaForCausalLM"}},
                                 {"vocab_size", 3},
                                 {"hidden_size", 2},
                                 {"num_hidden_layers", 1},
                                 {"num_attention_heads", 1},
                                 {"num_key_value_heads", 1},
                                 {"head_dim", 2},
                                 {"intermediate_size", 2},
                                 {"hidden_act", "silu"},
                                 {"rms_norm_eps", 1e-5},
                                 {"max_position_embeddings", 4},
                                 {"tie_word_embeddings", true},
                                 {"dtype", "float32"},
                                 {"matformer_granularities", {1, 2}}};
  return mnm::family_of(config).describe(config, {});
}

}  // namespace

// The state of a training run. Of what is read every tensor has its shape's bytes within the file.
int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const mnm::fuzz::Scratch scratch;
  static const mnm::NestedModel model = tiny();
  const auto path = scratch.write("state.safetensors", mnm::fuzz::text_of(data, size));
  mnm::fuzz::expect_answer([&] {
    const mnm::StateFile state(model, {{"seed", "--seed", "1"}}, path);
    if (state.step() < 0 || state.tensors().size() != model.table.tensors.size()) std::abort();
    unsigned sum = 0;
    for (std::size_t i = 0; i < state.tensors().size(); ++i) {
      std::size_t bytes = sizeof(float);
      for (const std::int64_t extent : model.table.tensors[i].shape) {
        bytes *= static_cast<std::size_t>(extent);
      }
      const auto& [weight, first, second] = state.tensors()[i];
      for (const auto& part : {weight, first, second}) {
        if (part.size() != bytes) std::abort();
        for (const std::byte one : part) sum += std::to_integer<unsigned>(one);
      }
    }
    if (sum > 1u << 30) std::abort();  // no file is as long: each byte adds at most 255
  });
  return 0;
}
