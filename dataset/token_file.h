// Token files, and the sequences that models are scored on.
//
// A dataset is a token file cut into sequences. Sequence i of context C reads tokens
// [i*C, i*C + C] of the file: the first C are the input, and position t predicts token t+1, so each
// sequence has C targets, of which a drawn share may be scored, every token but the file's first is
// a target once, and no model sees across a border. What is left over at the end is not used. A
// part is a range of sequences.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "dataset/positions.h"
#include "model/files.h"

namespace mnm {

// Raw bytes (one token a byte), llm.c's .bin shards (1,024-byte header, magic 20240520 uint16 or
// 20240801 uint32), or .npy (one-dimensional, little-endian uint8/uint16/int32/uint32/int64).
// Recognised by content, whatever the name, but a file named .npy must be one. Mapped, not read.
// Error for headers that are cut off, contradict the file's size, or name another element type.
class TokenFile {
 public:
  explicit TokenFile(const std::filesystem::path& path);

  std::uint64_t size() const { return size_; }  // tokens
  std::string_view format() const;              // "bytes", "llm.c uint16", "npy int64", ...
  // out[i] = token at begin + i. Error if any is outside [0, vocab_size): names file and position.
  void read(std::uint64_t begin, std::span<std::int64_t> out, std::int64_t vocab_size) const;
  const std::filesystem::path& path() const { return file_.path(); }
  std::string fingerprint() const;  // of format and tokens

 private:
  enum class Kind : std::uint8_t { kU8, kU16, kI32, kU32, kI64 };
  MappedFile file_;
  Kind kind_ = Kind::kU8;
  std::uint64_t offset_ = 0;  // of the first token's byte
  std::uint64_t size_ = 0;
  std::string format_;
};

struct Dataset {
  std::string name;         // the file's name
  std::string fingerprint;  // of the tokens that the sequences cover, and the context
  std::int64_t context = 0;
  std::int64_t sequences = 0;
  std::vector<std::int32_t> tokens;  // [sequences * context + 1]
  std::vector<std::int32_t> scored;  // positions, of each sequence as many: ascending; empty: all

  std::int64_t targets() const;  // per sequence: context, or how many of its positions are scored
  double share() const { return static_cast<double>(targets()) / static_cast<double>(context); }

  // Input and target of sequences [begin, begin + count): each [count * context].
  void batch(std::int64_t begin, std::int64_t count, std::vector<std::int64_t>& input,
             std::vector<std::int64_t>& target) const;
};

struct DatasetOptions {
  std::filesystem::path path;
  std::int64_t context = 0;     // 0: min(kDefaultContext, the model's)
  std::int64_t max_tokens = 0;  // whole sequences within it are used; 0: all
  PositionShare positions{};    // that are scored
};

// UsageError where not one sequence fits, or the context is longer than the model's.
Dataset load_dataset(const DatasetOptions& options, std::int64_t vocab_size,
                     std::int64_t max_context);

}  // namespace mnm
