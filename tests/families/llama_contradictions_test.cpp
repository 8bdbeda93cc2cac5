// Configs of all Llama-shaped architectures that contradict their tensors: each is refused by a
// sentence that names what disagrees.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "families/llama/config.h"
#include "families/open_model.h"
#include "tests/families/expect_error.h"
#include "tests/support/temp_dir.h"
#include "tests/support/tensors.h"
#include "tests/support/tiny_architectures.h"

namespace mnm {
namespace {

using test::TestTensor;
using test::TinyArchitecture;

// Shapes by name, of the table that a config makes; nothing where the config is refused.
std::map<std::string, std::vector<std::int64_t>> table_of(const nlohmann::json& config) {
  std::map<std::string, std::vector<std::int64_t>> shapes;
  try {
    for (const TensorSpec& spec : family_of(config).describe(config, {}).table.tensors) {
      shapes[spec.name] = spec.shape;
    }
  } catch (const Error&) {
    shapes.clear();
  }
  return shapes;
}

// Every key from which a table follows, changed to a value that is sound by itself.
TEST(LlamaContradictions, AConfigOfOtherTensorsIsRefused) {
  const test::TempDir dir;
  const std::pair<const char*, nlohmann::json> changes[] = {{"hidden_size", 32},
                                                            {"intermediate_size", 40},
                                                            {"intermediate_size", 24},
                                                            {"num_attention_heads", 2},
                                                            {"num_key_value_heads", 1},
                                                            {"num_key_value_heads", 4},
                                                            {"head_dim", 8},
                                                            {"head_dim", 32},
                                                            {"vocab_size", 48},
                                                            {"vocab_size", 51},
                                                            {"num_hidden_layers", 3},
                                                            {"num_hidden_layers", 5},
                                                            {"attention_bias", true},
                                                            {"attention_bias", false},
                                                            {"mlp_bias", true},
                                                            {"tie_word_embeddings", false}};
  for (const TinyArchitecture& tiny : test::tiny_architectures()) {
    SCOPED_TRACE(tiny.name);
    tiny.write(dir / tiny.name);
    const auto tensors = table_of(tiny.config);
    int refused = 0;
    for (const auto& [key, value] : changes) {
      SCOPED_TRACE(fmt::format("{} {}", key, value.dump()));
      nlohmann::json config = tiny.config;
      config.erase("matformer_granularities");
      config[key] = value;
      const auto others = table_of(config);
      if (others == tensors) continue;  // the architecture does not read the key, or so it was
      test::spew(dir / tiny.name / "config.json", config.dump());
      test::expect_error<Error>([&] { open_model(dir / tiny.name); }, "");
      ++refused;
    }
    EXPECT_GE(refused, 8);  // sizes that every architecture reads
  }
}

TEST(LlamaContradictions, AWindowAsLongAsTheContextHidesNothing) {
  for (const auto& [stem, type] : {std::pair("Mistral", "mistral"), {"Gemma2", "gemma2"}}) {
    for (const std::int64_t window : {63, 64, 65, 4096}) {
      const TinyArchitecture tiny =
          test::tiny_architecture("window", stem, type, {{"sliding_window", window}});
      const LlamaConfig config = parse_llama_config(tiny.config, {});
      const bool hides = window < 64;  // max_position_embeddings
      EXPECT_EQ(config.windows[0], hides ? window : 0) << stem << " " << window;
    }
  }
}

TEST(LlamaContradictions, FusedMatricesHaveOneHeight) {
  const test::TempDir dir;
  const TinyArchitecture tiny = test::tiny_architecture("fused", "Phi3", "phi3", {});
  for (const std::string part : {"self_attn.qkv_proj", "mlp.gate_up_proj"}) {
    for (const std::int64_t more : {-1, 1}) {
      SCOPED_TRACE(fmt::format("{} {}", part, more));
      const std::string name = fmt::format("model.layers.2.{}.weight", part);
      std::vector<TestTensor> tensors = tiny.tensors();
      std::string expected;
      for (TestTensor& tensor : tensors) {
        if (tensor.name != name) continue;
        expected = fmt::format("[{}, {}]", tensor.shape[0], tensor.shape[1]);
        tensor = test::random_tensor(name, {tensor.shape[0] + more, tensor.shape[1]}, 3);
      }
      const std::filesystem::path place = dir / fmt::format("{}{}", part, more);
      test::write_checkpoint(place, tiny.config, tensors);
      test::expect_error<Error>([&] { open_model(place); }, name);
      test::expect_error<Error>([&] { open_model(place); }, expected);
    }
  }
}

}  // namespace
}  // namespace mnm
