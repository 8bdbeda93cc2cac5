// Checkpoints as large as one likes.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "model/safetensors.h"
#include "tests/support/tiny_llama.h"

namespace mnm::test {

// A checkpoint of zeros that takes no disk, however large: a file of one hole behind its header.
inline void write_sparse(const TinyLlama& llama, const std::filesystem::path& directory) {
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

}  // namespace mnm::test
