// How long a submodel takes. The time is a sum of measured parts: one for each layer at its width,
// and a fixed one for everything that belongs to no layer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "model/dtype.h"
#include "model/widths.h"

namespace mnm {

enum class Phase : std::uint8_t { kPrefill, kDecode };
inline constexpr std::string_view kPhases[] = {"prefill", "decode"};
std::string_view to_string(Phase phase);
Phase parse_phase(std::string_view name);  // UsageError

// What one pass does. Prefill computes `length` tokens of each sequence at once. Decode computes
// the token after `length` cached tokens.
struct Workload {
  Phase phase = Phase::kDecode;
  std::int64_t batch = 1;     // sequences
  std::int64_t length = 128;  // tokens
};

// Seconds of one pass, summarised over several passes.
struct Timing {
  double median = 0;
  double spread = 0;  // between the quartiles
};
Timing timing_of(std::vector<double> seconds);  // of one or more
// The standard error of the median of `repeats` times, in seconds; NaN of fewer than 3. As if they
// were normal: their deviation is spread / 1.349, a median's error sqrt(pi / 2) times a mean's.
double median_error(const Timing& seconds, std::int64_t repeats);

inline constexpr int kFixedPart = -1;  // as a layer: the embedding, the last norm and the head

struct LatencyPart {
  int layer = kFixedPart;
  Width width = 0;
  Timing seconds;
};

// A submodel that was measured as a whole. The sum of its parts is compared with this time.
struct LatencyCheck {
  Widths widths;
  double predicted = 0;  // seconds
  Timing seconds;
  double error() const { return predicted / seconds.median - 1; }  // relative
};

struct Latency {
  std::string device;
  Dtype dtype = Dtype::kF32;
  Workload workload;
  std::int64_t repeats = 0;  // that each median is of
  std::vector<LatencyPart> parts;
  std::vector<LatencyCheck> checks;

  // The error of predictions, over the checks. 0 if there are no checks.
  double mean_error() const;   // relative, signed: the bias
  double rms_error() const;    // relative
  double worst_error() const;  // relative, the largest in size
};

// Predicts the time of any submodel.
//
// - If noise made a wider choice faster than a narrower one, both get their mean (isotonic
//   regression). So the sum never falls as a layer gets wider.
// - A width between two measured widths lies on the line between them.
// - A skipped layer takes no time.
class LatencyTable {
 public:
  // Error if a layer or the fixed part is missing, or a time is not a number.
  explicit LatencyTable(const std::vector<LatencyPart>& parts);

  std::size_t layers() const { return layers_.size(); }
  bool covers(const Widths& widths) const;  // whether of() has an answer
  // Seconds. Error if the number of layers differs, or a width lies outside the range that was
  // measured.
  double of(const Widths& widths) const;
  std::int64_t nanoseconds(const Widths& widths) const;  // rounded, at least 1

 private:
  double fixed_ = 0;
  std::vector<std::vector<std::pair<Width, double>>> layers_;  // ascending in both
};

}  // namespace mnm
