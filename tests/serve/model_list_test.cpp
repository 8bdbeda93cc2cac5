#include "serve/model_list.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "serve/api_error.h"
#include "tests/support/models.h"

namespace mnm {
namespace {

const NestedModel& model() {
  static const NestedModel nested = test::prefix_model(2, 8, {4, 8, 16});
  return nested;
}

ModelList three() {
  return {model(), "tiny", {{{16, 16}, 1.0, 0.1}, {{4, 4}, 2.0, 0.2}, {{4, 8}, 1.5, 0.15}}};
}

TEST(ModelList, LevelsGoFromNarrowToWide) {
  const ModelList list = three();
  std::vector<Widths> widths;
  for (const ServedModel& level : list.levels()) widths.push_back(*level.widths);
  EXPECT_EQ(widths, (std::vector<Widths>{{4, 4}, {4, 8}, {16, 16}}));
}

TEST(ModelList, ModelsAreFoundByNameAndByWidths) {
  const ModelList list = three();
  EXPECT_EQ(list.find("auto").widths, std::nullopt);
  EXPECT_EQ(list.find("tiny").widths, (Widths{16, 16}));
  EXPECT_EQ(list.find("tiny").loss, 1.0);
  for (const ServedModel& level : list.levels()) {
    EXPECT_EQ(list.find(level.name).widths, level.widths) << level.name;
    EXPECT_TRUE(level.name.starts_with("tiny-")) << level.name;
  }
  EXPECT_EQ(list.find("8x2").widths, (Widths{8, 8}));  // on no front
  EXPECT_EQ(list.find("8").name, "8x2");
  EXPECT_GT(list.find("8x2").cost.flops, list.find("4x2").cost.flops);
}

TEST(ModelList, EqualSizesHaveDifferentNames) {
  const ModelList list(model(), "tiny", {{{4, 8}, {}, {}}, {{8, 4}, {}, {}}});
  EXPECT_NE(list.levels()[0].name, list.levels()[1].name);
  EXPECT_TRUE(list.levels()[0].name.ends_with("-4,8")) << list.levels()[0].name;
}

TEST(ModelList, OthersAreNotFound) {
  const ModelList list = three();
  const auto refused = [&](const std::string& name) -> std::string {
    try {
      list.find(name);
    } catch (const ApiError& error) {
      EXPECT_EQ(error.status, 404);
      EXPECT_EQ(error.code, "model_not_found");
      return error.what();
    }
    return "found";
  };
  EXPECT_NE(refused("tinny").find("did you mean 'tiny'"), std::string::npos);
  EXPECT_NE(refused("5x2").find("5"), std::string::npos);
  EXPECT_NE(refused("4x3").find("layers"), std::string::npos) << refused("4x3");
  for (const char* name : {"", "gpt", "4x", "-1x2", "99999999999999999999"}) {
    EXPECT_NE(refused(name), "found") << name;
  }
}

TEST(ModelList, IsListedAsTheProtocolHasIt) {
  const auto json = nlohmann::json::parse(three().json());
  EXPECT_EQ(json["object"], "list");
  ASSERT_EQ(json["data"].size(), 5u);
  for (const auto& one : json["data"]) EXPECT_EQ(one["object"], "model");
  EXPECT_EQ(json["data"][0]["id"], "auto");
  EXPECT_EQ(json["data"][2]["widths"], "4x2");
  EXPECT_EQ(json["data"][2]["loss"], 2.0);
}

TEST(ModelList, AnEmptyOrWrongFrontIsRefused) {
  EXPECT_THROW(ModelList(model(), "tiny", {}), UsageError);
  EXPECT_THROW(ModelList(model(), "tiny", {{{5, 5}, {}, {}}}), UsageError);
}

}  // namespace
}  // namespace mnm
