#include "eval/metrics.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>
#include <string>
#include <vector>

#include "tests/support/error_of.h"

namespace mnm {
namespace {

TEST(Metrics, TheTableIsInTheOrderOfTheEnumerationAndNamesAreOnce) {
  std::set<std::string_view> names;
  for (std::size_t i = 0; i < kMetricCount; ++i) {
    const MetricRow& row = metric_table()[i];
    EXPECT_EQ(static_cast<std::size_t>(row.metric), i);
    EXPECT_EQ(parse_metric(row.name), row.metric);
    EXPECT_EQ(to_string(row.metric), row.name);
    EXPECT_TRUE(names.insert(row.name).second);
    EXPECT_FALSE(row.title.empty() || row.unit.empty() || row.meaning.empty());
  }
  const std::string error = test::error_of([] { parse_metric("f1"); });
  for (const std::string_view name : metric_names()) EXPECT_NE(error.find(name), error.npos);
}

// All that is asked for, and nothing that takes a comparison or a second pass which nobody asked
// for.
TEST(Metrics, WhatIsMeasuredIsWhatWasAskedForAndWhatComesWithIt) {
  const auto count = [](const std::vector<Metric>& wanted) { return measured_for(wanted).size(); };
  EXPECT_EQ(count({}), 2u);
  EXPECT_EQ(count({Metric::kLoss}), 2u);
  EXPECT_EQ(count({Metric::kAccuracy, Metric::kLoss}), 2u);
  EXPECT_EQ(count({Metric::kKl}), 4u);
  EXPECT_EQ(count({Metric::kLoss, Metric::kAgreement}), 4u);
  EXPECT_EQ(count({Metric::kAcceptance, Metric::kLoss}), 5u);
  EXPECT_EQ(count({Metric::kAccuracy5}), 3u);
  EXPECT_EQ(count({Metric::kAccuracy5, Metric::kKl}), 5u);
  EXPECT_EQ(count({Metric::kKnn}), 6u);
  EXPECT_EQ(count({Metric::kRecall, Metric::kAgreement, Metric::kMap}), 8u);
  EXPECT_EQ(count({Metric::kConfidence}), 3u);
  EXPECT_EQ(count({Metric::kConfidence, Metric::kAccuracy5, Metric::kAcceptance}), 7u);
  for (const MetricRow& row : metric_table()) {
    const std::vector<MetricRow> measured = measured_on(row.of, std::vector{row.metric});
    EXPECT_TRUE(std::ranges::any_of(measured, [&](const MetricRow& each) {
      return each.metric == row.metric;
    })) << row.name;
    EXPECT_TRUE(std::ranges::is_sorted(measured, {}, &MetricRow::metric)) << row.name;
  }
}

TEST(Metrics, MetricsOfTasksAreMeasuredOfTheirKindAlone) {
  EXPECT_EQ(measured_on("tokens", {}).size(), 2u);
  EXPECT_EQ(measured_on("questions", {}).size(), 5u);
  EXPECT_EQ(measured_on("texts", {}).size(), 5u);
  EXPECT_EQ(measured_on("images", {}).size(), 2u) << "retrieval needs a database";
  for (const MetricRow& row : metric_table()) {
    for (const std::string_view kind : {"tokens", "images", "questions", "texts"}) {
      const std::string error =
          test::usage_error_of([&] { require_metrics(std::vector{row.metric}, kind); });
      EXPECT_EQ(error.empty(), row.of.empty() || row.of == kind) << row.name << " " << kind;
    }
    EXPECT_EQ(row.of_parts, row.of != "texts") << row.name;
  }
}

TEST(Metrics, ADatabaseIsThereForMetricsOfRetrievalAndForNoOthers) {
  for (const MetricRow& row : metric_table()) {
    const std::vector<Metric> wanted = {Metric::kLoss, row.metric};
    EXPECT_EQ(need_database(wanted), row.needs_database) << row.name;
    const std::string without = test::usage_error_of([&] { require_database(wanted, false); });
    const std::string with = test::usage_error_of([&] { require_database(wanted, true); });
    EXPECT_EQ(without.empty(), !row.needs_database) << row.name;
    EXPECT_EQ(with.empty(), row.needs_database) << row.name;
    if (row.needs_database) {
      EXPECT_TRUE(test::contains(without, row.name)) << without;
    } else {
      EXPECT_TRUE(test::contains(with, "knn, map, precision, recall")) << with;
    }
  }
}

TEST(Metrics, OfAnObjectiveTheSmallerWins) {
  constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
  constexpr double kInf = std::numeric_limits<double>::infinity();
  EXPECT_EQ(objective_of(Metric::kLoss, 1.5), 1.5);
  EXPECT_EQ(objective_of(Metric::kKl, 0.25), 0.25);
  for (const Metric metric :
       {Metric::kAccuracy, Metric::kAgreement, Metric::kAcceptance, Metric::kConfidence}) {
    EXPECT_EQ(objective_of(metric, 0.75), -0.75);
  }
  for (const MetricRow& row : metric_table()) {
    for (const double value : {kNaN, kInf, -kInf}) {
      EXPECT_TRUE(std::isnan(objective_of(row.metric, value))) << row.name;
    }
  }
}

}  // namespace
}  // namespace mnm
