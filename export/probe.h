// The probe that every export carries: tokens, and the logits that the search's model computes for
// them, so that any runtime can be asked whether it computes the same (scripts/verify).
//
// probe.safetensors holds one tensor, `logits` F32 [tokens, vocab], and as metadata
//   format       "mixnmatch-probe-1"
//   widths       canonical text
//   fingerprint  of the nested checkpoint, 32 hex digits
//   tokens       decimal, separated by commas: one sequence from position 0
//   tolerance    decimal: the largest |difference| that rounding explains
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "model/dtype.h"

namespace mnm {

inline constexpr const char* kProbeFile = "probe.safetensors";

struct Probe {
  std::string widths;                // canonical text
  std::string fingerprint;           // of the nested checkpoint
  std::vector<std::int64_t> tokens;  // one sequence
  std::int64_t vocab_size = 0;
  std::vector<float> logits;  // [tokens * vocab_size], f32, of the nested model at `widths`
  double tolerance = 0;       // largest |difference| that rounding explains
};

// Same input, same bytes.
void write_probe(const Probe& probe, const std::filesystem::path& path);
Probe read_probe(const std::filesystem::path& path);
// Of the file, exactly; `logits` may be empty still, and `tolerance` any number.
std::uint64_t probe_bytes(const Probe& probe);

// The bound on |a - b| for logits of one model computed in two orders of f32 summation. Derived in
// the source's comment from the longest inner product, the depth, epsilon and the logits' scale.
// `weight_roundoff`: of the conversion between the two computations' weights, 0 where they are the
// same (roundoff).
double logits_tolerance(std::span<const float> logits, std::int64_t longest_product,
                        std::size_t layers, double weight_roundoff = 0);

// The largest relative error of converting a value: 0 where `to` holds all of `from`, else half a
// unit in the last place of `to`.
double roundoff(Dtype from, Dtype to);

struct Difference {
  double worst = 0;           // largest |a - b|; NaN where either is
  std::int64_t position = 0;  // of the worst: token
  std::int64_t word = 0;      // and vocabulary index
};
Difference compare_logits(std::span<const float> a, std::span<const float> b,
                          std::int64_t vocab_size);

}  // namespace mnm
