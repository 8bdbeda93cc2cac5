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
  std::vector<CandidateScores> scores(2);
  for (const bool consistency : {false, true}) {
    for (CandidateScores& s : scores) {
      s.loss = {1.5f, std::numeric_limits<float>::infinity()};
      if (consistency) s.kl = {0.25f, -0.0f}, s.agreement = {1, 0};
    }
    scores[1].loss[0] = std::nextafter(1.5f, 2.0f);
    const std::string bytes = scores_bytes(scores);
    const auto back = parse_scores(bytes, 2, 2, consistency);
    for (std::size_t i = 0; i < 2; ++i) {
      EXPECT_EQ(back[i].loss, scores[i].loss);
      EXPECT_EQ(back[i].kl, scores[i].kl);
      EXPECT_EQ(back[i].agreement, scores[i].agreement);
    }
    EXPECT_NE(error_of([&] { parse_scores(bytes, 3, 2, consistency); }), "");
    EXPECT_NE(error_of([&] { parse_scores(bytes.substr(1), 2, 2, consistency); }), "");
  }
}

}  // namespace
}  // namespace mnm
