#include "export/check.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <span>
#include <vector>

#include "base/error.h"
#include "extract/extract.h"
#include "model/dtype.h"
#include "model/shapes.h"
#include "model/slice_plan.h"

namespace mnm {
namespace {

// Elements that are compared at once: a multiple of every format's block.
constexpr std::size_t kCompared = 1 << 16;

}  // namespace

void check_written_tensors(const Checkpoint& nested, const PlannedExport& plan,
                           const Checkpoint& written) {
  Extractor extractor(nested);
  extractor.read_ahead(slices_of(plan.slices()));
  std::vector<float> buffer(kCompared);
  std::vector<std::byte> bytes;
  for (const TensorSlice& slice : plan.slices().tensors) {
    const StoredTensor& tensor = written.at(slice.name);
    if (tensor.shape != slice.shape) {
      fail("the written tensor {} has the shape {}, where its slice of the checkpoint has {}",
           slice.name, shape_text(tensor.shape), shape_text(slice.shape));
    }
    std::size_t done = 0;
    extractor.stream(slice, kCompared, [&](std::span<float> expected) {
      plan.round(slice, expected);
      const std::size_t size = size_of(tensor.dtype);
      bytes.resize(expected.size() * size);
      written.read(tensor, done * size, bytes);
      const auto found = std::span(buffer).first(expected.size());
      to_f32(bytes, tensor.dtype, found);
      const auto [a, b] = std::ranges::mismatch(expected, found, [](float x, float y) {
        return x == y || (std::isnan(x) && std::isnan(y));
      });
      if (a != expected.end()) {
        fail(
            "the written tensor {} is not its slice of the checkpoint: element {} is {}, where {} "
            "was expected",
            slice.name, done + static_cast<std::size_t>(a - expected.begin()), *b, *a);
      }
      done += expected.size();
    });
  }
  extractor.check_unchanged();
}

}  // namespace mnm
