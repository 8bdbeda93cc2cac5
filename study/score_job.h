// A scoring job as it is sent from rank to rank: what to score, and the scores.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "eval/scores.h"
#include "model/widths.h"

namespace mnm {

struct ScoreJob {
  std::string build, model, data;  // the program's version, and two fingerprints
  std::vector<Widths> candidates;
};

std::string to_text(const ScoreJob& job);  // a line each
ScoreJob parse_score_job(const std::string& text, std::size_t layers);

// Per candidate: the metrics that were measured, in the order of their table, as f32.
std::string scores_bytes(std::span<const CandidateScores> scores);
// Error if the bytes are not those of so many candidates and sequences.
std::vector<CandidateScores> parse_scores(const std::string& bytes, std::size_t candidates,
                                          std::size_t sequences,
                                          std::span<const MetricRow> measured);

}  // namespace mnm
