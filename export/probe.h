// The probe that an export carries: inputs, and the logits that the nested model computes for them
// with the weights as the export stores them. So scripts/verify can check whether any runtime
// computes the same.
//
// probe.safetensors holds the tensor `logits` F32 [tokens, vocab], or, of a model that reads
// images, the tensors `logits` F32 [images, classes] and `pixel_values` F32 [images, channels,
// height, width]; and this metadata:
//
//   format             "mixnmatch-probe-2"
//   widths             canonical text
//   fingerprint        of the nested checkpoint, 32 hex digits
//   artifact           of the files beside the probe, 32 hex digits
//   tokens             decimal, separated by commas: one sequence from position 0; absent if there
//                      are images
//   tolerance          decimal: the largest |difference| that the order of summation explains, in a
//                      runtime that computes in f32
//   operand_tolerance  decimal: the same in a runtime that rounds the operands of a product with a
//                      stored matrix, or all that it computes, to the matrix's type
//   moved              decimal: the largest |difference| to the weights before they were rounded,
//                      and to the model's own function where the format's runtimes have another
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "model/checkpoint.h"
#include "model/dtype.h"
#include "model/example_inputs.h"

namespace mnm {

struct Probe {
  std::string widths;       // canonical text
  std::string fingerprint;  // of the nested checkpoint
  std::string artifact;     // PlannedExport::fingerprint of the files beside the probe
  ExampleInputs inputs;     // one sequence of tokens, or some images
  std::int64_t vocab_size = 0;
  std::vector<float> logits;  // [outputs() * vocab_size], f32, of the nested model at `widths`
  // The two tolerances are in (0, largest |logit|], and 0 if all logits are 0. A larger tolerance
  // would let any model of that size pass.
  double tolerance = 0, operand_tolerance = 0, moved = 0;

  bool has_tokens() const { return inputs.each.type == InputType::kTokenIds; }
  std::int64_t outputs() const {  // one for each token, or for each image
    return has_tokens() ? inputs.each.elements() : inputs.count;
  }
};

// The same input gives the same bytes. Error, here and when it is read, if a tolerance is not in
// that range.
void write_probe(const Probe& probe, const std::filesystem::path& path);
Probe read_probe(const std::filesystem::path& path);
// The exact size of the file. `logits` may still be empty, and the tolerances may be any numbers.
std::uint64_t probe_bytes(const Probe& probe);

// The largest |a - b| that is allowed for logits of one model computed in two orders of f32
// summation. The source derives it from the longest inner product, the depth, epsilon and the scale
// of the logits.
double logits_tolerance(std::span<const float> logits, std::int64_t longest_product,
                        std::size_t layers);

// The relative error of a product's operands that moves its result as much as another order of f32
// summation does. For perturb().
double summation_roundoff(std::int64_t longest_product);

// logits_tolerance holds if every norm runs over at least so many channels and the model is well
// conditioned. Other models increase errors, and one draw of errors says little about the next; see
// the source.
inline constexpr std::int64_t kWideNorm = 32;

// Multiplies each value by 1 + e. The numbers e are independent and uniform in [-relative,
// relative], and the same for the same seed. If this is done to every matrix, it moves the logits
// as much as rounding the operands of their products does, up to a margin; see the source.
void perturb(std::span<float> values, double relative, std::uint64_t seed);

// How many such draws are taken, and the factor between the root mean square of their effects and
// the tolerance.
struct Draws {
  int count = 1;
  double margin = 2;
};
Draws draws_for(std::int64_t narrowest_norm);
// Where one draw of noise of the size of summation_roundoff moved the logits by `moved`, and
// logits_tolerance is `formula`: more draws unless the model is seen to be well conditioned.
Draws draws_after(double moved, double formula);

// The largest relative error of converting a value. 0 if `to` holds every value of `from`, else
// half a unit in the last place of `to`.
double roundoff(Dtype from, Dtype to);

struct Difference {
  double worst = 0;           // the largest |a - b|; NaN if either is
  std::int64_t position = 0;  // of the worst: the output, that is the token or the image
  std::int64_t word = 0;      // and the index in the vocabulary or of the class
};
Difference compare_logits(std::span<const float> a, std::span<const float> b,
                          std::int64_t vocab_size);

}  // namespace mnm
