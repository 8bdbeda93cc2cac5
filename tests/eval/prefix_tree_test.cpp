#include "eval/prefix_tree.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstddef>
#include <map>
#include <random>
#include <set>

#include "model/cost.h"
#include "tests/support/error_of.h"
#include "tests/support/models.h"

namespace mnm {
namespace {

// Llama-style layers as data: attention that is never cut, gate, up and down that are.
struct Shape {
  std::size_t layers;
  std::int64_t d, q, kv, vocab;
  std::vector<Width> widths;
};

NestedModel llama_shaped(const Shape& shape) {
  NestedModel model;
  model.vocab_size = shape.vocab;
  model.hidden_size = shape.d;
  const auto add = [&](int layer, std::int64_t rows, std::int64_t columns, int cut_dim) {
    TensorSpec spec;
    spec.name = fmt::format("layers.{}.{}", layer, model.table.tensors.size());
    spec.shape = {rows, columns};
    spec.layer = layer;
    spec.flops_per_element = 2;
    spec.cut_dim = cut_dim;
    if (cut_dim >= 0) spec.pieces = {{0, 0, 1, 1}};
    model.table.tensors.push_back(std::move(spec));
  };
  for (std::size_t i = 0; i < shape.layers; ++i) {
    const int layer = static_cast<int>(i);
    add(layer, shape.q + 2 * shape.kv, shape.d, -1);
    add(layer, shape.d, shape.q, -1);
    add(layer, 2 * shape.widths.back(), shape.d, 0);
    model.table.tensors.back().pieces = {{0, 0, 1, 1}, {shape.widths.back(), 0, 1, 1}};
    add(layer, shape.d, shape.widths.back(), 1);
    model.space.layers.push_back({shape.widths, 0, true, "untrained"});
    model.mixing.push_back(
        {.flops_per_attended = 4.0 * static_cast<double>(shape.q), .flow_per_token = shape.d});
  }
  add(-1, shape.vocab, shape.d, -1);
  return model;
}

std::vector<Widths> grid(std::size_t layers, const std::vector<Width>& widths, bool monotone) {
  std::vector<Widths> all = {{}};
  for (std::size_t layer = 0; layer < layers; ++layer) {
    std::vector<Widths> longer;
    for (const Widths& prefix : all) {
      for (const Width width : widths) {
        if (monotone && !prefix.empty() && width < prefix.back()) continue;
        longer.push_back(prefix);
        longer.back().push_back(width);
      }
    }
    all = std::move(longer);
  }
  return all;
}

std::vector<Widths> random_candidates(std::size_t n, std::size_t layers,
                                      const std::vector<Width>& widths, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<Widths> all(n, Widths(layers));
  for (Widths& candidate : all) {
    for (Width& width : candidate) width = widths[random() % widths.size()];
  }
  return all;
}

// The widths on the path from the embedding to a node.
Widths path(const PrefixTree& plan, std::size_t level, std::int32_t node) {
  Widths widths;
  for (std::size_t l = level + 1; l-- > 0;) {
    const Children& nodes = plan.levels[l];
    widths.insert(widths.begin(), nodes.widths[static_cast<std::size_t>(node)]);
    node = static_cast<std::int32_t>(std::ranges::upper_bound(nodes.first, node) -
                                     nodes.first.begin()) -
           1;
  }
  return widths;
}

void check(const PrefixTree& plan, const std::vector<Widths>& candidates) {
  ASSERT_EQ(plan.leaf.size(), candidates.size());
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    EXPECT_EQ(path(plan, plan.levels.size() - 1, plan.leaf[i]), candidates[i]);
  }
  for (std::size_t level = 0; level < plan.levels.size(); ++level) {
    std::set<Widths> prefixes;
    for (const Widths& candidate : candidates) {
      prefixes.emplace(candidate.begin(),
                       candidate.begin() + static_cast<std::ptrdiff_t>(level) + 1);
    }
    const Children& nodes = plan.levels[level];
    ASSERT_EQ(nodes.widths.size(), prefixes.size());  // with the paths above: each prefix once
    EXPECT_EQ(nodes.parents(), level == 0 ? 1 : plan.levels[level - 1].nodes());
    EXPECT_EQ(nodes.first.back(), nodes.nodes());
    for (std::int64_t parent = 0; parent < nodes.parents(); ++parent) {
      const std::span<const Width> siblings = nodes.of(parent);
      EXPECT_FALSE(siblings.empty());
      EXPECT_TRUE(std::ranges::is_sorted(siblings, std::less_equal<>()));  // no two alike
    }
  }
}

TEST(PrefixTree, IsTheTreeOfDistinctPrefixes) {
  check(make_prefix_tree({}), {});
  const std::vector<std::vector<Widths>> sets = {
      {{5}},
      {{5}, {5}, {5}},
      {{5, 6, 7}},
      {{3, 3}, {3, 2}, {1, 9}, {3, 3}, {1, 1}},
      {{0, 0}, {0, 4}, {4, 0}, {4, 4}},
      grid(3, {1, 2, 3}, false),
      grid(4, {1, 2, 3}, true),
      random_candidates(300, 6, {0, 2, 4, 8}, 1),
      random_candidates(40, 17, {1, 2}, 2),
  };
  for (const std::vector<Widths>& candidates : sets)
    check(make_prefix_tree(candidates), candidates);
}

TEST(PrefixTree, RefusesCandidatesOfDifferentLengths) {
  for (const std::vector<Widths>& bad :
       {std::vector<Widths>{{1, 2}, {1}}, std::vector<Widths>{{1}, {1, 2}},
        std::vector<Widths>{{}}}) {
    EXPECT_TRUE(
        test::contains(test::usage_error_of([&] { make_prefix_tree(bad); }), "layers together"));
  }
}

// Shared: for every prefix that something follows, the widest that follows; a readout for every
// distinct candidate. One by one: what cost.h says of each.
TEST(PrefixTree, CostIsWhatBruteForceSays) {
  NestedModel pieces = test::pieces_model(5, 8, 4, 3, {2, 4, 8});
  for (const std::int64_t context : {1, 63, 256}) {
    for (const auto& [model, widths] :
         {std::pair<NestedModel, std::vector<Width>>{llama_shaped({5, 8, 12, 4, 20, {2, 4, 8}}),
                                                     {0, 2, 4, 8}},
          {pieces, {0, 2, 4, 6, 8}}}) {
      for (const std::size_t n : {1u, 2u, 50u, 400u}) {
        std::vector<Widths> candidates = random_candidates(n, 5, widths, static_cast<unsigned>(n));
        const PlanCost cost = cost_of(make_prefix_tree(candidates), model, context);
        const CostBasis basis = {.dtype = Dtype::kF32, .context = context};

        double one_by_one = 0;
        std::set<Widths> distinct(candidates.begin(), candidates.end());
        for (const Widths& widths_of : candidates) {
          one_by_one += static_cast<double>(cost_of(model, widths_of, basis).flops);
        }
        // Widths differ from layer to layer only, so a layer alone is a difference of two costs.
        const Widths none(5, kSkip);
        const auto nothing = static_cast<double>(cost_of(model, none, basis).flops);
        std::map<Widths, double> steps;
        for (const Widths& widths_of : distinct) {
          for (std::size_t layer = 0; layer < 5; ++layer) {
            Widths alone = none;
            alone[layer] = widths_of[layer];
            double& widest = steps[Widths(widths_of.begin(),
                                          widths_of.begin() + static_cast<std::ptrdiff_t>(layer))];
            widest =
                std::max(widest, static_cast<double>(cost_of(model, alone, basis).flops) - nothing);
          }
        }
        double shared = nothing * static_cast<double>(distinct.size());
        for (const auto& [prefix, flops] : steps) shared += flops;

        // cost.h rounds each layer of each candidate to a whole number.
        EXPECT_NEAR(cost.one_by_one, one_by_one, static_cast<double>(5 * n));
        EXPECT_NEAR(cost.shared, shared, static_cast<double>(2 * steps.size()));
        EXPECT_NEAR(cost.readout, nothing * static_cast<double>(distinct.size()), 1e-6);
      }
    }
  }
}

// What a sibling does for itself is counted for each of them: here down's product, as in a layer
// whose activation depends on its width. Of 6 d per unit of width, 2 d are a sibling's own.
TEST(PrefixTree, CountsWhatSiblingsDoThemselves) {
  const std::int64_t d = 8;
  NestedModel model = llama_shaped({1, d, 0, 0, 20, {8, 16}});
  for (TensorSpec& spec : model.table.tensors) {
    if (spec.cut_dim < 0) spec.flops_per_element = 0;
  }
  model.mixing[0].flops_per_sibling_width = 2.0 * static_cast<double>(d);
  const PlanCost both = cost_of(make_prefix_tree(std::vector<Widths>{{8}, {16}}), model, 1);
  const double widest = 6.0 * static_cast<double>(d) * 16;
  EXPECT_NEAR((both.shared - both.readout) / widest, 1 + 1.0 / 6, 1e-9);
  EXPECT_NEAR(both.one_by_one / widest, 1.5, 1e-9);
  const PlanCost skipped = cost_of(make_prefix_tree(std::vector<Widths>{{kSkip}, {16}}), model, 1);
  EXPECT_NEAR(skipped.shared / widest, 1, 1e-9);
}

TEST(PrefixTree, OfNothingCostsNothing) {
  const PlanCost cost = cost_of(make_prefix_tree({}), llama_shaped({2, 8, 8, 8, 9, {4}}), 16);
  EXPECT_EQ(cost.shared, 0);
  EXPECT_EQ(cost.one_by_one, 0);
}

// The figures that the documentation quotes.
TEST(PrefixTree, GainsOfKnownShapes) {
  const Shape small = {8, 128, 128, 128, 256, {64, 128, 256, 512}};
  const Shape llama_1b = {16, 2048, 2048, 512, 128256, {1024, 2048, 4096, 8192}};
  struct Case {
    const Shape& shape;
    bool monotone;
    std::int64_t context;
    std::size_t candidates;
    double gain, in_layers;
  };
  const Case cases[] = {{small, false, 256, 65536, 11.9, 15.5},
                        {small, true, 256, 165, 2.5, 2.6},
                        {llama_1b, true, 1024, 969, 1.6, 2.3}};
  for (const Case& c : cases) {
    const NestedModel model = llama_shaped(c.shape);
    const std::vector<Widths> candidates = grid(c.shape.layers, c.shape.widths, c.monotone);
    ASSERT_EQ(candidates.size(), c.candidates);
    const PlanCost cost = cost_of(make_prefix_tree(candidates), model, c.context);
    EXPECT_NEAR(cost.gain(), c.gain, 0.05);
    EXPECT_NEAR((cost.one_by_one - cost.readout) / (cost.shared - cost.readout), c.in_layers, 0.05);
  }
}

TEST(PrefixTree, SplitsByPrefixIntoGroupsNoWiderThanAsked) {
  std::vector<Widths> candidates = random_candidates(200, 4, {1, 2, 3}, 5);
  candidates.push_back(candidates.front());  // a duplicate takes no leaf of its own
  const PrefixTree whole = make_prefix_tree(candidates);
  std::size_t least = 0;
  for (const auto& level : whole.levels) least += level.widths.size();
  for (const std::size_t widest : {1, 2, 7, 60, 1000}) {
    const auto groups = split_by_prefix(candidates, static_cast<std::int64_t>(widest));
    EXPECT_EQ(groups.size(), (whole.levels.back().widths.size() + widest - 1) / widest);
    std::vector<std::size_t> all;
    std::size_t nodes = 0;
    for (const auto& group : groups) {
      EXPECT_TRUE(std::ranges::is_sorted(group));
      std::vector<Widths> members;
      for (const std::size_t i : group) members.push_back(candidates[i]);
      for (const auto& level : make_prefix_tree(members).levels) {
        EXPECT_LE(level.widths.size(), widest);
        nodes += level.widths.size();
      }
      all.insert(all.end(), group.begin(), group.end());
    }
    std::ranges::sort(all);
    ASSERT_EQ(all.size(), candidates.size());
    for (std::size_t i = 0; i < all.size(); ++i) ASSERT_EQ(all[i], i);
    // Neighbours stay together: a cut computes one more node per level above the leaves at most.
    EXPECT_LE(nodes, least + (groups.size() - 1) * (whole.levels.size() - 1));
  }
  EXPECT_TRUE(split_by_prefix({}, 3).empty());
}

}  // namespace
}  // namespace mnm
