#include "dataset/llm_c_shard.h"

#include <array>
#include <cstring>

#include "base/error.h"

namespace mnm {
namespace {

constexpr std::int32_t kVersionU16 = 1, kVersionU32 = 7;

// Entry i of the header.
std::int32_t entry(std::span<const std::byte> file, std::size_t i) {
  std::int32_t value;
  std::memcpy(&value, file.data() + i * sizeof value, sizeof value);
  return value;
}

}  // namespace

bool is_shard(std::span<const std::byte> file) {
  if (file.size() < sizeof(std::int32_t)) return false;
  return entry(file, 0) == kShardMagicU16 || entry(file, 0) == kShardMagicU32;
}

ShardHeader read_shard_header(std::span<const std::byte> file, const std::string& name) {
  if (file.size() < kShardHeader) {
    fail("cannot read tokens from {}: an llm.c shard's header has {} bytes, the file only {}", name,
         kShardHeader, file.size());
  }
  const bool narrow = entry(file, 0) == kShardMagicU16;
  const std::int32_t version = entry(file, 1), count = entry(file, 2);
  const std::int32_t expected = narrow ? kVersionU16 : kVersionU32;
  if (version != expected) {
    fail("cannot read tokens from {}: llm.c shard of version {}, expected {}", name, version,
         expected);
  }
  if (count < 0) fail("cannot read tokens from {}: its header says {} tokens", name, count);
  return {narrow, static_cast<std::uint64_t>(count)};
}

std::string shard_header(const ShardHeader& header) {
  if (header.length > 0x7fffffff) fail("an llm.c shard holds at most 2^31 - 1 tokens");
  std::array<std::int32_t, kShardHeader / sizeof(std::int32_t)> entries{};
  entries[0] = header.narrow ? kShardMagicU16 : kShardMagicU32;
  entries[1] = header.narrow ? kVersionU16 : kVersionU32;
  entries[2] = static_cast<std::int32_t>(header.length);
  std::string bytes(sizeof(entries), '\0');
  std::memcpy(bytes.data(), entries.data(), sizeof(entries));
  return bytes;
}

}  // namespace mnm
