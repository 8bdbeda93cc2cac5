// What a layer does to a level of states on a device, here by the host's half of its kernels:
// against the definition in double.
#include "families/level_products.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace mnm {
namespace {

double roundoff(at::ScalarType type) {
  return type == at::kFloat ? 0x1p-24 : type == at::kBFloat16 ? 0x1p-8 : 0x1p-11;
}

at::Tensor exact(const at::Tensor& x) { return x.defined() ? x.to(at::kDouble) : x; }

at::Tensor activated(Act act, const at::Tensor& x) {
  switch (act) {
    case Act::kSilu:
      return at::silu(x);
    case Act::kGelu:
      return at::gelu(x);
    case Act::kGeluTanh:
      return at::gelu(x, "tanh");
    case Act::kRelu:
      return at::relu(x);
  }
  return {};
}

// An expected value and how far off it may be, elementwise.
struct Bounded {
  at::Tensor value, error;
};

// Sums of `n` terms in f32, in any order, are off by n roundings of the terms' sizes; what is
// stored by one more of the element.
Bounded product(const at::Tensor& rows, const at::Tensor& weight, double u) {
  const at::Tensor value = at::mm(rows, weight.t());
  const at::Tensor size = at::mm(rows.abs(), weight.abs().t());
  return {value, size * (0x1p-24 * static_cast<double>(rows.size(1))) + value.abs() * u};
}

// One child alone. As tests/kernels/pointwise_cases.h derives the activation's part.
Bounded child_alone(const Ffn& ffn, const at::Tensor& x, const at::Tensor& normed,
                    std::int64_t width, double u, double additions) {
  constexpr double kF32 = 0x1p-24;
  const at::Tensor h = exact(normed), down = exact(ffn.down).narrow(1, 0, width);
  const auto biased = [&](const at::Tensor& weight, const at::Tensor& bias) {
    Bounded p = product(h, exact(weight).narrow(0, 0, width), u);
    if (bias.defined()) p.value = p.value + exact(bias).narrow(0, 0, width);
    p.error = p.error + p.value.abs() * kF32;
    return p;
  };
  const auto of = [&](const Bounded& in) {
    const at::Tensor size = in.value.abs();
    return Bounded{activated(ffn.act, in.value),
                   in.error * 1.13 + (size.clamp_max(16) + 8) * size * kF32};
  };
  const auto times = [&](const Bounded& a, const Bounded& b) {
    return Bounded{a.value * b.value,
                   a.error * (b.value.abs() + b.error) + b.error * a.value.abs()};
  };
  Bounded act = biased(ffn.in, ffn.in_bias);
  if (!ffn.up.defined()) {
    act = of(act);
  } else if (ffn.of_product) {
    act = times(act, biased(ffn.up, ffn.up_bias));
    act.error = act.error + act.value.abs() * kF32;
    act = of(act);
  } else {
    act = times(of(act), biased(ffn.up, ffn.up_bias));
  }
  act.error = act.error + (act.value.abs() + act.error) * (u + 2 * kF32);
  const at::Tensor terms = at::mm(act.value.abs() + act.error, down.abs().t());
  at::Tensor start = exact(x);
  if (ffn.down_bias.defined()) start = start + exact(ffn.down_bias);
  const at::Tensor value = start + at::mm(act.value, down.t());
  // Each partial sum is rounded as it is stored, none of them larger than all terms together.
  const at::Tensor size = terms + start.abs() + exact(x).abs();
  return {value, at::mm(act.error, down.abs().t()) +
                     size * (additions * u + kF32 * static_cast<double>(width + 2)) + 0x1p-24};
}

struct Level {
  const char* name;
  std::vector<std::vector<Width>> widths;  // [parents]
};
const Level kLevels[] = {
    {"one", {{5}}},
    {"siblings", {{1, 3, 8, 20}}},
    {"parents alike", {{3, 20}, {3, 20}, {3, 20}}},
    {"parents unlike", {{3, 20}, {3, 8}, {3, 8}, {20}}},
    {"parents of different numbers", {{3}, {3, 8}, {3}, {3}}},
};

struct Form {
  const char* name;
  bool gated, of_product, bias;
};
const Form kForms[] = {
    {"not gated", false, false, false},   {"not gated, biases: a ViT's", false, false, true},
    {"act(in) * up", true, false, false}, {"act(in) * up, biases", true, false, true},
    {"act(in * up)", true, true, false},  {"act(in * up), biases", true, true, true}};

TEST(Level, EveryChildOfANestedFfnIsWhatItIsAlone) {
  const at::NoGradGuard no_grad;
  at::set_num_threads(1);  // the tensors are tiny
  at::manual_seed(11);
  constexpr std::int64_t kParents = 4, kWidth = 20;
  for (const at::ScalarType type : {at::kFloat, at::kBFloat16, at::kHalf}) {
    for (const Act act : {Act::kSilu, Act::kGelu, Act::kGeluTanh, Act::kRelu}) {
      for (const Form& form : kForms) {
        for (const auto& [rows, d] : {std::pair{1, 8}, {1, 1}, {5, 7}, {3, 16}}) {
          const auto draw = [&](at::IntArrayRef shape) {
            return at::randn(shape, at::kDouble).mul(0.7).to(type);
          };
          Ffn ffn;
          ffn.in = draw({kWidth, d}), ffn.down = draw({d, kWidth});
          if (form.gated) ffn.up = draw({kWidth, d});
          if (form.bias) ffn.in_bias = draw({kWidth}), ffn.down_bias = draw({d});
          if (form.bias && form.gated) ffn.up_bias = draw({kWidth});
          ffn.act = act, ffn.of_product = form.of_product;
          const at::Tensor x = draw({kParents, rows, d}), normed = draw({kParents, rows, d});
          for (const auto& [name, widths] : kLevels) {
            Children children;
            for (std::size_t parent = 0; parent < widths.size(); ++parent) {
              for (const Width width : widths[parent]) {
                children.add(static_cast<std::int64_t>(parent), width);
              }
            }
            const at::Tensor out = exact(nested_ffn(ffn, x, normed, children));
            ASSERT_EQ(out.size(0), children.nodes());
            std::int64_t node = 0;
            for (std::int64_t parent = 0; parent < children.parents(); ++parent) {
              for (const Width width : children.of(parent)) {
                const Bounded alone =
                    child_alone(ffn, x[parent], normed[parent], width, roundoff(type), 5);
                const at::Tensor apart = (out[node++] - alone.value).abs();
                EXPECT_TRUE(apart.le(alone.error).all().item<bool>())
                    << name << ", child " << node - 1 << ", " << c10::toString(type)
                    << ", activation " << static_cast<int>(act) << ", " << form.name << ", " << rows
                    << " rows of " << d << ": off by " << apart.max().item<double>() << ", "
                    << (apart / alone.error).max().item<double>() << " of what is allowed";
              }
            }
          }
        }
      }
    }
  }
}

TEST(Level, HeadsAreTurnedWhereTheyLieAndTheOthersStay) {
  const at::NoGradGuard no_grad;
  for (const at::ScalarType type : {at::kFloat, at::kBFloat16, at::kHalf}) {
    for (const auto& [batch, tokens, heads, half] :
         {std::array<std::int64_t, 4>{1, 1, 1, 1}, {2, 5, 3, 8}, {3, 4, 2, 6}}) {
      const at::Tensor all = at::randn({batch, tokens, heads + 2, 2 * half}, at::kDouble).to(type);
      const at::Tensor angle = at::randn({tokens, half}, at::kDouble);
      const at::Tensor cos = angle.cos().to(type), sin = angle.sin().to(type);
      const at::Tensor before = exact(all), c = exact(cos).unsqueeze(1),
                       s = exact(sin).unsqueeze(1);
      rotate_in_place(all.narrow(2, 0, heads), cos, sin);
      const at::Tensor a = before.narrow(3, 0, half), b = before.narrow(3, half, half);
      at::Tensor expected = at::cat({a * c - b * s, b * c + a * s}, 3);
      const at::Tensor size =
          at::cat({(a * c).abs() + (b * s).abs(), (b * c).abs() + (a * s).abs()}, 3);
      const at::Tensor error = size * (0x1p-23 + 1.01 * roundoff(type));
      const at::Tensor apart = (exact(all) - expected).abs();
      EXPECT_TRUE(apart.narrow(2, 0, heads).le(error.narrow(2, 0, heads)).all().item<bool>())
          << c10::toString(type) << ", heads of " << 2 * half;
      EXPECT_TRUE(at::equal(exact(all).narrow(2, heads, 2), before.narrow(2, heads, 2)));
    }
  }
}

TEST(Level, AProductIsAddedToItsResidual) {
  const at::NoGradGuard no_grad;
  const at::Tensor x = at::randn({5, 7}), rows = at::randn({5, 9}), w = at::randn({7, 9});
  const at::Tensor expected = exact(x) + at::mm(exact(rows), exact(w).t());
  const at::Tensor size = exact(x).abs() + at::mm(exact(rows).abs(), exact(w).abs().t());
  const at::Tensor before = x.clone();
  const at::Tensor out = add_product(x, rows, w);
  EXPECT_TRUE((exact(out) - expected).abs().le(size * (11 * 0x1p-24)).all().item<bool>());
  EXPECT_TRUE(at::equal(x, before));
}

}  // namespace
}  // namespace mnm
