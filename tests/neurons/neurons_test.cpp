#include "neurons/neurons.h"

#include <gtest/gtest.h>

#include "families/family.h"
#include "tests/support/error_of.h"
#include "tests/support/models.h"
#include "tests/support/tiny_mamba2.h"

namespace mnm {
namespace {

NestedModel ordinary_model() {
  NestedModel model = test::prefix_model(2, 8, {16});
  for (LayerChoices& choices : model.space.layers) choices.step = 1;
  return model;
}

TEST(Neurons, OfAnFfnAreRowsAndColumns) {
  const NestedModel model = ordinary_model();
  for (std::size_t layer = 0; layer < 2; ++layer) {
    const LayerNeurons neurons = neurons_of(model, layer);
    EXPECT_EQ(neurons.count, 16);
    ASSERT_EQ(neurons.tensors.size(), 2u);
    EXPECT_EQ(neurons.tensors[0].spec->name, fmt::format("layers.{}.gate", layer));
    EXPECT_EQ(neurons.tensors[0].runs, (std::vector<NeuronRun>{{0, 1}}));
    EXPECT_EQ(neurons.down().spec->name, fmt::format("layers.{}.down", layer));
    EXPECT_EQ(neurons.channels_each(), 1);
  }
}

// [z | x | B | C | dt]: B and C belong to no head.
TEST(Neurons, OfAStateSpaceLayerAreHeads) {
  const NestedModel model = test::pieces_model(1, 8, 4, 6, {16});
  const LayerNeurons heads = neurons_of(model, 0);
  EXPECT_EQ(heads.count, 8);
  EXPECT_EQ(heads.channels_each(), 4);
  EXPECT_EQ(heads.tensors[0].runs, (std::vector<NeuronRun>{{0, 4}, {32, 4}, {76, 1}}));
  EXPECT_EQ(heads.tensors[1].runs, (std::vector<NeuronRun>{{0, 4}}));
}

TEST(Neurons, ThatCannotMoveAloneAreRefused) {
  NestedModel whole = test::prefix_model(2, 8, {16});
  EXPECT_NE(test::error_of([&] { neurons_of(whole, 1); }).find("layer 1: it was not trained"),
            std::string::npos);

  NestedModel shared = ordinary_model();
  TensorSpec& both = shared.table.tensors.emplace_back(
      test::cut("both", {32, 8}, -1, 0, {{.begin = 0, .num = 1}, {.begin = 16, .num = 1}}));
  both.pieces[0].layer = 0;
  both.pieces[1].layer = 1;
  EXPECT_NE(test::error_of([&] {
              neurons_of(shared, 0);
            }).find("both is shared with another layer, whose neurons would move as well"),
            std::string::npos);

  NestedModel two = ordinary_model();
  two.table.tensors.push_back(test::cut("layers.0.other", {8, 16}, 0, 1, {{0, 0, 1, 1}}));
  EXPECT_NE(test::error_of([&] { neurons_of(two, 0); }).find("2 matrices have their columns cut"),
            std::string::npos);
  EXPECT_EQ(neurons_of(two, 1).count, 16);

  NestedModel half = ordinary_model();
  half.table.tensors.push_back(test::cut("layers.0.half", {8}, 0, 0, {{0, 0, 1, 2}}));
  EXPECT_NE(test::error_of([&] { neurons_of(half, 0); }).find("which are no whole neurons"),
            std::string::npos);
}

// Its only width is the full one, so an order of its heads would make no submodel better.
TEST(Neurons, OfAMamba2WithSeveralGroupsAreNotExchanged) {
  test::TinyMamba2 tiny;
  tiny.granularities = {};
  EXPECT_GT(neurons_of(family_of(tiny.config()).describe(tiny.config(), {}), 0).count, 1);
  tiny.groups = 2;
  EXPECT_EQ(
      test::error_of([&] { neurons_of(family_of(tiny.config()).describe(tiny.config(), {}), 0); }),
      "cannot exchange the neurons of layer 0: B and C have 2 groups, and which heads read a "
      "group moves with the width, so that only the whole layer is a model");
}

}  // namespace
}  // namespace mnm
