// The ONNX file: a graph is encoded, checked by the ONNX library, and read back as hostile input.
// Weights lie in a file of their own (external data), one after another at multiples of
// kOnnxAlignment. Several graphs share that file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "export/onnx_graph.h"
#include "model/dtype.h"

namespace mnm {

inline constexpr std::int64_t kOnnxOpset = 17;
// With these offsets weights can be mapped into memory, whatever the page size of common machines
// is.
inline constexpr std::uint64_t kOnnxAlignment = 4096;
// The largest file. Protobuf refuses more, and so does every runtime.
inline constexpr std::uint64_t kOnnxLargest = 0x7fffffff;

// Where a weight lies in the data file.
struct OnnxWeight {
  std::string name;
  Dtype dtype = Dtype::kF32;
  std::vector<std::int64_t> shape;
  std::uint64_t offset = 0;
  std::uint64_t bytes() const;
  friend bool operator==(const OnnxWeight&, const OnnxWeight&) = default;
};

using OnnxMetadata = std::vector<std::pair<std::string, std::string>>;  // in the file's order

// The bytes of the graph's file. `weights` says where the weights that the graph names lie in the
// file `location` beside it. The same input gives the same bytes. Error if the graph names a weight
// that is not there, or if the file would be larger than `largest`.
std::string encode_onnx(const OnnxGraph& graph, std::span<const OnnxWeight> weights,
                        const std::string& location, const OnnxMetadata& metadata,
                        std::uint64_t largest = kOnnxLargest);

// Runs onnx::checker and strict shape inference on the file at `path`. Error says what they found.
void check_onnx(const std::filesystem::path& path);

struct OnnxFile {
  std::vector<OnnxWeight> weights;  // by offset
  OnnxMetadata metadata;
};

// Parses a file with these bytes, whose data file is `location` with `data_bytes` bytes. Error
// names `path` and what is wrong: no ONNX model; another opset; or a weight that occurs twice, has
// a type that is not read here, lies in another file, is not aligned, overlaps another, ends past
// the end of the file, or has a length that does not match its shape. Initializers inside the file
// are constants of the graph and are passed over.
OnnxFile parse_onnx(std::span<const std::byte> file, const std::string& path,
                    const std::string& location, std::uint64_t data_bytes);

}  // namespace mnm
