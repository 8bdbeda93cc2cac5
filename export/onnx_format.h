// The ONNX file: a graph encoded, checked as the ONNX library checks it, and read back as hostile
// input. Weights lie in a file of their own (external data), one after another at multiples of
// kOnnxAlignment; several graphs share it.
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
// Offsets that can be mapped into memory, whatever the page size of common machines is.
inline constexpr std::uint64_t kOnnxAlignment = 4096;
// Protobuf refuses more, and so does every runtime.
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

// The bytes of the graph's file. `weights`: where those that it names lie in the file `location`
// beside it. Same input, same bytes. Error where it names one that is not there, or would be larger
// than `largest`.
std::string encode_onnx(const OnnxGraph& graph, std::span<const OnnxWeight> weights,
                        const std::string& location, const OnnxMetadata& metadata,
                        std::uint64_t largest = kOnnxLargest);

// onnx::checker and strict shape inference, on the file as it lies there. Error says what they
// found.
void check_onnx(const std::filesystem::path& path);

struct OnnxFile {
  std::vector<OnnxWeight> weights;  // by offset
  OnnxMetadata metadata;
};

// Of a file of these bytes, whose data file is `location` with `data_bytes` bytes. Error names
// `path` and what is wrong: no ONNX model, another opset, a weight that occurs twice, is of a type
// that is not read here, lies in another file, is not aligned, overlaps another or ends past the
// file's end, or whose length is not that of its shape. Initializers inside the file are the
// graph's constants and are passed over.
OnnxFile parse_onnx(std::span<const std::byte> file, const std::string& path,
                    const std::string& location, std::uint64_t data_bytes);

}  // namespace mnm
