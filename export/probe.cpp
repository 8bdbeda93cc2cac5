#include "export/probe.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <bit>
#include <charconv>
#include <cmath>
#include <limits>
#include <map>
#include <random>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "model/safetensors.h"

namespace mnm {
namespace {

constexpr const char* kFormat = "mixnmatch-probe-2";

constexpr const char *kLogits = "logits", *kPixels = "pixel_values";

// [images, channels, height, width]
std::vector<std::int64_t> pixel_shape(const ExampleInputs& inputs) {
  std::vector<std::int64_t> shape = {inputs.count};
  shape.insert(shape.end(), inputs.each.shape.begin(), inputs.each.shape.end());
  return shape;
}

std::string head_of(const Probe& probe) {
  std::vector<TensorEntry> tensors(1);
  tensors[0].name = kLogits;
  tensors[0].shape = {probe.outputs(), probe.vocab_size};
  // Of one length, so that the file's size is known before.
  const auto decimal = [](double value) { return fmt::format("{:.8e}", value); };
  std::map<std::string, std::string> metadata = {
      {"format", kFormat},
      {"widths", probe.widths},
      {"fingerprint", probe.fingerprint},
      {"artifact", fmt::format("{:>32}", probe.artifact)},
      {"tolerance", decimal(probe.tolerance)},
      {"operand_tolerance", decimal(probe.operand_tolerance)},
      {"moved", decimal(probe.moved)}};
  if (probe.has_tokens()) {
    metadata["tokens"] = fmt::format("{}", fmt::join(probe.inputs.tokens, ","));
  } else {
    TensorEntry& pixels = tensors.emplace_back();
    pixels.name = kPixels;
    pixels.shape = pixel_shape(probe.inputs);
  }
  return safetensors_head(tensors, metadata);
}

double largest_of(std::span<const float> logits) {
  double largest = 0;
  for (const float logit : logits) {
    if (std::isfinite(logit)) largest = std::max(largest, std::fabs(static_cast<double>(logit)));
  }
  return largest;
}

// Whether a difference of logits, the largest of them `largest`, can be held to it. The text of one
// that is as large may be off by half of its ninth digit.
bool is_tolerance(double value, double largest) {
  if (largest == 0) return value == 0;
  return value > 0 && value <= largest * (1 + 1e-8);
}

bool is_distance(double value) { return value >= 0 && !std::isinf(value); }

template <typename Number>
Number parse(std::string_view text, const std::filesystem::path& path) {
  Number value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) {
    fail("cannot read the probe '{}': '{}' is no number", path.string(), text);
  }
  return value;
}

std::vector<std::int64_t> parse_tokens(std::string_view text, const std::filesystem::path& path) {
  std::vector<std::int64_t> tokens;
  while (!text.empty()) {
    const std::size_t comma = text.find(',');
    tokens.push_back(parse<std::int64_t>(text.substr(0, comma), path));
    if (comma == text.npos) break;
    text.remove_prefix(comma + 1);
    if (text.empty()) fail("cannot read the probe '{}': its tokens end in a comma", path.string());
  }
  return tokens;
}

}  // namespace

void write_probe(const Probe& probe, const std::filesystem::path& path) {
  const auto expected = static_cast<std::size_t>(probe.outputs() * probe.vocab_size);
  const double largest = largest_of(probe.logits);
  if (probe.logits.size() != expected || !is_tolerance(probe.tolerance, largest) ||
      !is_tolerance(probe.operand_tolerance, largest) || !is_distance(probe.moved)) {
    fail(
        "cannot write the probe '{}': it has {} logits and the tolerances {}, {} and {}, where {} "
        "logits, two numbers above 0 that are at most the largest of them, {}, and a finite number "
        "from 0 belong",
        path.string(), probe.logits.size(), probe.tolerance, probe.operand_tolerance, probe.moved,
        expected, largest);
  }
  OutputFile out(path);
  out.write(head_of(probe));
  std::vector<std::byte> bytes(probe.logits.size() * sizeof(float));
  from_f32(probe.logits, Dtype::kF32, bytes);
  out.write(bytes);
  if (!probe.has_tokens()) out.write(probe.inputs.bytes());
  out.close();
}

std::uint64_t probe_bytes(const Probe& probe) {
  const std::uint64_t logits =
      static_cast<std::uint64_t>(probe.vocab_size * probe.outputs()) * sizeof(float);
  return head_of(probe).size() + logits + probe.inputs.pixels.size() * sizeof(float);
}

namespace {

const TensorEntry* f32_tensor(const SafetensorsHeader& header, const char* name) {
  for (const TensorEntry& tensor : header.tensors) {
    if (tensor.name == name && tensor.dtype == Dtype::kF32) return &tensor;
  }
  return nullptr;
}

std::vector<float> values_of(const MappedFile& file, const SafetensorsHeader& header,
                             const TensorEntry& tensor) {
  std::vector<float> values((tensor.end - tensor.begin) / sizeof(float));
  to_f32(file.bytes().subspan(header.data_offset + tensor.begin, tensor.end - tensor.begin),
         Dtype::kF32, values);
  return values;
}

// The images of a probe that has no tokens.
ExampleInputs read_images(const MappedFile& file, const SafetensorsHeader& header) {
  const TensorEntry* const pixels = f32_tensor(header, kPixels);
  if (!pixels || header.tensors.size() != 2 || pixels->shape.size() != 4) {
    fail(
        "cannot read the probe '{}': it has no tokens, and its tensors are not 'logits' and "
        "'pixel_values' F32 [images, channels, height, width]",
        file.path().string());
  }
  ExampleInputs images;
  images.each = {InputType::kPixels, {pixels->shape.begin() + 1, pixels->shape.end()}};
  images.count = pixels->shape.front();
  images.pixels = values_of(file, header, *pixels);
  return images;
}

}  // namespace

Probe read_probe(const std::filesystem::path& path) {
  const MappedFile file(path);
  const SafetensorsHeader header =
      parse_safetensors(file.bytes(), file.bytes().size(), path.string());
  const auto field = [&](const char* key) -> const std::string& {
    const auto found = header.metadata.find(key);
    if (found == header.metadata.end()) {
      fail("cannot read the probe '{}': its metadata lack '{}'", path.string(), key);
    }
    return found->second;
  };
  if (field("format") != kFormat) {
    fail("cannot read the probe '{}': its format is '{}', where '{}' is known", path.string(),
         field("format"), kFormat);
  }
  Probe probe;
  probe.widths = field("widths");
  probe.fingerprint = field("fingerprint");
  if (header.metadata.contains("tokens")) {
    probe.inputs = ExampleInputs::of_tokens(parse_tokens(field("tokens"), path));
  } else {
    probe.inputs = read_images(file, header);
  }
  probe.artifact = field("artifact");
  for (const auto& [key, value] : {std::pair("tolerance", &probe.tolerance),
                                   std::pair("operand_tolerance", &probe.operand_tolerance),
                                   std::pair("moved", &probe.moved)}) {
    *value = parse<double>(field(key), path);
  }
  if (!is_distance(probe.moved)) {
    fail("cannot read the probe '{}': its moved is {}", path.string(), probe.moved);
  }
  const TensorEntry* logits = f32_tensor(header, kLogits);
  if (logits == nullptr || header.tensors.size() != (probe.has_tokens() ? 1 : 2) ||
      logits->shape.size() != 2 || logits->shape[0] != probe.outputs()) {
    fail("cannot read the probe '{}': it must hold {}, 'logits' F32 [{}, {}]", path.string(),
         probe.has_tokens() ? "one tensor" : "beside the images one tensor", probe.outputs(),
         probe.has_tokens() ? "vocabulary" : "classes");
  }
  probe.vocab_size = logits->shape[1];
  for (const std::int64_t token : probe.inputs.tokens) {
    if (token < 0 || token >= probe.vocab_size) {
      fail("cannot read the probe '{}': token {} is outside the vocabulary of {}", path.string(),
           token, probe.vocab_size);
    }
  }
  probe.logits = values_of(file, header, *logits);
  const double largest = largest_of(probe.logits);
  for (const auto& [key, value] : {std::pair("tolerance", probe.tolerance),
                                   std::pair("operand_tolerance", probe.operand_tolerance)}) {
    if (!is_tolerance(value, largest)) {
      fail("cannot read the probe '{}': its {} is {}, where its largest logit is {}", path.string(),
           key, value, largest);
    }
  }
  return probe;
}

// Rounding errors of f32 (unit roundoff u = 2^-24) taken as independent and centred, the assumption
// under which Higham and Mary (2019, "A new approach to probabilistic rounding error analysis")
// replace the worst case n u by about sqrt(n) u.
//
// One product. A sum of n terms of size s has partial sums of size sqrt(k) s; each addition errs by
// at most u times its partial sum, by u / sqrt(3) of it in the mean square. Summed over k, that is
// u s n / sqrt(6): relative to the sum's own size sqrt(n) s, u sqrt(n / 6). Between two orders of
// summation, sqrt(2) times that: u sqrt(n / 3).
//
// One branch (attention or FFN) chains at most three such products between norm and residual
// (values, mixing, out; gate and up, down); their errors add as squares: u sqrt(n).
//
// The depth. A branch hands on the relative error that it is given, no larger (its norm takes the
// scale out), and the errors of the 2 `layers` branches and of the readout may all point the same
// way, because the later ones see the earlier ones' result: they are added. So relative to the
// logits' scale
//
//     tolerance = u sqrt(n) (2 layers + 1) max |logit|.
//
// The maximum, not the mean square, is the scale because we look at the worst of many logits, whose
// error is as far out in its distribution as the largest logit is in its own.
//
// The norm's divisor. That a norm hands on the relative error that it is given is true of a typical
// vector. One whose n channels are all small, each off by as much as ever, comes out with its error
// times 1 / (its rms over the typical rms), call that A. For n independent normal channels the
// share of vectors with A above a is P(chi2_n < n / a^2), about (n / 2 a^2)^(n/2) / Gamma(n/2 + 1):
// above 2 once in 200,000 for n = 32, once in 11 for n = 4. For n = 2 it falls as 1 / a^2 only, so
// among the tokens and layers of a probe there is one with A = 10, and y silu(z), Mamba-2's gated
// output, is small where either factor is. So the tolerance holds from n = kWideNorm on. Below,
// how far such errors move the logits is measured, with those very norms: see perturb().
//
// The conditioning. That a branch hands on the relative error that it is given is true of trained
// models, and not of any: a softmax whose scores are large turns an error of a score into a
// relative error of its weights that is as many times larger, and so do products that cancel. With
// weights drawn with a standard deviation of 0.2, errors grow from layer to layer. So one draw of
// noise is run of every model, and where it does not stay well below this tolerance, it is
// measured as it is for narrow norms: see draws_after().
double logits_tolerance(std::span<const float> logits, std::int64_t longest_product,
                        std::size_t layers) {
  const double branches = 2 * static_cast<double>(layers) + 1;
  return largest_of(logits) * 0x1p-24 * std::sqrt(static_cast<double>(longest_product)) * branches;
}

// Two orders of summation move a product by u sqrt(n / 3) of it, above; operands that are off by e,
// uniform in [-r, r], by r / sqrt(3), below.
double summation_roundoff(std::int64_t longest_product) {
  return 0x1p-24 * std::sqrt(static_cast<double>(longest_product));
}

// How far rounding what is multiplied with a matrix moves the logits hangs on the model more than
// on any formula (random weights pass an error on with interest), so it is measured, as in Monte
// Carlo arithmetic (Parker, 1997): by an error of the same size, put where it acts alike.
//
// Row i of a product is sum_j W_ij x_j. Operands x_j (1 + e_j), e_j independent, of mean square
// e^2, move it by sum_j W_ij x_j e_j, of variance e^2 sum_j (W_ij x_j)^2. Weights W_ij (1 + e_ij)
// move it by a sum of the same variance. So each row of each product errs as much in either case,
// and the later layers pass on what they are given.
//
// What differs is the draw: one sum of many errors against another of equal spread. The probe's
// largest difference, over its tokens and words, is some three to four standard deviations out in
// either; to be twice as far out as in the draw at hand, a difference would have to be six or more.
// Hence a margin of 2.
//
// Where one narrow norm decides the worst difference, that is not the largest of many errors but
// one of n - 1 dimensions, of which a draw may be anything: with n = 2 it is more than twice
// another draw 30 % of the time. Over the root mean square of k draws it is distributed as
// Student's t with k degrees of freedom: with 8, past a margin of 4 once in 250. Hence draws_for().
//
// The errors of rounding to the nearest with unit roundoff u are at most u, so `relative` is u. Of
// q8_0, see GgufExport::operand_roundoff.
void perturb(std::span<float> values, double relative, std::uint64_t seed) {
  std::mt19937_64 random(seed);  // its numbers are the standard's, the same everywhere
  for (float& value : values) {
    const double uniform = static_cast<double>(random() >> 11) * 0x1p-53;  // [0, 1)
    value = static_cast<float>(value * (1 + relative * (2 * uniform - 1)));
  }
}

Draws draws_for(std::int64_t narrowest_norm) {
  if (narrowest_norm >= kWideNorm) return {};
  return {.count = 8, .margin = 4};
}

// A model is well conditioned where a draw of such noise moves it by at most a quarter of the
// formula. Were the difference of two orders of summation past the formula all the same, it would
// be four times that draw. Measured were 90 Llamas of 2 to 8 layers, whose weights have a standard
// deviation of 0.02, 0.2 or 1. Their logits in f32 are off from those in f64 by at most 0.65 of the
// root mean square of eight draws, so in two orders of summation by at most 0.92 of it, and the
// least of the eight is 0.24 of it. With 0.02, that root mean square is 0.09 to 0.24 of the
// formula, with 0.2, 0.67 to 1.5 of it, and with 1, 2 to 24 of it.
Draws draws_after(double moved, double formula) {
  if (moved <= formula / 4) return {};
  return {.count = 8, .margin = 4};
}

double roundoff(Dtype from, Dtype to) {
  if (from == to || to == Dtype::kF32) return 0;
  return to == Dtype::kBF16 ? 0x1p-8 : 0x1p-11;
}

Difference compare_logits(std::span<const float> a, std::span<const float> b,
                          std::int64_t vocab_size) {
  if (a.size() != b.size() || vocab_size < 1) {
    fail("cannot compare {} logits with {}, over a vocabulary of {}", a.size(), b.size(),
         vocab_size);
  }
  Difference result;
  for (std::size_t i = 0; i < a.size(); ++i) {
    // Equal infinities differ by nothing; NaN differs from all, and no finite number hides it.
    const double difference =
        a[i] == b[i] ? 0 : std::fabs(static_cast<double>(a[i]) - static_cast<double>(b[i]));
    if (difference > result.worst || std::isnan(difference)) {
      result.worst = difference;
      result.position = static_cast<std::int64_t>(i) / vocab_size;
      result.word = static_cast<std::int64_t>(i) % vocab_size;
    }
    if (std::isnan(difference)) break;
  }
  return result;
}

}  // namespace mnm
