// A Hugging Face checkpoint directory: config.json and safetensors files, mapped into memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "model/dtype.h"
#include "model/nested_model.h"

namespace mnm {

// Beside an export's tensors, none of them (export/probe.h).
inline constexpr const char* kProbeFile = "probe.safetensors";

struct StoredTensor {
  std::string name;
  Dtype dtype = Dtype::kF32;
  std::vector<std::int64_t> shape;
  std::size_t shard = 0;            // index into Checkpoint::shards()
  std::uint64_t offset = 0;         // of the first byte in that file
  std::span<const std::byte> data;  // the mapped bytes, row-major, little-endian, maybe unaligned
  // Where they lie in another format and `data` is empty: gives the bytes from `begin` on, as they
  // would lie in a checkpoint.
  std::function<void(std::uint64_t begin, std::span<std::byte> into)> decode;

  std::int64_t elements() const;
  std::uint64_t bytes() const;
};

// The directory itself; or, where it is a repository's folder in a download cache of Hugging Face's
// (refs/, snapshots/, blobs/), the snapshot that refs/main names, or the only one. Error where
// there are several and none is named.
std::filesystem::path snapshot_of(const std::filesystem::path& directory);

class Checkpoint {
 public:
  // Opens the single model.safetensors, or else every shard that model.safetensors.index.json
  // names: transformers' order. Of a repository's folder in a download cache, its snapshot.
  // Error: no such directory, no config.json, no safetensors (with the conversion that helps where
  // pytorch_model.bin or *.pt lies there), a shard missing, a tensor in two shards or in none that
  // the index promised, a link to what is not there, and whatever parse_safetensors refuses.
  static Checkpoint open(const std::filesystem::path& directory);

  // Of tensors that a reader of another format found in `directory` and names as a checkpoint does.
  // Their data lie in `storage`, which lives as long as the checkpoint, or they are decoded when
  // they are read; shards() is empty. Error for a name that occurs twice.
  static Checkpoint assemble(std::filesystem::path directory, nlohmann::json config,
                             std::vector<StoredTensor> tensors,
                             std::shared_ptr<const void> storage);

  Checkpoint(Checkpoint&&) noexcept;
  Checkpoint& operator=(Checkpoint&&) noexcept;
  ~Checkpoint();

  // find() and at() know tensors by a second name from here on: stored name -> other. Stored names
  // that there are not are passed over; Error where the other one is a tensor's already.
  void add_names(const std::map<std::string, std::string>& names);

  const std::filesystem::path& directory() const;
  const nlohmann::json& config() const;              // config.json
  const std::vector<StoredTensor>& tensors() const;  // by shard, then offset
  const StoredTensor* find(std::string_view name) const;
  const StoredTensor& at(std::string_view name) const;  // Error if there is none
  const std::vector<std::filesystem::path>& shards() const;
  // What lies beside the tensors in types that no weight has, as `_extra_state` in U8: name ->
  // type. Nothing reads it.
  const std::map<std::string, std::string>& left_aside() const;

  // into <- the tensor's bytes from `begin`; read from the file and not through the map, so that
  // they do not come to stay in this process' memory.
  void read(const StoredTensor& tensor, std::uint64_t begin, std::span<std::byte> into) const;

  // Error where a shard was written or replaced since the checkpoint was opened: others who open
  // shards() may have read other bytes than its headers are of.
  void check_unchanged() const;

  // 32 hex digits over config.json, the tensors' names, dtypes and shapes, and their bytes as
  // SampledBytes takes them. The same for the same tensors however they are sharded.
  std::string fingerprint() const;

 private:
  Checkpoint();
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Every tensor of the table is there with its shape; none is there that the table lacks, except
// names that end in one of `ignored` (rotary tables that old exporters store). One Error names the
// first disagreement and how many there are.
void check_tensors(const Checkpoint& checkpoint, const NestedModel& model,
                   std::span<const std::string> ignored = {});

}  // namespace mnm
