#include "extract/copy_plan.h"

#include <gtest/gtest.h>

#include <random>

#include "base/error.h"
#include "tests/extract/slices.h"

namespace mnm {
namespace {

using test::HandSlice;
using test::TestTensor;

StoredTensor stored(const TestTensor& tensor, std::uint64_t offset) {
  StoredTensor result;
  result.name = tensor.name;
  result.dtype = tensor.dtype;
  result.shape = tensor.shape;
  result.offset = offset;
  return result;
}

TEST(PlanCopy, SaysWhatIsKeptOfEachRow) {
  struct Case {
    std::vector<std::int64_t> shape;
    int dim;
    std::vector<Range> ranges;
    std::uint64_t rows, row_bytes;
    std::vector<ByteRange> kept;
  };
  const Case cases[] = {
      {{6, 4}, -1, {}, 1, 48, {{0, 48}}},
      {{6, 4}, 0, {{0, 2}}, 1, 48, {{0, 16}}},
      {{6, 4}, 0, {{0, 2}, {5, 6}}, 1, 48, {{0, 16}, {40, 48}}},
      {{6, 4}, 1, {{0, 3}}, 6, 8, {{0, 6}}},
      {{6, 4}, 1, {{0, 1}, {2, 3}}, 6, 8, {{0, 2}, {4, 6}}},
      {{6, 4}, 1, {{0, 4}}, 1, 48, {{0, 48}}},  // all columns: one run
      {{2, 3, 5}, 1, {{1, 3}}, 2, 30, {{10, 30}}},
      {{7}, 0, {{3, 7}}, 1, 14, {{6, 14}}},
      {{}, -1, {}, 1, 2, {{0, 2}}},  // a scalar
      {{6, 4}, 1, {}, 0, 8, {}},     // nothing kept
      {{6, 4}, 1, {{2, 2}}, 0, 8, {}},
      {{6, 4}, 1, {{0, 0}, {1, 3}}, 6, 8, {{2, 6}}},
      {{0, 4}, 1, {{0, 2}}, 0, 8, {}},  // nothing there
      {{4, 0}, 1, {}, 0, 0, {}},
      {{0}, -1, {}, 0, 0, {}},
  };
  for (const Case& c : cases) {
    TestTensor tensor{"t", c.shape, {}, Dtype::kBF16};
    const HandSlice hand(tensor, c.dim, c.ranges);
    const StoredTensor source = stored(tensor, 1000);
    const TensorCopy copy = plan_copy(hand.slice, source);
    SCOPED_TRACE(testing::PrintToString(c.shape) + " dim " + std::to_string(c.dim));
    EXPECT_EQ(copy.source, &source);
    EXPECT_EQ(copy.offset, 1000u);
    EXPECT_EQ(copy.rows, c.rows);
    EXPECT_EQ(copy.kept, c.kept);
    if (c.rows > 0) {
      EXPECT_EQ(copy.row_bytes, c.row_bytes);
    }
    EXPECT_EQ(copy.bytes, static_cast<std::uint64_t>(hand.slice.elements()) * 2);
  }
}

TEST(PlanCopy, RefusesATensorOfAnotherShape) {
  const TestTensor planned{"w", {4, 6}, {}, Dtype::kF32}, found{"w", {6, 4}, {}, Dtype::kF32};
  const HandSlice hand(planned, 1, {{0, 3}});
  try {
    plan_copy(hand.slice, stored(found, 0));
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(),
                 "cannot cut tensor 'w': it has the shape [6, 4], its model expects [4, 6]");
  }
}

}  // namespace
}  // namespace mnm
