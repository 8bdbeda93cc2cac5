// How long a submodel takes: a sum of measured parts, one for each layer at its width and a fixed
// one for what belongs to no layer.
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

// What one pass does: prefill, `length` tokens of each sequence at once; decode, the token after
// `length` cached ones.
struct Workload {
  Phase phase = Phase::kDecode;
  std::int64_t batch = 1;     // sequences
  std::int64_t length = 128;  // tokens
};

// Seconds of one pass, over several.
struct Timing {
  double median = 0;
  double spread = 0;  // between the quartiles
};
Timing timing_of(std::vector<double> seconds);  // of one or more

inline constexpr int kFixedPart = -1;  // as a layer: the embedding, the last norm and the head

struct LatencyPart {
  int layer = kFixedPart;
  Width width = 0;
  Timing seconds;
};

// A whole submodel, measured at a stretch: what the sum of its parts is held against.
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

  // Over the checks: what to expect of another submodel's prediction. 0 where there are none.
  double mean_error() const;   // relative, signed: the bias
  double rms_error() const;    // relative
  double worst_error() const;  // relative, the largest in size
};

// Seconds of any submodel. Where noise made a wider choice faster than a narrower one, both take
// what their mean is (isotonic regression), so that the sum never falls as a width grows; a width
// between two that were measured lies on the line between them. A skipped layer takes no time.
class LatencyTable {
 public:
  // Error where a layer or the fixed part is missing, or a time is no number.
  explicit LatencyTable(const std::vector<LatencyPart>& parts);

  std::size_t layers() const { return layers_.size(); }
  bool covers(const Widths& widths) const;  // of() has an answer
  // Seconds. Error where there are other layers, or one's width lies outside what was measured.
  double of(const Widths& widths) const;
  std::int64_t nanoseconds(const Widths& widths) const;  // rounded, at least 1

 private:
  double fixed_ = 0;
  std::vector<std::vector<std::pair<Width, double>>> layers_;  // ascending in both
};

}  // namespace mnm
