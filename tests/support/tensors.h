// Tensors in memory, and the safetensors files and checkpoint directories made of them.
#pragma once

#include <fmt/format.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <random>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "model/checkpoint.h"
#include "model/dtype.h"
#include "model/safetensors.h"
#include "tests/support/temp_dir.h"

namespace mnm::test {

struct TestTensor {
  std::string name;
  std::vector<std::int64_t> shape;
  std::vector<float> values;  // row-major
  Dtype dtype = Dtype::kF32;  // in which it is written

  std::size_t elements() const { return values.size(); }
};

inline std::size_t elements_of(const std::vector<std::int64_t>& shape) {
  std::size_t n = 1;
  for (std::int64_t size : shape) n *= static_cast<std::size_t>(size);
  return n;
}

// Values uniform in centre +- scale from `seed`, already rounded to `dtype`: what a reader of the
// file gets back is exactly `values`.
inline TestTensor random_tensor(std::string name, std::vector<std::int64_t> shape,
                                std::uint32_t seed, float scale = 1.0f, Dtype dtype = Dtype::kF32,
                                float centre = 0) {
  TestTensor t{std::move(name), std::move(shape), {}, dtype};
  t.values.resize(elements_of(t.shape));
  std::mt19937 random(seed);
  for (float& v : t.values) {
    v = scale * (static_cast<float>(random() >> 8) / 8388608.0f - 1.0f) + centre;
    if (dtype == Dtype::kBF16) v = bf16_to_f32(f32_to_bf16(v));
    if (dtype == Dtype::kF16) v = f16_to_f32(f32_to_f16(v));
  }
  return t;
}

// The values of a tensor, read as the checkpoint gives them.
inline std::vector<float> values_of(const Checkpoint& checkpoint, const StoredTensor& tensor) {
  std::vector<std::byte> bytes(tensor.bytes());
  checkpoint.read(tensor, 0, bytes);
  std::vector<float> values(static_cast<std::size_t>(tensor.elements()));
  to_f32(bytes, tensor.dtype, values);
  return values;
}

// The bytes of a safetensors file of `tensors` in the given order.
inline std::string safetensors_bytes(std::span<const TestTensor> tensors,
                                     const std::map<std::string, std::string>& metadata = {}) {
  std::vector<TensorEntry> entries;
  for (const TestTensor& t : tensors) {
    TensorEntry entry;
    entry.name = t.name;
    entry.dtype = t.dtype;
    entry.shape = t.shape;
    entries.push_back(std::move(entry));
  }
  std::string bytes = safetensors_head(entries, metadata);
  for (const TestTensor& t : tensors) {
    std::vector<std::byte> data(t.elements() * size_of(t.dtype));
    from_f32(t.values, t.dtype, data);
    bytes.append(reinterpret_cast<const char*>(data.data()), data.size());
  }
  return bytes;
}

inline void write_safetensors(const std::filesystem::path& path,
                              std::span<const TestTensor> tensors,
                              const std::map<std::string, std::string>& metadata = {}) {
  spew(path, safetensors_bytes(tensors, metadata));
}

// A checkpoint directory: config.json, and the tensors dealt in order over `shards` files of about
// equally many (model.safetensors alone, or model-0000i-of-0000n.safetensors with their index).
inline void write_checkpoint(const std::filesystem::path& directory, const nlohmann::json& config,
                             std::span<const TestTensor> tensors, std::size_t shards = 1) {
  std::filesystem::create_directories(directory);
  spew(directory / "config.json", config.dump(2) + "\n");
  if (shards <= 1) {
    write_safetensors(directory / "model.safetensors", tensors, {{"format", "pt"}});
    return;
  }
  nlohmann::json weight_map = nlohmann::json::object();
  std::uint64_t total = 0;
  for (std::size_t i = 0; i < shards; ++i) {
    const std::size_t begin = tensors.size() * i / shards;
    const std::size_t end = tensors.size() * (i + 1) / shards;
    const auto part = tensors.subspan(begin, end - begin);
    const std::string name = fmt::format("model-{:05}-of-{:05}.safetensors", i + 1, shards);
    write_safetensors(directory / name, part, {{"format", "pt"}});
    for (const TestTensor& t : part) {
      weight_map[t.name] = name;
      total += t.elements() * size_of(t.dtype);
    }
  }
  const nlohmann::json index = {{"metadata", {{"total_size", total}}}, {"weight_map", weight_map}};
  spew(directory / "model.safetensors.index.json", index.dump(2) + "\n");
}

}  // namespace mnm::test
