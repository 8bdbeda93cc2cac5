#include "model/slice_plan.h"

#include <gtest/gtest.h>

#include "tests/support/models.h"

namespace mnm {
namespace {

const TensorSlice& slice_of(const SlicePlan& plan, std::string_view name) {
  for (const TensorSlice& slice : plan.tensors) {
    if (slice.spec->name == name) return slice;
  }
  throw std::runtime_error("no slice " + std::string(name));
}

TEST(SlicePlan, PrefixesOfRowsAndColumns) {
  const NestedModel model = test::prefix_model(2, 8, {4, 16, 32});
  const SlicePlan plan = plan_slices(model.table, {4, 16});
  EXPECT_EQ(plan.widths, (Widths{4, 16}));
  EXPECT_EQ(plan.tensors.size(), model.table.tensors.size());
  const TensorSlice& gate = slice_of(plan, "layers.0.gate");
  EXPECT_EQ(gate.dim, 0);
  EXPECT_EQ(gate.ranges, (std::vector<Range>{{0, 4}}));
  EXPECT_EQ(gate.shape, (std::vector<std::int64_t>{4, 8}));
  EXPECT_EQ(gate.elements(), 32);
  const TensorSlice& down = slice_of(plan, "layers.1.down");
  EXPECT_EQ(down.dim, 1);
  EXPECT_EQ(down.shape, (std::vector<std::int64_t>{8, 16}));
  for (const char* whole : {"embed", "layers.0.norm", "layers.1.attention", "head"}) {
    EXPECT_EQ(slice_of(plan, whole).dim, -1) << whole;
    EXPECT_TRUE(slice_of(plan, whole).ranges.empty()) << whole;
    EXPECT_EQ(slice_of(plan, whole).shape, slice_of(plan, whole).spec->shape) << whole;
  }
}

TEST(SlicePlan, FullWidthKeepsEveryTensorWhole) {
  const NestedModel prefix = test::prefix_model(2, 8, {4, 16, 32});
  const NestedModel pieces = test::pieces_model(2, 8, 4, 3, {4, 8, 16});
  for (const NestedModel* model : {&prefix, &pieces}) {
    for (const TensorSlice& slice : plan_slices(model->table, model->space.full()).tensors) {
      EXPECT_EQ(slice.dim, -1) << slice.spec->name;
      EXPECT_TRUE(slice.ranges.empty()) << slice.spec->name;
      EXPECT_EQ(slice.shape, slice.spec->shape) << slice.spec->name;
    }
  }
}

TEST(SlicePlan, SeveralRangesOfOneDimension) {
  // inner 32, state 3, head 4: rows are z 32, x 32, B and C 6, dt 8.
  const NestedModel model = test::pieces_model(1, 8, 4, 3, {4, 8, 16});
  const SlicePlan plan = plan_slices(model.table, {4});
  const TensorSlice& in = slice_of(plan, "layers.0.in_proj");
  EXPECT_EQ(in.ranges, (std::vector<Range>{{0, 8}, {32, 40}, {64, 72}}));  // B, C and dt adjoin
  EXPECT_EQ(in.shape, (std::vector<std::int64_t>{24, 8}));
  const TensorSlice& conv = slice_of(plan, "layers.0.conv");
  EXPECT_EQ(conv.ranges, (std::vector<Range>{{0, 8}, {32, 38}}));
  EXPECT_EQ(conv.shape, (std::vector<std::int64_t>{14, 1, 4}));
}

TEST(SlicePlan, SkippedLayersAreAbsent) {
  const NestedModel model = test::prefix_model(3, 8, {4, 16});
  const SlicePlan plan = plan_slices(model.table, {4, kSkip, 16});
  EXPECT_EQ(plan.tensors.size(), model.table.tensors.size() - 4);
  for (const TensorSlice& slice : plan.tensors) EXPECT_NE(slice.spec->layer, 1);
}

TEST(SlicePlan, NamesAreTheSubmodelsOwn) {
  const NestedModel model = test::prefix_model(4, 8, {4, 16});
  const SlicePlan plan = plan_slices(model.table, {kSkip, 4, kSkip, 16});
  EXPECT_EQ(slice_of(plan, "layers.1.gate").name, "layers.0.gate");
  EXPECT_EQ(slice_of(plan, "layers.3.gate").name, "layers.1.gate");
  EXPECT_EQ(slice_of(plan, "embed").name, "embed");
  EXPECT_EQ(plan.find("layers.3.norm")->name, "layers.1.norm");
  EXPECT_EQ(plan.find("layers.2.norm"), nullptr);
  for (const TensorSlice& slice : plan_slices(model.table, {4, 4, 4, 4}).tensors) {
    EXPECT_EQ(slice.name, slice.spec->name);
  }
}

// A tensor of no layer that every layer has its columns of, as Gemma 3n's per-layer embeddings.
TEST(SlicePlan, APieceGoesWithItsLayer) {
  TensorTable table;
  TensorSpec& spec = table.tensors.emplace_back(test::cut("t", {5, 14}, -1, 1, {}));
  for (int layer = 0; layer < 4; ++layer) spec.pieces.push_back({3 * layer, 3, 0, 1, layer});
  spec.pieces.push_back({12, 2, 0, 1});  // of no layer: always there
  const auto slice = [&](const Widths& widths) { return plan_slices(table, widths).tensors.at(0); };
  EXPECT_EQ(slice({4, 8, 4, 8}).dim, -1);
  EXPECT_EQ(slice({4, kSkip, 8, 4}).ranges, (std::vector<Range>{{0, 3}, {6, 14}}));
  EXPECT_EQ(slice({kSkip, kSkip, 8, kSkip}).ranges, (std::vector<Range>{{6, 9}, {12, 14}}));
  EXPECT_EQ(slice({kSkip, kSkip, 8, kSkip}).shape, (std::vector<std::int64_t>{5, 5}));
  EXPECT_EQ(slice({kSkip, kSkip, kSkip, kSkip}).shape, (std::vector<std::int64_t>{5, 2}));
  EXPECT_EQ(slice({kSkip, 8, 8, 8}).name, "t");
}

TEST(SlicePlan, EmptyPiecesAndAdjacentOnes) {
  TensorTable table;
  // Two pieces that meet at width 6 alone, between pieces that keep nothing at any width.
  table.tensors.push_back(
      test::cut("t", {10}, 0, 0, {{0, 0, 0, 1}, {0, 0, 1, 1}, {6, 1, 1, 2}, {10, 0, 0, 1}}));
  const auto ranges = [&](Width width) { return plan_slices(table, {width}).tensors[0].ranges; };
  EXPECT_EQ(ranges(2), (std::vector<Range>{{0, 2}, {6, 8}}));
  EXPECT_EQ(ranges(5), (std::vector<Range>{{0, 5}, {6, 9}}));
  EXPECT_EQ(ranges(6), (std::vector<Range>{}));  // [0, 6) and [6, 10): the whole tensor
  EXPECT_EQ(plan_slices(table, {6}).tensors[0].dim, -1);
}

// Every width of the space against element-by-element membership in the pieces.
TEST(SlicePlan, RangesAreTheUnionOfThePieces) {
  const NestedModel model = test::pieces_model(1, 8, 4, 3, {4, 8, 16});
  for (Width width = 2; width <= 16; width += 2) {
    for (const TensorSlice& slice : plan_slices(model.table, {width}).tensors) {
      if (slice.dim < 0) continue;
      const std::int64_t size = slice.spec->shape[static_cast<std::size_t>(slice.dim)];
      std::int64_t kept = 0;
      for (std::int64_t i = 0; i < size; ++i) {
        bool in_piece = false, in_range = false;
        for (const Piece& p : slice.spec->pieces) {
          in_piece |= i >= p.begin && i < p.begin + p.length(width);
        }
        for (const Range& r : slice.ranges) in_range |= i >= r.begin && i < r.end;
        ASSERT_EQ(in_piece, in_range) << slice.spec->name << " " << i << " at " << width;
        kept += in_range;
      }
      EXPECT_EQ(slice.shape[static_cast<std::size_t>(slice.dim)], kept);
      for (std::size_t r = 1; r < slice.ranges.size(); ++r) {
        EXPECT_LT(slice.ranges[r - 1].end, slice.ranges[r].begin) << "ranges touch or overlap";
      }
    }
  }
}

TEST(SlicePlan, TableFindsByName) {
  const NestedModel model = test::prefix_model(2, 8, {4});
  EXPECT_EQ(model.table.find("layers.1.gate")->layer, 1);
  EXPECT_EQ(model.table.find("layers.2.gate"), nullptr);
  EXPECT_EQ(TensorTable{}.find(""), nullptr);
}

}  // namespace
}  // namespace mnm
