#include "study/score_job.h"

#include <cstring>
#include <sstream>

#include "base/error.h"

namespace mnm {

std::string to_text(const ScoreJob& job) {
  std::string text = job.build + "\n" + job.model + "\n" + job.data + "\n";
  for (const Widths& widths : job.candidates) text += to_string(widths) + "\n";
  return text;
}

ScoreJob parse_score_job(const std::string& text, std::size_t layers) {
  std::istringstream lines(text);
  ScoreJob job;
  std::string line;
  if (!std::getline(lines, job.build) || !std::getline(lines, job.model) ||
      !std::getline(lines, job.data)) {
    fail("rank 0 sent a task of {} bytes without build, model and data", text.size());
  }
  while (std::getline(lines, line)) job.candidates.push_back(parse_widths(line, layers));
  return job;
}

std::string scores_bytes(std::span<const CandidateScores> scores) {
  std::string bytes;
  for (const CandidateScores& candidate : scores) {
    for (const std::vector<float>& metric : candidate.values) {
      bytes.append(reinterpret_cast<const char*>(metric.data()), metric.size() * sizeof(float));
    }
  }
  return bytes;
}

std::vector<CandidateScores> parse_scores(const std::string& bytes, std::size_t candidates,
                                          std::size_t sequences,
                                          std::span<const MetricRow> measured) {
  if (bytes.size() != candidates * measured.size() * sequences * sizeof(float)) {
    fail("another rank sent {} bytes of scores, expected {} submodels on {} sequences",
         bytes.size(), candidates, sequences);
  }
  std::vector<CandidateScores> scores(candidates);
  const char* at = bytes.data();
  for (CandidateScores& candidate : scores) {
    for (const MetricRow& row : measured) {
      candidate[row.metric].resize(sequences);
      std::memcpy(candidate[row.metric].data(), at, sequences * sizeof(float));
      at += sequences * sizeof(float);
    }
  }
  return scores;
}

}  // namespace mnm
