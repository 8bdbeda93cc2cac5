#include "fold/layer_step.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <iterator>
#include <random>
#include <vector>

#include "fold/kept_givens.h"
#include "tests/fold/toy_fold.h"
#include "tests/support/temp_dir.h"

namespace mnm {
namespace {

using test::toy_model;
using test::ToyFold;

// All arithmetic is double, on numbers of size 10 at most and with some hundred additions: two
// orders of the same sums differ by far less.
constexpr double kTolerance = 1e-10;

void expect_near(const State& a, const State& b, const std::string& what) {
  ASSERT_EQ(a.tensors.size(), b.tensors.size()) << what;
  for (std::size_t i = 0; i < a.tensors.size(); ++i) {
    ASSERT_EQ(a.tensors[i].sizes(), b.tensors[i].sizes()) << what;
    EXPECT_LE((a.tensors[i] - b.tensors[i]).abs().max().item<double>(), kTolerance) << what;
  }
}

at::Tensor random_tokens(std::int64_t sequences, std::int64_t length) {
  return at::randint(13, {sequences, length}, at::kLong);
}

State random_state(std::int64_t nodes, std::int64_t sequences, std::int64_t tokens) {
  return {{at::randn({nodes, sequences, tokens, 8}, at::kDouble),
           at::randn({nodes, sequences, tokens, 1}, at::kDouble),
           at::randn({nodes, sequences, tokens, 8}, at::kDouble)}};
}

// Some of the widths for each parent; the first bit of `chosen` is for skipping.
Children random_children(std::int64_t parents, std::uint32_t seed) {
  const std::vector<Width> widths = {kSkip, 2, 4, 8, 16};
  std::mt19937 random(seed);
  Children children;
  for (std::int64_t parent = 0; parent < parents; ++parent) {
    const auto chosen = 1 + random() % 31;
    for (std::size_t i = 0; i < widths.size(); ++i) {
      if ((chosen >> i & 1) != 0) children.add(parent, widths[i]);
    }
  }
  return children;
}

TEST(LayerStep, ASkippedChildIsItsParentAndTheOthersAreStepped) {
  const NestedModel model = toy_model({});
  ToyFold fold(model, 3);
  const Givens givens = fold.embed({random_tokens(2, 5)}).givens;
  for (std::uint32_t seed = 0; seed < 40; ++seed) {
    const std::int64_t parents = 1 + seed % 4;
    const Children children = random_children(parents, seed);
    const State from = random_state(parents, 2, 5);
    for (std::size_t layer = 0; layer < 3; ++layer) {
      fold.nodes_stepped = 0;
      const State got = step_layer(fold, layer, givens, from, children);
      std::int64_t stepped = fold.nodes_stepped, node = 0, needed = 0;
      ASSERT_EQ(got.nodes(), children.nodes());
      for (std::int64_t p = 0; p < parents; ++p) {
        needed += children.of(p).back() == kSkip ? 0 : 2;  // sequences
        for (const Width width : children.of(p)) {
          const State parent = from.narrow(p, 1), child = got.narrow(node++, 1);
          if (width == kSkip) {
            for (std::size_t i = 0; i < 3; ++i) {
              EXPECT_TRUE(child.tensors[i].equal(parent.tensors[i])) << seed << ", parent " << p;
            }
          } else {
            Children alone;
            alone.add(0, width);
            expect_near(child, fold.step(layer, givens, parent, alone),
                        "seed " + std::to_string(seed) + ", width " + std::to_string(width));
          }
        }
      }
      EXPECT_EQ(stepped, needed) << "a parent that all children skip costs nothing";
    }
  }
}

TEST(LayerStep, WhereAllAreSkippedNothingIsCopied) {
  const NestedModel model = toy_model({});
  ToyFold fold(model, 3);
  fold.loaded.assign(3, 0);
  const State from = random_state(3, 2, 5);
  const State got = step_layer(fold, 1, {}, from, kSkip);
  for (std::size_t i = 0; i < 3; ++i) EXPECT_TRUE(got.tensors[i].is_same(from.tensors[i]));
}

std::vector<Widths> all_widths() {
  std::vector<Widths> all;
  for (const Width a : {kSkip, 2, 16}) {
    for (const Width b : {kSkip, 4, 8}) {
      for (const Width c : {kSkip, 2, 16}) all.push_back({a, b, c});
    }
  }
  return all;
}

TEST(LayerStep, OneCandidateIsAPlainLoopThatLeavesItsLayersOut) {
  const NestedModel model = toy_model({});
  ToyFold fold(model, 3);
  const Embedded start = fold.embed({random_tokens(2, 6)});
  for (const Widths& widths : all_widths()) {
    State plain = start.state;
    for (std::size_t layer = 0; layer < 3; ++layer) {
      if (widths[layer] == kSkip) continue;
      Children child;
      child.add(0, widths[layer]);
      plain = fold.step(layer, start.givens, plain, child);
    }
    expect_near(step_layers(fold, start, widths), plain, to_string(widths));
  }
}

TEST(LayerStep, TokenByTokenIsTheWholeSequenceAndASkippedLayerKeepsNothing) {
  const NestedModel model = toy_model({});
  ToyFold fold(model, 3);
  const at::Tensor tokens = random_tokens(2, 9);
  for (const Widths& widths : all_widths()) {
    const State whole = step_layers(fold, fold.embed({tokens}), widths);
    for (const std::vector<std::int64_t>& pieces :
         {std::vector<std::int64_t>{9}, {8, 1}, {2, 1, 3, 3}}) {
      std::vector<LayerCache> caches(3);
      std::int64_t position = 0;
      for (const std::int64_t piece : pieces) {
        const auto [root, givens] = fold.embed({tokens.narrow(1, position, piece)});
        State state = root;
        for (std::size_t layer = 0; layer < 3; ++layer) {
          state = extend_layer(fold, layer, givens, state, widths[layer], position, caches);
        }
        // The third tensor is the step's way to another layer's sums; `extend` reads the cache.
        for (std::size_t i = 0; i < 2; ++i) {
          const at::Tensor apart = state.tensors[i] - whole.tensors[i].narrow(2, position, piece);
          EXPECT_LE(apart.abs().max().item<double>(), kTolerance) << to_string(widths);
        }
        position += piece;
      }
      for (std::size_t layer = 0; layer < 2; ++layer) {
        EXPECT_EQ(caches[layer].tensors.empty(), widths[layer] == kSkip) << to_string(widths);
      }
    }
  }
}

// Its first layer gives all later ones a tensor of each parent.
class HoldingFold final : public Fold {
 public:
  HoldingFold(const NestedModel& model, std::uint64_t seed) : toy_(model, seed) {}

  void load(std::size_t layer) override { toy_.load(layer); }
  void unload(std::size_t layer) override { toy_.unload(layer); }
  Embedded embed(const Batch& batch) override { return toy_.embed(batch); }
  State step(std::size_t layer, const Givens& givens, const State& parents,
             const Children& children) override {
    State state = toy_.step(layer, givens, parents, children);
    if (layer == 0) state.held = {of_children(parents.tensors[0].unbind(), children)};
    return state;
  }
  State extend(std::size_t layer, const Givens& givens, const State& state,
               std::span<const Run> runs) override {
    return toy_.extend(layer, givens, state, runs);
  }
  std::uint64_t element_bytes() const override { return toy_.element_bytes(); }
  at::Tensor readout(const State& state) override { return toy_.readout(state); }
  at::Tensor logits(const at::Tensor& rows) override { return toy_.logits(rows); }
  at::Tensor logits_of(const at::Tensor& rows, std::int64_t first, std::int64_t count) override {
    return toy_.logits_of(rows, first, count);
  }

 private:
  ToyFold toy_;
};

TEST(LayerStep, WhatAnAncestorGaveIsHandedOnUncopied) {
  const NestedModel model = toy_model({});
  HoldingFold fold(model, 3);
  const Givens givens = fold.embed({random_tokens(2, 5)}).givens;
  const State roots = random_state(3, 2, 5);
  Children each;
  for (std::int64_t root = 0; root < 3; ++root) each.add(root, 4);
  const State from = step_layer(fold, 0, givens, roots, each);
  ASSERT_EQ(from.held.size(), 1u);
  for (std::uint32_t seed = 0; seed < 40; ++seed) {
    const Children children = random_children(3, seed);
    const State got = step_layer(fold, 1 + seed % 2, givens, from, children);
    ASSERT_EQ(got.held.size(), 1u);
    ASSERT_EQ(std::ssize(got.held[0]), children.nodes());
    std::size_t node = 0;
    for (std::size_t parent = 0; parent < 3; ++parent) {
      const auto siblings = children.of(static_cast<std::int64_t>(parent)).size();
      for (std::size_t i = 0; i < siblings; ++i, ++node) {
        EXPECT_TRUE(got.held[0][node].is_same(from.held[0][parent])) << seed << ", node " << node;
      }
    }
  }
  const State chosen = from.select(std::vector<std::int32_t>{0, 2});
  EXPECT_TRUE(chosen.held[0][1].is_same(from.held[0][2]));
  EXPECT_TRUE(from.narrow(1, 2).held[0][0].is_same(from.held[0][1]));
}

// On the device, on disk, and some here and some there.
TEST(LevelStates, KeepOnceWhatNeighboursHoldOfOneAncestor) {
  const test::TempDir dir;
  const at::Tensor a = at::randn({2, 5, 3}, at::kDouble), b = at::randn({2, 5, 3}, at::kDouble);
  const std::vector<at::Tensor> held = {a, a, a, b};
  constexpr std::uint64_t kNodes = 4 * 2 * 5 * 8, kOne = 2 * 5 * 3 * 8;  // bytes
  for (const std::uint64_t room_for : {kNodes + 2 * kOne, kNodes + kOne, std::uint64_t{0}}) {
    StateRoom room(at::kCPU, room_for, 0, dir.path());
    LevelStates states(room, 1);
    const at::Tensor x = at::randn({4, 2, 5, 1}, at::kDouble);
    const State all{{x}, {held}};
    states.open(0, 4, all);
    for (std::int64_t node = 0; node < 4; node += 2) states.write(0, node, all.narrow(node, 2));
    EXPECT_EQ(room.spilled(), kNodes + 2 * kOne - room_for) << "each ancestor's lies there once";
    Held got;
    for (std::int64_t node = 0; node < 4; ++node) {
      const State one = states.read(0, node, 1);
      EXPECT_TRUE(one.tensors[0].equal(x.narrow(0, node, 1)));
      got.push_back(one.held.at(0).at(0));
      EXPECT_TRUE(got.back().equal(held[static_cast<std::size_t>(node)])) << node;
      if (room_for > 0 && node < 3) EXPECT_TRUE(got.back().is_same(a)) << "not even copied once";
    }
    EXPECT_TRUE(got[1].is_same(got[0]) && got[2].is_same(got[0])) << "those who read know it";
    states.close(0);
    EXPECT_EQ(room.take(room_for), StateRoom::Place::kDevice) << "all room was given back";
  }
}

// On the device, on disk, and some here and some there.
TEST(KeptGivens, ComeBackToTheirLayersAsTheyWent) {
  const test::TempDir dir;
  for (const std::uint64_t room_for : {1u << 20, 200u, 0u}) {
    StateRoom room(at::kCPU, room_for, 0, dir.path());
    std::vector<Givens> given(3);
    given[0].shared = {at::randn({2, 5}), at::randint(9, {2}, at::kLong)};
    given[0].layers = {{at::randn({2, 5, 3})}, {}, {at::randn({2, 7}), at::randn({2, 1})}};
    given[1].layers = {{}, {at::randn({2, 40})}, {}};  // and nothing at all of the third
    KeptGivens kept(room, 3, 3);
    for (std::size_t batch = 0; batch < 3; ++batch) kept.keep(batch, given[batch]);
    EXPECT_EQ(room.spilled() == 0, room_for == 1u << 20);
    const auto expect_same = [](const std::vector<at::Tensor>& a,
                                const std::vector<at::Tensor>& b) {
      ASSERT_EQ(a.size(), b.size());
      for (std::size_t i = 0; i < a.size(); ++i) EXPECT_TRUE(a[i].equal(b[i]));
    };
    for (std::size_t layer = 0; layer < 3; ++layer) {
      for (std::size_t batch = 0; batch < 3; ++batch) {
        const Givens got = kept.of(batch, layer);
        expect_same(got.shared, given[batch].shared);
        ASSERT_EQ(got.layers.size(), 3u);
        for (std::size_t l = 0; l < 3; ++l) {
          const bool there = l == layer && !given[batch].layers.empty();
          expect_same(got.layers[l], there ? given[batch].layers[l] : std::vector<at::Tensor>{});
        }
        kept.drop(batch, layer);
      }
    }
  }
}

}  // namespace
}  // namespace mnm
