#include "study/score_job.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "tests/support/error_of.h"

namespace mnm {
namespace {

using test::error_of;

TEST(ScoreJob, ComesBackAsItWent) {
  const ScoreJob job = {"mixnmatch 1 (g++)", "abc", "def", {{512, 512, 64}, {0, 8, 8}}};
  const ScoreJob back = parse_score_job(to_text(job), 3);
  EXPECT_EQ(back.build, job.build);
  EXPECT_EQ(back.model, job.model);
  EXPECT_EQ(back.data, job.data);
  EXPECT_EQ(back.candidates, job.candidates);
  EXPECT_NE(error_of([] { parse_score_job("a\nb\n", 3); }), "");
  EXPECT_NE(error_of([&] { parse_score_job(to_text(job), 4); }), "");
}

TEST(ScoreJob, ScoresComeBackBitByBit) {
  for (const std::vector<Metric>& wanted : {std::vector<Metric>{},
                                            {Metric::kAgreement},
                                            {Metric::kAcceptance},
                                            {Metric::kAccuracy5},
                                            {Metric::kRecall, Metric::kAccuracy5}}) {
    const std::vector<MetricRow> measured = measured_for(wanted);
    std::vector<CandidateScores> scores(2);
    for (CandidateScores& s : scores) {
      for (const MetricRow& row : measured) {
        s[row.metric] = {1.5f + static_cast<float>(row.metric),
                         std::numeric_limits<float>::infinity()};
      }
    }
    scores[1][Metric::kLoss][0] = std::nextafter(1.5f, 2.0f);
    scores[0][Metric::kAccuracy][1] = -0.0f;
    const std::string bytes = scores_bytes(scores);
    EXPECT_EQ(parse_scores(bytes, 2, 2, measured), scores);
    EXPECT_NE(error_of([&] { parse_scores(bytes, 3, 2, measured); }), "");
    EXPECT_NE(error_of([&] { parse_scores(bytes.substr(1), 2, 2, measured); }), "");
  }
}

}  // namespace
}  // namespace mnm
