// Models that pass rounding errors on with interest: the tolerance of their exports is measured, so
// that what computes them correctly agrees, and what is wrong in one neuron does not.
#include <gtest/gtest.h>

#include <algorithm>

#include "export/probe.h"
#include "export/target.h"
#include "tests/end_to_end/workshop.h"
#include "tests/export/reference_llama.h"
#include "tests/support/python.h"

namespace mnm {
namespace {

using test::Result;
using test::Running;
using test::TempDir;

constexpr int kModels = 4;
const std::vector<int> kWidths = {128, 64, 128};

// Weights of a standard deviation of 1: scores of attention are in the hundreds, and its softmax
// turns an error of a score into as many times that error. Norms are wide.
test::TinyLlama badly_conditioned(std::uint32_t seed) {
  test::TinyLlama llama;
  llama.seed = seed;
  llama.layers = static_cast<int>(kWidths.size());
  llama.hidden = 64;
  llama.full = 128;
  llama.granularities = {64, 128};
  llama.spread = 1.7f;
  return llama;
}

TEST(Conditioning, IsMeasuredOfEveryModel) {
  TempDir dir;
  int past_formula = 0;
  std::string exports;
  for (int i = 0; i < kModels; ++i) {
    SCOPED_TRACE(i);
    const test::TinyLlama llama = badly_conditioned(static_cast<std::uint32_t>(i + 1));
    const auto model = llama.write(dir / ("model" + std::to_string(i)));
    const auto out = dir / ("out" + std::to_string(i));
    test::expect_done({"export", model.string(), "--widths", "128,64,128", "--out", out.string(),
                       "--threads", "1"});
    const Probe probe = read_probe(out / kProbeFile);
    const test::ReferenceLlama reference(llama);  // in f64
    const auto off = [&](const std::vector<int>& widths) {
      return compare_logits(probe.logits, reference.logits(probe.inputs.tokens, widths),
                            llama.vocab)
          .worst;
    };
    const double rounding = off(kWidths);
    EXPECT_LE(rounding, probe.tolerance);
    past_formula += rounding > logits_tolerance(probe.logits, llama.full, kWidths.size()) ? 1 : 0;
    for (std::size_t layer = 0; layer < kWidths.size(); ++layer) {
      std::vector<int> narrower = kWidths;
      --narrower[layer];
      EXPECT_GT(off(narrower), probe.tolerance) << layer;
    }
    exports.append(" ").append(out.string());
  }
  EXPECT_GT(past_formula, 0) << "none of these is badly conditioned";

  if (!test::python_has("transformers")) GTEST_SKIP() << test::kNoPython;
  const Result answer =
      Running({"/bin/sh", "-c", MNM_SOURCE_DIR "/scripts/verify transformers" + exports}).wait();
  EXPECT_EQ(answer.status, 0) << answer.out << answer.err;
}

}  // namespace
}  // namespace mnm
