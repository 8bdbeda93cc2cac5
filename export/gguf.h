// The header of a GGUF file, version 3, little-endian: written from data, and read as hostile
// input.
//
//   magic "GGUF", version u32, tensors u64, fields u64
//   per field   key, type u32, value. A string is its length u64 and its bytes. An array is the
//               type u32 of its elements, their number u64, and the elements.
//   per tensor  name, dimensions u32, sizes u64 (the innermost first), type u32, offset u64 from
//               the start of the data
//   data        from the next multiple of 32 on; every tensor at a multiple of 32
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "export/gguf_model.h"

namespace mnm {

inline constexpr std::uint64_t kGgufAlignment = 32;

enum class GgufType : std::uint32_t { kF32 = 0, kF16 = 1, kQ8_0 = 8, kBF16 = 30 };
std::string_view to_string(GgufType type);        // "f32", "f16", "q8_0", "bf16"
GgufType parse_gguf_type(std::string_view name);  // UsageError
// Elements that are stored together as a block. A row consists of whole blocks.
std::int64_t block_size(GgufType type);
std::uint64_t row_bytes(GgufType type, std::int64_t elements);  // of whole blocks

struct GgufEntry {
  std::string name;
  GgufType type = GgufType::kF32;
  std::vector<std::int64_t> shape;  // outermost first, as in a checkpoint
  std::uint64_t offset = 0;         // from the start of the data
  std::uint64_t bytes() const;
};

struct GgufHead {
  GgufFields fields;
  std::vector<GgufEntry> tensors;
  std::uint64_t data_offset = 0;  // where the data start in the file

  const GgufValue* find(std::string_view key) const;  // nullptr where there is none
};

std::uint64_t aligned(std::uint64_t bytes);  // up to the next multiple of kGgufAlignment

// The header, padded up to the data. Fills in the offsets of the entries. The same input gives the
// same bytes. Error if two fields or two tensors have the same name, because readers may take
// either.
std::string gguf_head(const GgufFields& fields, std::vector<GgufEntry>& tensors);

// Parses the header of a file with these bytes. Error names `path` and what is wrong:
// - another magic or version, or a size past the end of the file;
// - a field or tensor type that is not read here, or a name that occurs twice;
// - a row of broken blocks;
// - data that overlap, are not aligned, or lie past the end.
GgufHead parse_gguf(std::span<const std::byte> file, const std::string& path);

}  // namespace mnm
