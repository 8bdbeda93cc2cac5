// How the tensors of a checkpoint are divided among safetensors files of limited size, with Hugging
// Face's names, and how such files are written.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/progress.h"
#include "model/safetensors.h"

namespace mnm {

inline constexpr const char* kShardIndex = "model.safetensors.index.json";

struct Shard {
  std::string file;                  // "model.safetensors" or "model-00001-of-00003.safetensors"
  std::vector<TensorEntry> tensors;  // offsets filled in
  std::size_t first = 0;             // of its tensors, in the list that was divided
  std::uint64_t place = 0;           // within a page, of its first tensor's first byte
  std::uint64_t bytes = 0;           // of the whole file
};

// Divides the tensors in the given order. A file is full when the next tensor would take its
// tensors past `shard_bytes`. A larger tensor has its own file. `sources` are the places of the
// tensors' first bytes in the files that they come from. The first tensor of a file then has the
// same place within a page, so that the kernel can copy whole pages or share them. Empty: the data
// begin with a page. Error for what safetensors_head refuses.
std::vector<Shard> plan_shards(std::vector<TensorEntry> tensors, std::uint64_t shard_bytes,
                               const std::map<std::string, std::string>& metadata,
                               std::span<const std::uint64_t> sources = {});

// The content of kShardIndex, which lies beside two or more shards.
std::string index_text(const std::vector<Shard>& shards);

// Writes small files: name -> content. The meter counts their bytes.
void write_texts(const std::map<std::string, std::string>& texts,
                 const std::filesystem::path& directory, Meter& meter, Flush flush);

// Appends the data of a tensor, the n-th of the list that was divided.
using AppendTensor = std::function<void(std::size_t tensor, OutputFile& out)>;

// Writes the files into `directory`, heads and tensors, up to `threads` of them side by side: one
// file is written by one thread at a time, whatever the file system, so several are faster. Each
// thread appends by an AppendTensor of its own. The meter counts the heads' bytes here, and the
// tensors' bytes in the appenders. Error where an appender wrote another number of bytes than
// planned; when one fails, the others stop.
void write_shards(const std::vector<Shard>& shards,
                  const std::map<std::string, std::string>& metadata,
                  const std::filesystem::path& directory, unsigned threads,
                  const std::function<AppendTensor()>& make_append, Meter& meter, Flush flush);

}  // namespace mnm
