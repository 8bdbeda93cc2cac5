#include "dataset/feature_database.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "dataset/feature_file.h"
#include "dataset/npy.h"
#include "tests/support/error_of.h"
#include "tests/support/temp_dir.h"

namespace mnm {
namespace {

using test::contains;
using test::error_of;

Features five() { return {2, {3, 4, 0, 2, -1, 0, 6, 8, 1, 1}, {0, 1, 1, 0, 2}}; }

TEST(FeatureDatabase, NearIsBySmallAngleOrSmallDistance) {
  const FeatureDatabase cosine(five(), Distance::kCosine, 1), l2(five(), Distance::kL2, 1);
  const float query[] = {3, 4};
  EXPECT_NEAR(cosine.score(query, 0), 5, 1e-6);
  EXPECT_NEAR(cosine.score(query, 3), 5, 1e-6) << "twice as long";
  EXPECT_GT(l2.score(query, 0), l2.score(query, 3));
  for (std::int64_t i = 0; i < 5; ++i) {  // |q - x|^2 = |q|^2 - 2 score
    double square = 0;
    for (std::size_t d = 0; d < 2; ++d) {
      const double by = query[d] - five().vectors[static_cast<std::size_t>(2 * i) + d];
      square += by * by;
    }
    EXPECT_NEAR(25 - 2 * l2.score(query, i), square, 1e-5);
  }
}

TEST(FeatureDatabase, WhatCannotBeSearchedIsRefused) {
  EXPECT_TRUE(contains(error_of([] { FeatureDatabase(five(), Distance::kL2, 6); }),
                       "the 6 nearest of a database of 5"));
  Features broken = five();
  broken.vectors[3] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_TRUE(contains(error_of([&] { FeatureDatabase(broken, Distance::kL2, 1); }),
                       "vector 1 is not finite"));
}

TEST(FeatureFile, ComesBackAsItWent) {
  const test::TempDir dir;
  write_features(dir / "db", five());
  EXPECT_TRUE(is_feature_file(dir / "db"));
  EXPECT_TRUE(is_feature_file(dir / "db-X.npy"));
  EXPECT_FALSE(is_feature_file(dir / "other"));
  for (const char* name : {"db", "db-X.npy"}) {
    const Features back = read_features(dir / name);
    EXPECT_EQ(back.dimension, 2);
    EXPECT_EQ(back.vectors, five().vectors);
    EXPECT_EQ(back.labels, five().labels);
  }
  // Labels as other programs write them.
  const std::vector<std::int64_t> shape = {5};
  test::spew(dir / "db-y.npy", npy_head("|u1", shape) + std::string("\0\1\1\0\2", 5));
  EXPECT_EQ(read_features(dir / "db").labels, five().labels);
}

TEST(FeatureFile, AnErrorNamesTheFile) {
  const test::TempDir dir;
  write_features(dir / "db", five());
  const std::vector<std::int64_t> four = {4}, flat = {10};
  const std::string labels = npy_head("|u1", four) + std::string(4, '\0');
  const std::string vectors = test::slurp(dir / "db-X.npy");
  test::spew(dir / "db-y.npy", labels);
  EXPECT_TRUE(contains(error_of([&] { read_features(dir / "db"); }), "has 4 classes"));
  for (const std::string& bytes : {vectors.substr(0, vectors.size() - 4), npy_f32(five().vectors),
                                   std::string("no array at all")}) {
    test::spew(dir / "db-X.npy", bytes);
    EXPECT_TRUE(contains(error_of([&] { read_features(dir / "db"); }), "db-X.npy"));
  }
}

}  // namespace
}  // namespace mnm
