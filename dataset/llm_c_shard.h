// Shards of tokens as llm.c has them (https://github.com/karpathy/llm.c): a header of 256 int32, of
// which the first three are the magic number, the version and the number of tokens that follow.
// Read and written here alone.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace mnm {

constexpr std::uint64_t kShardHeader = 1024;  // bytes
constexpr std::int32_t kShardMagicU16 = 20240520, kShardMagicU32 = 20240801;
// Other files of llm.c, which begin with 256 int32 too: a model's weights, an optimizer's state.
constexpr std::int32_t kWeightsMagic = 20240326, kOptimizerMagic = 20240527;

struct ShardHeader {
  bool narrow = true;        // uint16, else uint32
  std::uint64_t length = 0;  // tokens
};

// Whether a file begins with one of the magic numbers.
bool is_shard(std::span<const std::byte> file);

// Error, which names the file `name`, where the header is cut off, of another version, or says a
// negative number of tokens.
ShardHeader read_shard_header(std::span<const std::byte> file, const std::string& name);

// The header of a shard of so many tokens. Error for more than it can count.
std::string shard_header(const ShardHeader& header);

}  // namespace mnm
