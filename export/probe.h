// The probe that every export carries: tokens, and the logits that the search's model computes for
// them, so that any runtime can be asked whether it computes the same. Format: docs/formats.md.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace mnm {

struct Probe {
  std::string widths;                // canonical text
  std::string fingerprint;           // of the nested checkpoint
  std::vector<std::int64_t> tokens;  // one sequence
  std::int64_t vocab_size = 0;
  std::vector<float> logits;         // [tokens * vocab_size], f32, of the nested model at `widths`
  double tolerance = 0;              // largest |difference| that f32 arithmetic explains
};

// probe.safetensors: `logits` F32 [tokens, vocab]; the rest as metadata. Same input, same bytes.
void write_probe(const Probe& probe, const std::filesystem::path& path);
Probe read_probe(const std::filesystem::path& path);

// The bound on |a - b| for logits of one model computed in two orders of f32 summation. Derived in
// the source's comment from the longest inner product, the depth, epsilon and the logits' scale.
double logits_tolerance(std::span<const float> logits, std::int64_t longest_product,
                        std::size_t layers);

struct Difference {
  double worst = 0;            // largest |a - b|; NaN where either is
  std::int64_t position = 0;   // of the worst: token
  std::int64_t word = 0;       // and vocabulary index
};
Difference compare_logits(std::span<const float> a, std::span<const float> b,
                          std::int64_t vocab_size);

}  // namespace mnm
