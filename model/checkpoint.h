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

// The file of an export's probe (export/probe.h). It is no shard of the checkpoint.
inline constexpr const char* kProbeFile = "probe.safetensors";

// The file of the tensors that `nest --compensate` adds to a checkpoint (docs/formats.md). It
// stands beside the shards and in no index, so that other programs load the checkpoint as before.
inline constexpr const char* kCompensationFile = "compensation.safetensors";

struct StoredTensor {
  std::string name;
  Dtype dtype = Dtype::kF32;
  std::vector<std::int64_t> shape;
  std::size_t shard = 0;            // index into Checkpoint::shards()
  std::uint64_t offset = 0;         // of the first byte in that file
  std::span<const std::byte> data;  // the mapped bytes, row-major, little-endian, maybe unaligned
  // If the tensor is stored in another format, `data` is empty and this function gives the bytes
  // from `begin` on, as a checkpoint would hold them.
  std::function<void(std::uint64_t begin, std::span<std::byte> into)> decode;
  // Where block is not 0, of every `step` bytes of the file from `offset` on, `block` bytes belong
  // to the tensor, after `skipped` that do not. It has a `decode` too.
  std::uint64_t skipped = 0, block = 0, step = 0;

  std::int64_t elements() const;
  std::uint64_t bytes() const;
};

// A tensor that is stored in the rows of another one: of every `period` rows, `rows` of them from
// `first` on. All of it has `height` rows.
struct InterleavedRows {
  std::string name;
  std::string stored;
  std::int64_t first = 0, rows = 0, period = 0;
  std::int64_t height = 0;  // of the stored tensor
};

// The directory itself; or, where it is a repository's folder in a download cache of Hugging Face's
// (refs/, snapshots/, blobs/), the snapshot that refs/main names, or, without a refs/main, the only
// one. Error where that snapshot is not there, and where there are several and none is named.
std::filesystem::path snapshot_of(const std::filesystem::path& directory);

class Checkpoint {
 public:
  // Opens the single model.safetensors, or else every shard that model.safetensors.index.json
  // names: transformers' order. Then kCompensationFile, if it is there. Of a repository's folder in
  // a download cache, its snapshot.
  // Error: no such directory, no config.json, no safetensors (with the conversion that helps where
  // pytorch_model.bin or *.pt lies there), a shard missing, a tensor in two shards or in none that
  // the index promised, a link to what is not there, and whatever parse_safetensors refuses.
  static Checkpoint open(const std::filesystem::path& directory);

  // The checkpoint in `directory` with another config, without the tensors of some stored names,
  // and with those of one more safetensors file.
  static Checkpoint open_with(const std::filesystem::path& directory, nlohmann::json config,
                              std::span<const std::string> left_out,
                              const std::filesystem::path& file);

  // A checkpoint of tensors that a reader of another format found in `directory`, with the names
  // that they have in a checkpoint. Their data lie in `storage`, which lives as long as the
  // checkpoint, or they are decoded when they are read. shards() is empty. Error for a name that
  // occurs twice.
  static Checkpoint assemble(std::filesystem::path directory, nlohmann::json config,
                             std::vector<StoredTensor> tensors,
                             std::shared_ptr<const void> storage);

  Checkpoint(Checkpoint&&) noexcept;
  Checkpoint& operator=(Checkpoint&&) noexcept;
  ~Checkpoint();

  // Gives tensors a second name, which find() and at() know from here on: stored name -> other
  // name. Stored names that do not occur are passed over. Error if the other name is a tensor's
  // already.
  void add_names(const std::map<std::string, std::string>& names);

  // Makes a tensor of those rows, which find() and at() know from here on. Nothing if the tensor
  // that holds them does not occur. Error if that has another height, or the name is taken.
  void add_rows(const InterleavedRows& part);

  const std::filesystem::path& directory() const;
  const nlohmann::json& config() const;              // config.json
  const std::vector<StoredTensor>& tensors() const;  // by shard, then offset
  const StoredTensor* find(std::string_view name) const;
  const StoredTensor& at(std::string_view name) const;  // Error if there is none
  const std::vector<std::filesystem::path>& shards() const;
  // Tensors whose types no weight has, such as `_extra_state` in U8: name -> type. Nothing reads
  // them.
  const std::map<std::string, std::string>& left_aside() const;

  // Reads the tensor's bytes from `begin` on. They are read from the file and not through the map,
  // so they do not stay in this process's memory.
  void read(const StoredTensor& tensor, std::uint64_t begin, std::span<std::byte> into) const;

  // Error if a shard was written or replaced since the checkpoint was opened. Other programs that
  // open shards() may then have read other bytes than those that the headers describe.
  void check_unchanged() const;

  // 32 hex digits. They cover config.json, the names, dtypes and shapes of the tensors, and the
  // bytes that SampledBytes takes of them. They do not depend on how the tensors are sharded.
  std::string fingerprint() const;

 private:
  Checkpoint();
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Checks that every tensor of the table is in the checkpoint with its shape, and that the
// checkpoint has no other tensor. Names that end in one of `ignored` are allowed (rotary tables
// that old exporters stored). The Error names the first disagreement, and how many there are.
void check_tensors(const Checkpoint& checkpoint, const NestedModel& model,
                   std::span<const std::string> ignored = {});

}  // namespace mnm
