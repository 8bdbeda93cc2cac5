#include "artifact/altered_weights.h"

#include <algorithm>
#include <utility>

#include "export/probe.h"
#include "extract/extract.h"
#include "model/shapes.h"

namespace mnm {
namespace {

// Elements that are taken at once: a multiple of every format's block.
constexpr std::size_t kTogether = 1 << 16;

// Calls use(begin, part) for one part of `values` after the other.
template <typename Use>
void in_parts(std::span<float> values, const Use& use) {
  for (std::size_t begin = 0; begin < values.size(); begin += kTogether) {
    use(begin, values.subspan(begin, std::min(kTogether, values.size() - begin)));
  }
}

// `values`, all that a slice that is cut keeps in its order, at their places in the whole tensor.
void put_slice(const TensorSlice& slice, std::span<const float> values, std::span<float> whole) {
  const auto& shape = slice.spec->shape;
  const auto cut = static_cast<std::size_t>(slice.dim);
  std::size_t inner = 1;  // elements of one step along the dimension that is cut
  for (std::size_t d = cut + 1; d < shape.size(); ++d) inner *= static_cast<std::size_t>(shape[d]);
  const std::size_t row = static_cast<std::size_t>(shape[cut]) * inner;
  for (std::size_t at = 0; at < whole.size(); at += row) {
    for (const Range& range : slice.ranges) {
      const auto count = static_cast<std::size_t>(range.end - range.begin) * inner;
      std::ranges::copy(values.first(count),
                        whole.begin() + static_cast<std::ptrdiff_t>(
                                            at + static_cast<std::size_t>(range.begin) * inner));
      values = values.subspan(count);
    }
  }
}

}  // namespace

AlteredWeights::AlteredWeights(const NestedModel& model, const Checkpoint& checkpoint,
                               const PlannedExport& plan, const Noise& noise)
    : table_(model.table), checkpoint_(checkpoint), plan_(plan), noise_(noise) {}

Checkpoint AlteredWeights::checkpoint() {
  std::vector<StoredTensor> tensors;
  for (std::size_t i = 0; i < table_.tensors.size(); ++i) {
    const TensorSpec& spec = table_.tensors[i];
    StoredTensor& tensor = tensors.emplace_back(checkpoint_.at(spec.name));
    tensor.name = spec.name;  // the checkpoint may have another for it
    tensor.dtype = Dtype::kF32;
    tensor.data = {};
    tensor.decode = [this, i](std::uint64_t begin, std::span<std::byte> into) {
      read(i, begin, into);
    };
  }
  return Checkpoint::assemble(checkpoint_.directory(), checkpoint_.config(), std::move(tensors),
                              nullptr);
}

double AlteredWeights::bytes(const SlicePlan& plan) {
  double most = 0;
  for (const TensorSlice& slice : plan.tensors) {
    const auto whole = static_cast<double>(element_count(slice.spec->shape));
    most = std::max(most, slice.dim < 0 ? std::min(whole, static_cast<double>(kTogether))
                                        : whole + static_cast<double>(element_count(slice.shape)));
  }
  return most * sizeof(float);
}

void AlteredWeights::read(std::size_t index, std::uint64_t begin, std::span<std::byte> into) {
  const TensorSlice* slice = plan_.slices().find(table_.tensors[index].name);
  const bool whole = slice != nullptr && slice->dim >= 0;
  const std::lock_guard lock(mutex_);
  while (!into.empty()) {
    const std::uint64_t part = whole ? 0 : begin / (kTogether * sizeof(float));
    const Piece piece{index, static_cast<std::size_t>(part)};
    if (made_ != piece) make(piece);
    const auto held =
        std::as_bytes(std::span(values_)).subspan(begin - part * kTogether * sizeof(float));
    const std::size_t count = std::min(held.size(), into.size());
    std::ranges::copy(held.first(count), into.begin());
    into = into.subspan(count);
    begin += count;
  }
}

void AlteredWeights::make(Piece piece) {
  made_.reset();
  const TensorSpec& spec = table_.tensors[piece.index];
  const StoredTensor& source = checkpoint_.at(spec.name);
  const std::size_t size = size_of(source.dtype);
  const TensorSlice* slice = plan_.slices().find(spec.name);
  const bool whole = slice != nullptr && slice->dim >= 0;
  const std::size_t first = piece.part * kTogether;
  const std::size_t rest = static_cast<std::size_t>(source.elements()) - first;
  values_ = {};
  values_.shrink_to_fit();  // to grow would hold both for a while, and then up to twice the size
  values_.resize(whole ? rest : std::min(rest, kTogether));
  std::vector<std::byte> bytes;
  in_parts(values_, [&](std::size_t begin, std::span<float> part) {
    bytes.resize(part.size() * size);
    checkpoint_.read(source, (first + begin) * size, bytes);
    to_f32(bytes, source.dtype, part);
  });
  if (whole) {
    std::vector<float> kept;
    kept.reserve(static_cast<std::size_t>(element_count(slice->shape)));
    Extractor(checkpoint_).stream(*slice, kTogether, [&](std::span<const float> part) {
      kept.insert(kept.end(), part.begin(), part.end());
    });
    alter(*slice, piece, kept);
    put_slice(*slice, kept, values_);
  } else if (slice != nullptr) {
    alter(*slice, piece, values_);
  }
  made_ = piece;
}

void AlteredWeights::alter(const TensorSlice& slice, Piece piece, std::span<float> values) const {
  const bool noisy = noise_.relative > 0 && slice.spec->shape.size() > 1;
  const std::uint64_t tensor =
      static_cast<std::uint64_t>(noise_.draw) * table_.tensors.size() + piece.index + 1;
  in_parts(values, [&](std::size_t begin, std::span<float> part) {
    plan_.round(slice, part);
    // Each part has numbers of its own, so that it can be made without those before it.
    if (noisy) perturb(part, noise_.relative, (tensor << 24) + piece.part + begin / kTogether);
  });
}

}  // namespace mnm
