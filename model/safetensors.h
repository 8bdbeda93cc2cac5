// The safetensors format: one file's header, parsed as hostile input, and the header of a file to
// be written. Format: 8 bytes little-endian header length, JSON header, tensor data.
// https://huggingface.co/docs/safetensors (section "Format").
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
};

struct SafetensorsHeader {
  std::vector<TensorEntry> tensors;  // in order of `begin`
  std::vector<OtherTensor> others;   // likewise, of other types
  std::map<std::string, std::string> metadata;
  std::uint64_t data_offset = 0;  // where the data section starts in the file
};

// Parses the head of a file of `file_size` bytes. `head` is the file's beginning and must hold the
// whole header. Refused, each with its own sentence that names `path`: header length past the end
// or past 100 MB, JSON that is none, duplicate names, dtypes that the format does not know (named),
// negative or overflowing shapes, offsets that are reversed, past the end, overlapping, leave gaps,
// or do not match dtype times shape, data left over. Pickled and zip files (magic "PK", 0x80) are
// named as such, with the lines that convert them.
SafetensorsHeader parse_safetensors(std::span<const std::byte> head, std::uint64_t file_size,
                                    const std::string& path);

// "convert it with: ...": the command, quoted for a POSIX shell, that converts the pickled
// checkpoint files in `directory` to a model.safetensors beside them. `files`: the name of one, or
// kPickledShards, which the shell expands.
inline constexpr const char* kPickledShards = "pytorch_model-*.bin";
std::string conversion_command(const std::filesystem::path& directory, const std::string& files);

// Length prefix and JSON of a file that holds `tensors` in the given order, offsets filled in;
// metadata first, padded with spaces until the data begins `place` bytes past a multiple of
// `alignment`; the reference implementation pads to 8. Same input, same bytes. Error for a name
// that occurs twice or is "__metadata__", for text that is not UTF-8, and for shapes that overflow.
std::string safetensors_head(std::vector<TensorEntry>& tensors,
                             const std::map<std::string, std::string>& metadata,
                             std::size_t alignment = 8, std::size_t place = 0);

}  // namespace mnm
