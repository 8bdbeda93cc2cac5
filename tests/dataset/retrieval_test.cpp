#include "dataset/retrieval.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/error_of.h"

namespace mnm {
namespace {

// Examples of which only the classes are read.
class Labelled final : public Examples {
 public:
  Labelled(std::string called, std::vector<std::int64_t> labels) : labels_(std::move(labels)) {
    name = std::move(called);
    fingerprint = "of " + name;
    count = static_cast<std::int64_t>(labels_.size());
    context = 1;
  }
  std::string_view kind() const override { return "images"; }
  InputSpec input() const override { return {InputType::kPixels, {1, 1, 1}}; }
  std::int64_t outputs() const override { return 1; }
  void read_inputs(std::int64_t, std::int64_t, std::span<std::byte>) const override {}
  void read_targets(std::int64_t begin, std::int64_t n,
                    std::span<std::int64_t> out) const override {
    std::copy_n(labels_.begin() + begin, n, out.begin());
  }
  std::int64_t shared_with(const Examples&) const override { return 0; }

 private:
  std::vector<std::int64_t> labels_;
};

Retrieval retrieval_of(const std::string& database) {
  Retrieval retrieval;
  retrieval.database =
      std::make_shared<const Labelled>(database, std::vector<std::int64_t>{0, 1, 1, 4});
  retrieval.depth = 2;
  return retrieval;
}

TEST(RetrievalProtocol, IsAPartOfWhatTheQueriesAre) {
  Labelled queries("queries", {0, 1});
  set_protocol(queries, retrieval_of("database"));
  EXPECT_EQ(queries.protocol, "2 nearest of 4 in database, cosine, encoder full");
  EXPECT_EQ(queries.name, "queries, 2 nearest of 4 in database, cosine, encoder full");
}

// One change of each part of the protocol, and none: six fingerprints, all different.
TEST(RetrievalProtocol, AnotherOneMakesOtherQueries) {
  const std::vector<std::function<void(Retrieval&)>> changes = {
      [](Retrieval&) {}, [](Retrieval& of) { of = retrieval_of("another"); },
      [](Retrieval& of) { of.encoder = DatabaseEncoder::kSubmodel; },
      [](Retrieval& of) { of.distance = Distance::kL2; }, [](Retrieval& of) { of.depth = 3; }};
  std::set<std::string> fingerprints = {Labelled("queries", {0, 1}).fingerprint};
  for (const auto& change : changes) {
    std::set<std::string> of_change;
    for (int time = 0; time < 2; ++time) {
      Labelled queries("queries", {0, 1});
      Retrieval retrieval = retrieval_of("database");
      change(retrieval);
      set_protocol(queries, retrieval);
      of_change.insert(queries.fingerprint);
    }
    EXPECT_EQ(of_change.size(), 1u);
    fingerprints.merge(of_change);
  }
  EXPECT_EQ(fingerprints.size(), changes.size() + 1);
}

TEST(RetrievalProtocol, ADatabaseHasAsManyItemsAsAreLookedAt) {
  Labelled queries("queries", {0, 1});
  Retrieval retrieval = retrieval_of("database");
  for (const std::int64_t depth : {0, 5}) {
    retrieval.depth = depth;
    EXPECT_TRUE(test::contains(test::usage_error_of([&] { set_protocol(queries, retrieval); }),
                               "nearest of a database of 4: expected 1 to 4"))
        << depth;
  }
  EXPECT_EQ(queries.name, "queries");
  retrieval.depth = 4;
  set_protocol(queries, retrieval);
}

TEST(Retrieval, QueriesWhoseClassIsNotThereAreCounted) {
  const std::shared_ptr<const Examples> database = retrieval_of("database").database;
  EXPECT_EQ(queries_without_match(Labelled("queries", {0, 1, 4, 1}), *database), 0);
  EXPECT_EQ(queries_without_match(Labelled("queries", {2, 0, 3, 2}), *database), 3);
}

TEST(Retrieval, ADatabaseHasTheClassesOfItsImages) {
  Retrieval retrieval = retrieval_of("database");
  retrieval.distance = Distance::kL2;
  const FeatureDatabase database = searchable(retrieval, 1, {10, 20, 30, 40});
  EXPECT_EQ(database.count(), 4);
  EXPECT_EQ(database.dimension(), 1);
  EXPECT_EQ(database.label(0), 0);
  EXPECT_EQ(database.label(3), 4);
  EXPECT_EQ(database.count_of(1), 2);
  EXPECT_EQ(database.count_of(2), 0);
}

}  // namespace
}  // namespace mnm
