// The whole export command stays small, whatever the checkpoint's size.
#include <string>

#include "model/safetensors.h"
#include "tests/end_to_end/workshop.h"

namespace mnm::test {
namespace {

constexpr long kResidentKib = 64 * 1024;  // the promise is 256 MiB

// 800 MB of zeros that take no disk: a file of one hole behind its header.
void write_sparse(const TinyLlama& llama, const std::filesystem::path& directory) {
  std::filesystem::create_directory(directory);
  spew(directory / "config.json", llama.config().dump());
  std::vector<TensorEntry> entries;
  const auto add = [&](const std::string& name, std::vector<std::int64_t> shape) {
    TensorEntry& entry = entries.emplace_back();
    entry.name = name;
    entry.dtype = llama.dtype;
    entry.shape = std::move(shape);
  };
  const std::int64_t d = llama.hidden;
  add("model.embed_tokens.weight", {llama.vocab, d});
  for (int i = 0; i < llama.layers; ++i) {
    const std::string layer = "model.layers." + std::to_string(i) + ".";
    for (const char* name : {"input_layernorm", "post_attention_layernorm"}) {
      add(layer + name + ".weight", {d});
    }
    for (const char* name : {"q", "k", "v", "o"}) {
      add(layer + "self_attn." + name + "_proj.weight", {d, d});
    }
    for (const char* name : {"gate", "up"}) {
      add(layer + "mlp." + name + "_proj.weight", {llama.full, d});
    }
    add(layer + "mlp.down_proj.weight", {d, llama.full});
  }
  add("model.norm.weight", {d});
  add("lm_head.weight", {llama.vocab, d});
  const std::string head = safetensors_head(entries, {});
  spew(directory / "model.safetensors", head);
  std::filesystem::resize_file(directory / "model.safetensors", head.size() + entries.back().end);
}

TEST_F(Workshop, ExportStaysSmallWhateverTheCheckpointsSize) {
  TinyLlama llama;
  llama.layers = 8;
  llama.hidden = 1024;
  llama.full = 16384;
  llama.granularities = {8192, 16384};
  llama.dtype = Dtype::kBF16;
  write_sparse(llama, dir_ / "large");
  const Result result = expect_done({"export", path("large"), "--widths", "8192", "--out",
                                     path("half"), "--no-check", "--db", path("half.db")});
  EXPECT_GT(std::filesystem::file_size(dir_ / "half/model.safetensors"), 400'000'000u);
  EXPECT_LT(result.max_resident_kib, kResidentKib);
  for (const char* dtype : {"bf16", "f16"}) {  // copied, converted
    const Result onnx = expect_done({"export", path("large"), "--format", "onnx", "--widths",
                                     "8192", "--dtype", dtype, "--out", path(dtype), "--no-check"});
    EXPECT_GT(std::filesystem::file_size(path(dtype) + "/model.onnx.data"), 400'000'000u);
    EXPECT_LT(onnx.max_resident_kib, kResidentKib) << dtype;
    std::filesystem::remove_all(path(dtype));
  }
}

}  // namespace
}  // namespace mnm::test
