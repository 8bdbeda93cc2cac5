#include "neurons/neuron_order.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "tests/support/error_of.h"
#include "tests/support/models.h"

namespace mnm {
namespace {

TEST(NeuronOrder, HasTheMostImportantFirstAndKeepsEqualOnes) {
  const std::vector<double> importance = {1, 3, HUGE_VAL, 3, -1, 1};
  EXPECT_EQ(order_by(importance), (NeuronOrder{2, 1, 3, 0, 5, 4}));
  EXPECT_EQ(order_by({}), NeuronOrder{});
  const std::vector<double> bad = {1, NAN};
  EXPECT_NE(test::error_of([&] { order_by(bad); }).find("of neuron 1 is not a number"),
            std::string::npos);
}

TEST(NeuronOrder, MustHaveEachNeuronOnce) {
  require_bijection({2, 0, 1}, 3);
  require_bijection({}, 0);
  const auto refused = [](const NeuronOrder& order) {
    return test::error_of([&] { require_bijection(order, 3); });
  };
  EXPECT_NE(refused({0, 1, 1}).find("has neuron 1 twice"), std::string::npos);
  EXPECT_NE(refused({0, 1, 3}).find("has neuron 3 among them"), std::string::npos);
  EXPECT_NE(refused({0, 1, -1}).find("has neuron -1 among them"), std::string::npos);
  EXPECT_NE(refused({0, 1}).find("has 2 places"), std::string::npos);
}

TEST(NeuronOrder, UndoneIsTheInverse) {
  const NeuronOrder order = {3, 0, 2, 1};
  EXPECT_EQ(inverse_of(order), (NeuronOrder{1, 3, 2, 0}));
  EXPECT_EQ(inverse_of(inverse_of(order)), order);
}

// Two runs of three neurons with two rows each around four rows that are nobody's.
TEST(NeuronOrder, MovesTheRowsOfEveryRun) {
  const TensorSpec spec = test::cut("in", {16, 2}, 0, 0, {});
  const NeuronTensor tensor{&spec, {{0, 2}, {10, 2}}};
  EXPECT_EQ(sources_of(tensor, {2, 0, 1}),
            (std::vector<std::int32_t>{4, 5, 0, 1, 2, 3, 6, 7, 8, 9, 14, 15, 10, 11, 12, 13}));
}

}  // namespace
}  // namespace mnm
