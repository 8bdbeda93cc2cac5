#include "eval/memory.h"

#include <gtest/gtest.h>

namespace mnm {
namespace {

NestedModel model_of(std::initializer_list<std::pair<int, std::int64_t>> tensors) {
  NestedModel model;
  model.mixing.resize(2);
  model.space.layers.resize(2);
  for (const auto& [layer, elements] : tensors) {
    TensorSpec spec;
    spec.layer = layer;
    spec.shape = {elements};
    model.table.tensors.push_back(spec);
  }
  return model;
}

TEST(WeightBytes, AreOfAllTensorsTheEndsAndTheLargestLayer) {
  const NestedModel model = model_of({{-1, 100}, {0, 30}, {1, 20}, {1, 50}, {-1, 7}});
  const WeightBytes bytes = weight_bytes(model, Dtype::kBF16);
  EXPECT_EQ(bytes.all, 2u * 207);
  EXPECT_EQ(bytes.ends, 2u * 107);
  EXPECT_EQ(bytes.largest_layer, 2u * 70);
}

TEST(WeightBytes, TablesThatAreReadByRowsAreNoEnds) {
  NestedModel model = model_of({{-1, 100}, {0, 30}, {-1, 1000}});
  TensorSpec& table = model.table.tensors.back();
  table.role = Role::kEmbedding;
  table.cut_dim = 1;
  EXPECT_EQ(weight_bytes(model, Dtype::kBF16).all, 2u * 1130);
  EXPECT_EQ(weight_bytes(model, Dtype::kBF16).ends, 2u * 100);
  table.flops_per_element = 2;  // a product reads all of it
  EXPECT_EQ(weight_bytes(model, Dtype::kBF16).ends, 2u * 1100);
}

TEST(StreamedBytes, AreTheLayersThatAPassHoldsBesideTheEndsOrAPartOfThem) {
  const WeightBytes small{.all = 0, .ends = 1000, .largest_layer = 64};
  const WeightBytes large{.all = 0, .ends = 3 * kEndPiece, .largest_layer = 64};
  // Two layers and half of one; of a single pass one and a half.
  EXPECT_EQ(streamed_bytes(small, {.single_pass = false, .hold_ends = true}), 160u + 1000);
  EXPECT_EQ(streamed_bytes(small, {.single_pass = true}), 96u + 1000);
  EXPECT_EQ(streamed_bytes(large, {.single_pass = false, .hold_ends = true}), 160u + 3 * kEndPiece);
  EXPECT_EQ(streamed_bytes(large, {.single_pass = true}), 96u + kEndPiece);
}

TEST(AvailableMemory, IsWhatTheSystemSays) {
  const auto bytes = available_memory();
  ASSERT_TRUE(bytes.has_value());
  EXPECT_GT(*bytes, 1u << 20);
}

}  // namespace
}  // namespace mnm
