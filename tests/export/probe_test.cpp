#include "export/probe.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <map>
#include <random>
#include <span>

#include "base/error.h"
#include "model/safetensors.h"
#include "tests/support/error_of.h"
#include "tests/support/temp_dir.h"
#include "tests/support/tensors.h"

namespace mnm {
namespace {

using test::slurp;
using test::spew;
using test::TempDir;

Probe sample() {
  Probe probe;
  probe.widths = "512x4,256x8";
  probe.fingerprint = "00112233445566778899aabbccddeeff";
  probe.inputs = ExampleInputs::of_tokens({3, 0, 2});
  probe.vocab_size = 4;
  for (int i = 0; i < 12; ++i) probe.logits.push_back(0.1f * static_cast<float>(i) - 0.7f);
  probe.artifact = "ffeeddccbbaa99887766554433221100";
  probe.tolerance = 1.25e-4;
  probe.operand_tolerance = 0.5;
  probe.moved = 0.25;
  return probe;
}

TEST(Probe, ComesBackAsItWasWritten) {
  TempDir dir;
  const Probe probe = sample();
  write_probe(probe, dir / "p");
  const Probe back = read_probe(dir / "p");
  EXPECT_EQ(back.widths, probe.widths);
  EXPECT_EQ(back.fingerprint, probe.fingerprint);
  EXPECT_EQ(back.artifact, probe.artifact);
  EXPECT_EQ(back.inputs.tokens, probe.inputs.tokens);
  EXPECT_EQ(back.vocab_size, probe.vocab_size);
  EXPECT_EQ(back.logits, probe.logits);
  EXPECT_EQ(back.tolerance, probe.tolerance);
  EXPECT_EQ(back.operand_tolerance, probe.operand_tolerance);
  EXPECT_EQ(back.moved, probe.moved);
  write_probe(probe, dir / "again");
  EXPECT_EQ(slurp(dir / "p"), slurp(dir / "again"));
}

Probe sample_of_images() {
  Probe probe = sample();
  probe.inputs = ExampleInputs::of({InputType::kPixels, {2, 1, 3}}, 3);
  for (std::size_t i = 0; i < probe.inputs.pixels.size(); ++i) {
    probe.inputs.pixels[i] = 0.25f * static_cast<float>(i) - 1;
  }
  return probe;
}

TEST(Probe, OfImagesComesBackAsItWasWritten) {
  TempDir dir;
  const Probe probe = sample_of_images();
  write_probe(probe, dir / "p");
  EXPECT_EQ(std::filesystem::file_size(dir / "p"), probe_bytes(probe));
  const Probe back = read_probe(dir / "p");
  EXPECT_EQ(back.inputs.each, probe.inputs.each);
  EXPECT_EQ(back.inputs.count, 3);
  EXPECT_EQ(back.inputs.pixels, probe.inputs.pixels);
  EXPECT_EQ(back.logits, probe.logits);
  EXPECT_EQ(back.vocab_size, 4);
  EXPECT_EQ(back.outputs(), 3);
}

TEST(Probe, OfImagesMustHaveTwoTensorsThatFit) {
  TempDir dir;
  write_probe(sample_of_images(), dir / "p");
  const std::string good = slurp(dir / "p");
  for (const auto& [from, to] :
       std::vector<std::pair<std::string, std::string>>{{"pixel_values", "pixel_valuez"},
                                                        {"[3,2,1,3]", "[2,3,1,3]"},
                                                        {"[3,2,1,3]", "[3,2,3]  "}}) {
    std::string bad = good;
    const std::size_t at = bad.find(from);
    ASSERT_NE(at, bad.npos) << from;
    bad.replace(at, from.size(), to);
    spew(dir / "bad", bad);
    const std::string error = test::error_of([&] { read_probe(dir / "bad"); });
    EXPECT_TRUE(test::contains(error, "cannot read the probe")) << to << ": " << error;
  }
}

TEST(Probe, SizeIsKnownBeforeTheLogitsAre) {
  TempDir dir;
  Probe probe = sample();
  Probe planned = probe;
  planned.logits.clear();
  planned.artifact.clear();
  planned.tolerance = planned.operand_tolerance = planned.moved = 0;
  for (double tolerance : {3.14159265358979e-5, 1e-99, 2.0 / 3, 0.5}) {
    probe.tolerance = tolerance;
    write_probe(probe, dir / "p");
    EXPECT_EQ(slurp(dir / "p").size(), probe_bytes(planned)) << tolerance;
  }
}

TEST(Probe, RefusesToWriteNonsense) {
  TempDir dir;
  Probe probe = sample();
  probe.logits.pop_back();
  EXPECT_THROW(write_probe(probe, dir / "p"), Error);
  probe = sample();
  for (double* bound : {&probe.tolerance, &probe.operand_tolerance, &probe.moved}) {
    for (double wrong : {-1.0, std::nan(""), HUGE_VAL}) {
      probe = sample();
      *bound = wrong;
      EXPECT_THROW(write_probe(probe, dir / "p"), Error);
    }
  }
}

TEST(Probe, RefusesBoundsThatTellNothing) {
  TempDir dir;
  for (double wrong : {0.0, 1.0, 1e300}) {  // the largest logit is 0.7
    for (double Probe::*bound : {&Probe::tolerance, &Probe::operand_tolerance}) {
      Probe probe = sample();
      probe.*bound = wrong;
      EXPECT_THROW(write_probe(probe, dir / "p"), Error) << wrong;
    }
  }
  Probe nothing = sample();
  nothing.logits.assign(nothing.logits.size(), 0);
  EXPECT_THROW(write_probe(nothing, dir / "p"), Error)
      << "all logits are 0, and the bounds are not";
  nothing.tolerance = nothing.operand_tolerance = 0;
  write_probe(nothing, dir / "p");
  EXPECT_EQ(read_probe(dir / "p").tolerance, 0);
}

TEST(Probe, RefusesToReadNonsense) {
  const std::map<std::string, std::string> good = {{"format", "mixnmatch-probe-2"},
                                                   {"widths", "4"},
                                                   {"fingerprint", "00"},
                                                   {"artifact", "11"},
                                                   {"tokens", "1,2"},
                                                   {"tolerance", "1e-3"},
                                                   {"operand_tolerance", "1e-2"},
                                                   {"moved", "0"}};
  const auto file = [&](std::map<std::string, std::string> metadata, test::TestTensor tensor) {
    return test::safetensors_bytes(std::vector{std::move(tensor)}, metadata);
  };
  const auto with = [&](const char* key, const char* value) {
    auto metadata = good;
    metadata[key] = value;
    return metadata;
  };
  const auto without = [&](const char* key) {
    auto metadata = good;
    metadata.erase(key);
    return metadata;
  };
  const test::TestTensor logits = test::random_tensor("logits", {2, 3}, 1);
  TempDir dir;
  spew(dir / "p", file(good, logits));
  EXPECT_NO_THROW(read_probe(dir / "p"));
  const std::pair<const char*, std::string> cases[] = {
      {"no format", file(without("format"), logits)},
      {"another format", file(with("format", "mixnmatch-probe-1"), logits)},
      {"no widths", file(without("widths"), logits)},
      {"no fingerprint", file(without("fingerprint"), logits)},
      {"no artifact", file(without("artifact"), logits)},
      {"no tokens", file(without("tokens"), logits)},
      {"no tolerance", file(without("tolerance"), logits)},
      {"no operand tolerance", file(without("operand_tolerance"), logits)},
      {"no distance", file(without("moved"), logits)},
      {"fewer tokens", file(with("tokens", "1"), logits)},
      {"more tokens", file(with("tokens", "1,2,0"), logits)},
      {"a comma too many", file(with("tokens", "1,2,"), logits)},
      {"an empty token", file(with("tokens", "1,,2"), logits)},
      {"token no number", file(with("tokens", "1,x"), logits)},
      {"token with a tail", file(with("tokens", "1,2 "), logits)},
      {"token outside", file(with("tokens", "1,3"), logits)},
      {"token negative", file(with("tokens", "1,-1"), logits)},
      {"token overflows", file(with("tokens", "1,99999999999999999999"), logits)},
      {"tolerance no number", file(with("tolerance", "small"), logits)},
      {"tolerance negative", file(with("tolerance", "-1"), logits)},
      {"tolerance zero", file(with("tolerance", "0"), logits)},
      {"tolerance absurd", file(with("tolerance", "1e300"), logits)},
      {"tolerance above the logits", file(with("tolerance", "1.001"), logits)},
      {"operand tolerance zero", file(with("operand_tolerance", "0"), logits)},
      {"operand tolerance absurd", file(with("operand_tolerance", "1e300"), logits)},
      {"tolerance NaN", file(with("tolerance", "nan"), logits)},
      {"tolerance infinite", file(with("tolerance", "inf"), logits)},
      {"operand tolerance negative", file(with("operand_tolerance", "-1"), logits)},
      {"distance NaN", file(with("moved", "nan"), logits)},
      {"another name", file(good, test::random_tensor("logit", {2, 3}, 1))},
      {"another dtype", file(good, test::random_tensor("logits", {2, 3}, 1, 1, Dtype::kBF16))},
      {"three dimensions", file(good, test::random_tensor("logits", {2, 3, 1}, 1))},
      {"no file format", "hello"},
      {"empty", ""},
  };
  for (const auto& [name, bytes] : cases) {
    spew(dir / "p", bytes);
    EXPECT_THROW(read_probe(dir / "p"), Error) << name;
  }
  const std::string whole = file(good, logits);
  for (std::size_t length = 0; length < whole.size(); ++length) {
    spew(dir / "p", whole.substr(0, length));
    EXPECT_THROW(read_probe(dir / "p"), Error) << length;
  }
}

TEST(CompareLogits, FindsTheWorst) {
  const float nan = std::nanf(""), inf = std::numeric_limits<float>::infinity();
  struct Case {
    std::vector<float> a, b;
    double worst;
    std::int64_t position, word;
  };
  const Case cases[] = {
      {{}, {}, 0, 0, 0},
      {{1, 2, 3, 4, 5, 6}, {1, 2, 3, 4, 5, 6}, 0, 0, 0},
      {{1, 2, 3, 4, 5, 6}, {1, 2.5f, 3, 4, 3, 6}, 2, 1, 1},
      {{inf, -inf, 0}, {inf, -inf, 0}, 0, 0, 0},
      {{inf, 0, 0}, {-inf, 0, 0}, HUGE_VAL, 0, 0},
      {{0, 0, 1}, {0, 0, inf}, HUGE_VAL, 0, 2},
      {{9, nan, 0, 0, 0, 0}, {0, 0, 0, 0, 0, 100}, NAN, 0, 1},
      {{0, 0, 0}, {0, 7, nan}, NAN, 0, 2},
      {{nan, 0, 0}, {nan, 0, 0}, NAN, 0, 0},
      {{inf, 0, 0, nan, 0, 0}, {0, 0, 0, 0, 0, 0}, NAN, 1, 0},
  };
  for (const Case& c : cases) {
    const Difference found = compare_logits(c.a, c.b, 3);
    SCOPED_TRACE(testing::PrintToString(c.a) + " " + testing::PrintToString(c.b));
    if (std::isnan(c.worst)) {
      EXPECT_TRUE(std::isnan(found.worst));
    } else {
      EXPECT_EQ(found.worst, c.worst);
    }
    EXPECT_EQ(found.position, c.position);
    EXPECT_EQ(found.word, c.word);
  }
  EXPECT_THROW(compare_logits(std::vector<float>(3), std::vector<float>(4), 3), Error);
  EXPECT_THROW(compare_logits(std::vector<float>(3), std::vector<float>(3), 0), Error);
}

void round_to(Dtype dtype, std::vector<float>& values) {
  std::vector<std::byte> bytes(values.size() * size_of(dtype));
  from_f32(values, dtype, bytes);
  to_f32(bytes, dtype, values);
}

// A pre-norm residual stack of FFNs and a readout, with nothing but sums of products: enough to see
// how rounding grows with the products' length and the depth.
struct Stack {
  std::size_t hidden, inner, layers, vocab = 40;
  std::vector<std::vector<float>> up, down;  // [layers][inner * hidden], [layers][hidden * inner]
  std::vector<float> head;                   // [vocab * hidden]

  Stack(std::size_t d, std::size_t n, std::size_t depth, std::uint32_t seed)
      : hidden(d), inner(n), layers(depth) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal;
    const auto draw = [&](std::size_t size, std::size_t fan_in) {
      std::vector<float> values(size);
      for (float& v : values) v = normal(random) / std::sqrt(static_cast<float>(fan_in));
      return values;
    };
    for (std::size_t i = 0; i < layers; ++i) {
      up.push_back(draw(inner * hidden, hidden));
      down.push_back(draw(hidden * inner, inner));
    }
    head = draw(vocab * hidden, hidden);
  }

  // All sums from the first term to the last, or from the last to the first; what is multiplied
  // with a matrix is rounded to `operands`.
  std::vector<float> logits(bool backwards, Dtype operands = Dtype::kF32) const {
    const auto product = [&](const std::vector<float>& matrix, std::vector<float> x) {
      round_to(operands, x);
      std::vector<float> y(matrix.size() / x.size());
      for (std::size_t r = 0; r < y.size(); ++r) {
        const float* row = &matrix[r * x.size()];
        for (std::size_t c = 0; c < x.size(); ++c) {
          const std::size_t k = backwards ? x.size() - 1 - c : c;
          y[r] += row[k] * x[k];
        }
      }
      return y;
    };
    const auto norm = [](std::vector<float> x) {
      float sum = 0;
      for (float v : x) sum += v * v;
      const float scale = 1 / std::sqrt(sum / static_cast<float>(x.size()));
      for (float& v : x) v *= scale;
      return x;
    };
    std::vector<float> all;
    for (int token = 0; token < 4; ++token) {
      std::vector<float> h(hidden);
      for (std::size_t i = 0; i < hidden; ++i) {
        h[i] = std::sin(static_cast<float>(i * 7 + static_cast<std::size_t>(token) * 13));
      }
      for (std::size_t l = 0; l < layers; ++l) {
        std::vector<float> a = product(up[l], norm(h));
        for (float& v : a) v = v / (1 + std::exp(-v));
        const std::vector<float> out = product(down[l], a);
        for (std::size_t i = 0; i < hidden; ++i) h[i] += out[i];
      }
      const std::vector<float> words = product(head, norm(h));
      all.insert(all.end(), words.begin(), words.end());
    }
    return all;
  }
};

TEST(LogitsTolerance, LetsOrdersOfSummationPassAndOneWrongNeuronFail) {
  struct Case {
    std::size_t hidden, inner, layers;
  };
  const Case cases[] = {{16, 32, 1},   {32, 64, 2},   {64, 256, 8},
                        {64, 256, 12}, {32, 2048, 2}, {128, 512, 2}};
  for (const Case& c : cases) {
    for (std::uint32_t seed : {1u, 2u}) {
      const Stack stack(c.hidden, c.inner, c.layers, seed);
      const std::vector<float> logits = stack.logits(false);
      const auto vocab = static_cast<std::int64_t>(stack.vocab);
      const double tolerance =
          logits_tolerance(logits, static_cast<std::int64_t>(c.inner), c.layers);
      SCOPED_TRACE(fmt::format("{}x{}, {} layers, seed {}", c.hidden, c.inner, c.layers, seed));
      const double rounding = compare_logits(logits, stack.logits(true), vocab).worst;
      EXPECT_LE(rounding, tolerance);
      EXPECT_GE(rounding, tolerance / 1000);  // no looser than it must be

      Stack wrong = stack;  // one neuron of one layer, as a slice that is off by one leaves it out
      for (std::size_t i = 0; i < c.hidden; ++i) {
        wrong.up[c.layers / 2][(c.inner - 1) * c.hidden + i] = 0;
      }
      EXPECT_GT(compare_logits(logits, wrong.logits(false), vocab).worst, 3 * tolerance);

      Stack swapped = stack;  // two rows in each other's place
      for (std::size_t i = 0; i < c.hidden; ++i) {
        std::swap(swapped.up.back()[i], swapped.up.back()[c.hidden + i]);
      }
      EXPECT_GT(compare_logits(logits, swapped.logits(false), vocab).worst, 3 * tolerance);

      for (Dtype dtype : {Dtype::kBF16, Dtype::kF16}) {
        const double roundoff = mnm::roundoff(Dtype::kF32, dtype);
        Stack noisy = stack;
        std::uint64_t tensor = 0;
        for (auto& matrix : noisy.up) perturb(matrix, roundoff, ++tensor);
        for (auto& matrix : noisy.down) perturb(matrix, roundoff, ++tensor);
        perturb(noisy.head, roundoff, ++tensor);
        const double measured = compare_logits(logits, noisy.logits(false), vocab).worst;
        const double moved = compare_logits(logits, stack.logits(false, dtype), vocab).worst;
        EXPECT_LE(moved, tolerance + draws_for(kWideNorm).margin * measured);
        EXPECT_GE(moved, measured / draws_for(kWideNorm).margin);  // no looser than it must be
        EXPECT_GT(moved, 10 * tolerance);
      }
    }
  }
}

// What follows Mamba-2's scan: y silu(z), its norm over a few channels, and a product.
struct Gated {
  static constexpr std::size_t kIn = 48, kTokens = 64, kWords = 20;
  std::vector<float> y, z, head, x;  // [channels * kIn] twice, [kWords * channels], [kTokens * kIn]

  Gated(std::size_t channels, std::uint32_t seed) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal;
    const auto draw = [&](std::size_t size, std::size_t fan_in) {
      std::vector<float> values(size);
      for (float& v : values) v = normal(random) / std::sqrt(static_cast<float>(fan_in));
      return values;
    };
    y = draw(channels * kIn, kIn), z = draw(channels * kIn, kIn);
    head = draw(kWords * channels, channels), x = draw(kTokens * kIn, 1);
  }

  std::vector<float> logits(bool backwards) const {
    const auto product = [&](const std::vector<float>& matrix, std::span<const float> in) {
      std::vector<float> out(matrix.size() / in.size());
      for (std::size_t r = 0; r < out.size(); ++r) {
        for (std::size_t c = 0; c < in.size(); ++c) {
          const std::size_t k = backwards ? in.size() - 1 - c : c;
          out[r] += matrix[r * in.size() + k] * in[k];
        }
      }
      return out;
    };
    std::vector<float> all;
    for (std::size_t token = 0; token < kTokens; ++token) {
      const auto in = std::span(x).subspan(token * kIn, kIn);
      std::vector<float> gated = product(y, in);
      const std::vector<float> gate = product(z, in);
      float sum = 0;
      for (std::size_t i = 0; i < gated.size(); ++i) {
        gated[i] *= gate[i] / (1 + std::exp(-gate[i]));
        sum += gated[i] * gated[i];
      }
      for (float& v : gated) v /= std::sqrt(sum / static_cast<float>(gated.size()));
      const std::vector<float> words = product(head, gated);
      all.insert(all.end(), words.begin(), words.end());
    }
    return all;
  }
};

// The formula holds from kWideNorm on and not for 2 channels; draws hold for all.
TEST(LogitsTolerance, OfNarrowNormsIsMeasured) {
  for (const std::size_t channels : {2u, 4u, 8u, 16u, 32u}) {
    int past_formula = 0;
    for (std::uint32_t seed = 1; seed <= 100; ++seed) {
      const Gated gated(channels, seed);
      const std::vector<float> logits = gated.logits(false);
      const double rounding = compare_logits(logits, gated.logits(true), Gated::kWords).worst;
      const double formula = logits_tolerance(logits, Gated::kIn, 1);
      const Draws draws = draws_for(static_cast<std::int64_t>(channels));
      double squares = 0;
      for (int draw = 0; draw < draws.count; ++draw) {
        Gated noisy = gated;
        std::uint64_t tensor = static_cast<std::uint64_t>(draw) * 3;
        for (auto* matrix : {&noisy.y, &noisy.z, &noisy.head}) {
          perturb(*matrix, summation_roundoff(Gated::kIn), ++tensor);
        }
        squares += std::pow(compare_logits(logits, noisy.logits(false), Gated::kWords).worst, 2);
      }
      const double measured = draws.margin * std::sqrt(squares / draws.count);
      EXPECT_LE(rounding, measured) << channels << " channels, seed " << seed;
      EXPECT_GE(rounding, measured / 1000) << channels << " channels, seed " << seed;
      past_formula += rounding > formula ? 1 : 0;
    }
    if (channels >= kWideNorm) {
      EXPECT_EQ(past_formula, 0);
    } else if (channels == 2) {
      EXPECT_GT(past_formula, 10);
    }
  }
}

TEST(Perturb, IsIndependentUniformAndTheSameEachTime) {
  const std::vector<float> ones(100'000, 1.0f);
  std::vector<float> a = ones, again = ones, other = ones;
  perturb(a, 0x1p-8, 1);
  perturb(again, 0x1p-8, 1);
  perturb(other, 0x1p-8, 2);
  EXPECT_EQ(a, again);
  double sum = 0, squares = 0, both = 0;
  for (std::size_t i = 0; i < ones.size(); ++i) {
    const double e = (a[i] - 1.0) * 0x1p8, f = (other[i] - 1.0) * 0x1p8;
    EXPECT_LE(std::fabs(e), 1 + 0x1p-15);
    sum += e;
    squares += e * e;
    both += e * f;
  }
  // Mean square 1/3, mean and mean product 0, each within five standard errors of 100,000 draws.
  const auto n = static_cast<double>(ones.size());
  EXPECT_NEAR(sum / n, 0, 5 * std::sqrt(1.0 / 3 / n));
  EXPECT_NEAR(squares / n, 1.0 / 3, 5 * std::sqrt(4.0 / 45 / n));
  EXPECT_NEAR(both / n, 0, 5 * std::sqrt(1.0 / 9 / n));
  std::vector<float> still = {0.0f, -2.5f};
  perturb(still, 0, 1);
  EXPECT_EQ(still, (std::vector<float>{0.0f, -2.5f}));
}

TEST(LogitsTolerance, IsTrustedWhereADrawStaysWellBelowIt) {
  EXPECT_EQ(draws_after(0.25, 1).count, 1);
  EXPECT_EQ(draws_after(0, 0).count, 1);
  for (const double moved : {0.26, 1.0, 1e9, std::numeric_limits<double>::quiet_NaN()}) {
    EXPECT_EQ(draws_after(moved, 1).count, draws_for(2).count) << moved;
    EXPECT_EQ(draws_after(moved, 1).margin, draws_for(2).margin) << moved;
  }
}

TEST(LogitsTolerance, IsZeroOnlyForLogitsThatAreZero) {
  EXPECT_EQ(logits_tolerance({}, 100, 2), 0);
  EXPECT_EQ(logits_tolerance(std::vector<float>(5), 100, 2), 0);
  const float nan = std::nanf(""), inf = std::numeric_limits<float>::infinity();
  const std::vector<float> some = {nan, -2, inf, 1};
  EXPECT_DOUBLE_EQ(logits_tolerance(some, 100, 2), 2 * 10 * 5 * 0x1p-24);
}

TEST(Roundoff, IsZeroWhereNothingIsLost) {
  for (Dtype dtype : {Dtype::kF32, Dtype::kF16, Dtype::kBF16}) {
    EXPECT_EQ(roundoff(dtype, dtype), 0);
    EXPECT_EQ(roundoff(dtype, Dtype::kF32), 0);
  }
  EXPECT_EQ(roundoff(Dtype::kF32, Dtype::kBF16), 0x1p-8);
  EXPECT_EQ(roundoff(Dtype::kF16, Dtype::kBF16), 0x1p-8);
  EXPECT_EQ(roundoff(Dtype::kF32, Dtype::kF16), 0x1p-11);
}

}  // namespace
}  // namespace mnm
