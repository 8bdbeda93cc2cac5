#include "export/shards.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <nlohmann/json.hpp>
#include <system_error>
#include <thread>
#include <utility>

#include "base/error.h"
#include "model/shapes.h"

namespace mnm {
namespace {

constexpr std::uint64_t kAlignment = 8;  // as the reference implementation has it

}  // namespace

std::vector<Shard> plan_shards(std::vector<TensorEntry> tensors, std::uint64_t shard_bytes,
                               const std::map<std::string, std::string>& metadata,
                               std::span<const std::uint64_t> sources) {
  std::vector<Shard> shards(1);
  std::uint64_t tensor_bytes = 0;
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const auto bytes = static_cast<std::uint64_t>(checked_mul(
        element_count(tensors[i].shape), static_cast<std::int64_t>(size_of(tensors[i].dtype))));
    if (tensor_bytes + bytes > shard_bytes && !shards.back().tensors.empty()) {
      shards.emplace_back().first = i;
      tensor_bytes = 0;
    }
    tensor_bytes += bytes;
    shards.back().tensors.push_back(std::move(tensors[i]));
  }
  for (std::size_t i = 0; i < shards.size(); ++i) {
    Shard& shard = shards[i];
    shard.file = shards.size() == 1
                     ? "model.safetensors"
                     : fmt::format("model-{:05}-of-{:05}.safetensors", i + 1, shards.size());
    // Elements are aligned for whoever maps them.
    if (!sources.empty()) shard.place = sources[shard.first] % kPage / kAlignment * kAlignment;
    shard.bytes = safetensors_head(shard.tensors, metadata, kPage, shard.place).size();
    if (!shard.tensors.empty()) shard.bytes += shard.tensors.back().end;
  }
  return shards;
}

std::string index_text(const std::vector<Shard>& shards) {
  nlohmann::json weight_map = nlohmann::json::object();
  std::uint64_t bytes = 0;
  std::int64_t parameters = 0;
  for (const Shard& shard : shards) {
    bytes += shard.tensors.back().end;
    for (const TensorEntry& tensor : shard.tensors) {
      parameters += element_count(tensor.shape);
      weight_map[tensor.name] = shard.file;
    }
  }
  const nlohmann::json index = {
      {"metadata", {{"total_parameters", parameters}, {"total_size", bytes}}},
      {"weight_map", std::move(weight_map)}};
  return index.dump(2) + "\n";
}

void write_texts(const std::map<std::string, std::string>& texts,
                 const std::filesystem::path& directory, Meter& meter, Flush flush) {
  for (const auto& [name, content] : texts) {
    OutputFile out(directory / name);
    out.write(content);
    out.close(flush);
    meter.add(static_cast<double>(content.size()));
  }
}

namespace {

void write_shard(const Shard& shard, const std::map<std::string, std::string>& metadata,
                 const std::filesystem::path& directory, const AppendTensor& append, Meter& meter,
                 Flush flush) {
  OutputFile out(directory / shard.file);
  std::vector<TensorEntry> tensors = shard.tensors;
  const std::string head = safetensors_head(tensors, metadata, kPage, shard.place);
  out.write(head);
  meter.add(static_cast<double>(head.size()));
  for (std::size_t i = 0; i < tensors.size(); ++i) append(shard.first + i, out);
  if (out.position() != shard.bytes) {
    fail("cannot write '{}': {} bytes came out, where {} were planned", out.path().string(),
         out.position(), shard.bytes);
  }
  out.close(flush);
}

}  // namespace

void write_shards(const std::vector<Shard>& shards,
                  const std::map<std::string, std::string>& metadata,
                  const std::filesystem::path& directory, unsigned threads,
                  const std::function<AppendTensor()>& make_append, Meter& meter, Flush flush) {
  std::mutex mutex;
  std::exception_ptr error;  // the first in time: those who stop after it throw Stopped
  std::atomic<std::size_t> next = 0;
  const auto work = [&](const AppendTensor& append) {
    try {
      for (std::size_t i; (i = next++) < shards.size();) {
        write_shard(shards[i], metadata, directory, append, meter, flush);
      }
    } catch (...) {
      const std::scoped_lock lock(mutex);
      if (!error) error = std::current_exception();
      meter.stop();  // nobody goes on once one has failed
    }
  };
  std::vector<std::jthread> others;
  try {
    for (std::size_t i = 1; i < std::min<std::size_t>(threads, shards.size()); ++i) {
      others.emplace_back(work, make_append());
    }
  } catch (const std::system_error&) {
    // No more threads to be had: those there are write it all.
  }
  work(make_append());
  others.clear();
  if (error) std::rethrow_exception(error);
}

}  // namespace mnm
