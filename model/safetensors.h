// The safetensors format: reading the header of a file, which is taken as hostile, and making the
// header of a file that is written. A file is 8 bytes (the header's length, little-endian), the
// header as JSON, and the tensor data. https://huggingface.co/docs/safetensors (section "Format").
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "model/dtype.h"

namespace mnm {

struct TensorEntry {
  std::string name;
  Dtype dtype = Dtype::kF32;
  std::vector<std::int64_t> shape;
  std::uint64_t begin = 0;  // bytes from the start of the data section
  std::uint64_t end = 0;
};

// A tensor of a type that no weight of these models has: integers, bytes, truth values.
struct OtherTensor {
  std::string name, dtype;  // as the file spells it: "U8", "I64"
  std::vector<std::int64_t> shape = {};
  std::uint64_t begin = 0, end = 0;  // as of a TensorEntry
};

struct SafetensorsHeader {
  std::vector<TensorEntry> tensors;  // in order of `begin`
  std::vector<OtherTensor> others;   // of other types, in the same order
  std::map<std::string, std::string> metadata;
  std::uint64_t data_offset = 0;  // where the data section starts in the file
};

// Parses the head of a file of `file_size` bytes. `head` is the beginning of the file and must hold
// the whole header. Each of these is refused with its own sentence, which names `path`:
//
// - a header whose length passes the end of the file or 100 MB, or that is no JSON;
// - a name that occurs twice;
// - a dtype that the format does not know (the message names it);
// - a shape that is negative or overflows;
// - offsets that are reversed, pass the end, overlap, leave gaps, or do not match dtype times
//   shape;
// - data that are left over;
// - pickled and zip files (magic "PK", 0x80); the message has the lines that convert them.
SafetensorsHeader parse_safetensors(std::span<const std::byte> head, std::uint64_t file_size,
                                    const std::string& path);

// The text "convert it with: ..." with the command, quoted for a POSIX shell, that converts the
// pickled checkpoint files in `directory` to a model.safetensors beside them. `files` is the name
// of one file, or kPickledShards, which the shell expands.
inline constexpr const char* kPickledShards = "pytorch_model-*.bin";
std::string conversion_command(const std::filesystem::path& directory, const std::string& files);

// The length prefix and JSON header of a file that holds `tensors` in the given order. Fills in
// their offsets. The metadata come first. The header is padded with spaces until the data begin
// `place` bytes past a multiple of `alignment` (the reference implementation pads to 8). The same
// input gives the same bytes. Error for a name that occurs twice or is "__metadata__", for text
// that is not UTF-8, and for shapes that overflow.
std::string safetensors_head(std::vector<TensorEntry>& tensors,
                             const std::map<std::string, std::string>& metadata,
                             std::size_t alignment = 8, std::size_t place = 0);
// The same for a file of other types. Error also for a type that the format does not know.
std::string safetensors_head(std::vector<OtherTensor>& tensors,
                             const std::map<std::string, std::string>& metadata);

}  // namespace mnm
