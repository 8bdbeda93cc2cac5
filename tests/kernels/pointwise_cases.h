// Cases of the pointwise kernels, and what they must give: for the host's loop and a device alike.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "kernels/activation.h"
#include "kernels/rope.h"

namespace mnm::test {

// Values as a matrix of some element holds them: its bytes, and what these are.
struct Stored {
  std::vector<std::byte> bytes;
  std::vector<double> values;
};

inline double roundoff(Element element) {
  return element == Element::kF32 ? 0x1p-24 : element == Element::kBF16 ? 0x1p-8 : 0x1p-11;
}
constexpr double kSubnormal = 0x1p-25;  // half of f16's least positive number

inline std::vector<double> values_of(Element element, const std::vector<std::byte>& bytes) {
  return with_element(element, [&](auto kind) {
    using T = decltype(kind);
    std::vector<double> values;
    for (std::size_t i = 0; i < bytes.size(); i += sizeof(T)) {
      T x;
      memcpy(&x, bytes.data() + i, sizeof x);
      values.push_back(double{to_float(x)});
    }
    return values;
  });
}

inline Stored random_matrix(Element element, std::int64_t size, std::mt19937& random) {
  std::normal_distribution<float> normal(0, 2);
  Stored stored;
  with_element(element, [&](auto kind) {
    using T = decltype(kind);
    std::vector<T> elements;
    for (std::int64_t i = 0; i < size; ++i) elements.push_back(from_float<T>(normal(random)));
    stored.bytes.resize(elements.size() * sizeof(T));
    if (size > 0) memcpy(stored.bytes.data(), elements.data(), stored.bytes.size());
  });
  stored.values = values_of(element, stored.bytes);
  return stored;
}

struct ActivationCase {
  FfnActivation f;  // without addresses
  bool gated = true;
  Stored x, up, x_bias, up_bias;
  std::string name() const {
    return std::to_string(f.rows) + " rows of " + std::to_string(f.width) + ", activation " +
           std::to_string(static_cast<int>(f.act)) +
           (!gated         ? ", not gated"
            : f.of_product ? " of the product"
                           : "") +
           ", element " + std::to_string(static_cast<int>(f.element)) +
           (x_bias.bytes.empty() ? "" : ", bias") + (up_bias.bytes.empty() ? "" : ", up bias");
  }
};

inline std::vector<ActivationCase> activation_cases() {
  struct Form {
    bool gated, of_product, x_bias, up_bias;
  };
  constexpr Form kForms[] = {{false, false, false, false}, {false, false, true, false},
                             {true, false, false, false},  {true, false, true, false},
                             {true, false, false, true},   {true, false, true, true},
                             {true, true, false, false},   {true, true, true, false},
                             {true, true, false, true},    {true, true, true, true}};
  std::mt19937 random(3);
  std::vector<ActivationCase> cases;
  for (const Element element : {Element::kF32, Element::kBF16, Element::kF16}) {
    for (const Act act : {Act::kSilu, Act::kGelu, Act::kGeluTanh, Act::kRelu}) {
      for (const Form& form : kForms) {
        for (const auto& [rows, width] : {std::pair<std::int64_t, std::int64_t>{0, 8},
                                          {3, 0},
                                          {1, 1},
                                          {5, 7},
                                          {3, 8},
                                          {7, 20},
                                          {2, 2056}}) {
          ActivationCase c;
          c.f = {.element = element,
                 .act = act,
                 .of_product = form.of_product,
                 .rows = rows,
                 .width = width};
          c.gated = form.gated;
          c.x = random_matrix(element, rows * width, random);
          if (form.gated) c.up = random_matrix(element, rows * width, random);
          if (form.x_bias) c.x_bias = random_matrix(element, width, random);
          if (form.up_bias) c.up_bias = random_matrix(element, width, random);
          cases.push_back(std::move(c));
        }
      }
    }
  }
  return cases;
}

inline double exactly_activated(Act act, double x) {
  switch (act) {
    case Act::kSilu:
      return x / (1 + std::exp(-x));
    case Act::kGelu:
      return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0)));
    case Act::kGeluTanh:
      return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
    case Act::kRelu:
      return std::max(x, 0.0);
  }
  return NAN;
}

// With u = 2^-24: biases add u each; no activation's slope is above 1.13, so what goes in moves it
// by 1.13 times as much; the activation itself is off by 8 u |x|, its argument's |x| u |x|
// (exp(-x), or the cube, of which the slope falls off faster than it grows) included; the product
// and the element's rounding follow.
inline void check_activation(const ActivationCase& c, const std::vector<std::byte>& result) {
  constexpr double u = 0x1p-24;
  const std::vector<double> got = values_of(c.f.element, result);
  ASSERT_EQ(got.size(), c.x.values.size());
  for (std::size_t i = 0; i < got.size(); ++i) {
    const auto column = i % static_cast<std::size_t>(c.f.width);
    const auto biased = [&](const Stored& matrix, const Stored& bias) {
      return matrix.values[i] + (bias.values.empty() ? 0 : bias.values[column]);
    };
    const double up = c.gated ? biased(c.up, c.up_bias) : 1;
    const double x = biased(c.x, c.x_bias) * (c.f.of_product ? up : 1);
    const double of_x = 1.13 * (c.f.of_product ? 3 : 1) * u * std::abs(x) +
                        (8 + std::min(std::abs(x), 16.0)) * u * std::abs(x);
    const double act = exactly_activated(c.f.act, x);
    const double expected = c.f.of_product ? act : act * up;
    const double before = c.f.of_product ? of_x : of_x * std::abs(up) + 2 * u * std::abs(expected);
    EXPECT_NEAR(got[i], expected,
                before + roundoff(c.f.element) * (std::abs(expected) + before) + kSubnormal)
        << c.name() << ", at " << i;
  }
}

struct RotaryCase {
  Rotary r;  // without addresses
  Stored x, cosines, sines;
  std::string name() const {
    return std::to_string(r.rows) + " rows, " + std::to_string(r.tokens) + " tokens, " +
           std::to_string(r.heads) + " heads of 2 * " + std::to_string(r.half) + ", stride " +
           std::to_string(r.stride) + ", element " + std::to_string(static_cast<int>(r.element));
  }
};

inline std::vector<RotaryCase> rotary_cases() {
  std::mt19937 random(4);
  std::vector<RotaryCase> cases;
  for (const Element element : {Element::kF32, Element::kBF16, Element::kF16}) {
    for (const std::int64_t tokens : {1, 3, 64}) {
      for (const std::int64_t sequences : {0, 1, 3}) {
        for (const auto& [heads, half] :
             {std::pair<std::int64_t, std::int64_t>{1, 1}, {3, 4}, {2, 7}, {5, 8}, {3, 20}}) {
          for (const std::int64_t others : {std::int64_t{0}, std::int64_t{3}, 2 * half}) {
            RotaryCase c;
            c.r = {.element = element,
                   .rows = sequences * tokens,
                   .tokens = tokens,
                   .heads = heads,
                   .half = half,
                   .stride = heads * 2 * half + others};
            c.x = random_matrix(element, c.r.rows * c.r.stride, random);
            c.cosines = random_matrix(element, tokens * half, random);
            c.sines = random_matrix(element, tokens * half, random);
            cases.push_back(std::move(c));
          }
        }
      }
    }
  }
  return cases;
}

// Two products and a sum in f32, then the element's rounding; what is no head's stays.
inline void check_rotary(const RotaryCase& c, const std::vector<std::byte>& result) {
  const std::vector<double> got = values_of(c.r.element, result);
  ASSERT_EQ(got.size(), c.x.values.size());
  const auto at = [](std::int64_t i) { return static_cast<std::size_t>(i); };
  for (std::int64_t row = 0; row < c.r.rows; ++row) {
    for (std::int64_t i = 0; i < c.r.stride; ++i) {
      const std::int64_t place = row * c.r.stride + i, in_head = i % (2 * c.r.half);
      if (i >= c.r.heads * 2 * c.r.half) {
        EXPECT_EQ(got[at(place)], c.x.values[at(place)]) << c.name() << ", at " << place;
        continue;
      }
      const bool second = in_head >= c.r.half;
      const std::int64_t angle = row % c.r.tokens * c.r.half + in_head % c.r.half;
      const double one = c.x.values[at(place)] * c.cosines.values[at(angle)];
      const double other = c.x.values[at(second ? place - c.r.half : place + c.r.half)] *
                           c.sines.values[at(angle)] * (second ? 1 : -1);
      const double expected = one + other;
      EXPECT_NEAR(got[at(place)], expected,
                  0x1p-24 * 2 * (std::abs(one) + std::abs(other)) +
                      1.01 * roundoff(c.r.element) * std::abs(expected) + kSubnormal)
          << c.name() << ", at " << place;
    }
  }
}

}  // namespace mnm::test
