#include "eval/task_scores.h"

#include <cmath>
#include <limits>
#include <numbers>
#include <vector>

namespace mnm {
namespace {

constexpr float kNone = std::numeric_limits<float>::quiet_NaN();

// Of the answers of a document, [first, last).
struct Places {
  std::size_t first = 0, last = 0;
};

Places answers_of(const TaskFile& task, std::int64_t document) {
  const auto at = static_cast<std::size_t>(document);
  return {static_cast<std::size_t>(task.document_begin[at]),
          static_cast<std::size_t>(task.document_begin[at + 1])};
}

// Those whose tokens the loss of a document is of: the right choice, or all windows.
Places scored_answers(const TaskFile& task, std::int64_t document) {
  const Places all = answers_of(task, document);
  if (task.protocol.kind == TaskKind::kTexts) return all;
  const std::size_t right =
      all.first + static_cast<std::size_t>(task.gold[static_cast<std::size_t>(document)]);
  return {right, right + 1};
}

double sum_of(std::span<const float> values, Places places) {
  double sum = 0;
  for (std::size_t answer = places.first; answer < places.last; ++answer) sum += values[answer];
  return sum;
}

std::vector<float> token_means(const TaskFile& task, std::span<const std::int64_t> documents,
                               std::span<const float> sums) {
  std::vector<float> means;
  for (const std::int64_t document : documents) {
    const Places places = scored_answers(task, document);
    double tokens = 0;
    for (std::size_t answer = places.first; answer < places.last; ++answer) {
      tokens += static_cast<double>(task.scored[answer]);
    }
    means.push_back(static_cast<float>(sum_of(sums, places) / tokens));
  }
  return means;
}

// 1 if the first choice with the least loss by its length is the right one, else 0. `lengths`: of
// every answer; empty: 1 each.
float is_right(const TaskFile& task, std::int64_t document, std::span<const float> losses,
               std::span<const std::int64_t> lengths) {
  const Places places = answers_of(task, document);
  double best = std::numeric_limits<double>::infinity();
  std::size_t chosen = places.first;
  for (std::size_t answer = places.first; answer < places.last; ++answer) {
    if (std::isnan(losses[answer])) return kNone;
    const double length = lengths.empty() ? 1 : static_cast<double>(lengths[answer]);
    const double loss = static_cast<double>(losses[answer]) / length;
    if (loss < best) {
      best = loss;
      chosen = answer;
    }
  }
  return chosen == scored_answers(task, document).first ? 1.0F : 0.0F;
}

std::vector<float> shares_right(const TaskFile& task, std::span<const std::int64_t> documents,
                                std::span<const float> losses,
                                std::span<const std::int64_t> lengths) {
  std::vector<float> right;
  for (const std::int64_t document : documents) {
    right.push_back(is_right(task, document, losses, lengths));
  }
  return right;
}

// The linearised ratio of the losses to `weights` [the task's documents], times `unit`.
std::vector<float> linearised(const TaskFile& task, std::span<const std::int64_t> documents,
                              std::span<const float> losses, std::span<const std::int64_t> weights,
                              double unit) {
  std::vector<double> loss, weight;
  double all_loss = 0, all_weight = 0;
  for (const std::int64_t document : documents) {
    loss.push_back(sum_of(losses, answers_of(task, document)));
    weight.push_back(static_cast<double>(weights[static_cast<std::size_t>(document)]));
    all_loss += loss.back();
    all_weight += weight.back();
  }
  const double ratio = all_loss / all_weight;
  const double mean_weight = all_weight / static_cast<double>(documents.size());
  std::vector<float> values;
  for (std::size_t i = 0; i < documents.size(); ++i) {
    const double off = (loss[i] - ratio * weight[i]) / mean_weight;
    values.push_back(static_cast<float>(unit * (ratio + off)));
  }
  return values;
}

}  // namespace

CandidateScores document_scores(const TaskFile& task, std::span<const std::int64_t> documents,
                                const CandidateScores& sums) {
  CandidateScores scores;
  for (const MetricRow& row : metric_table()) {
    if (!sums[row.metric].empty()) {
      scores[row.metric] = token_means(task, documents, sums[row.metric]);
    }
  }
  const std::span<const float> losses = sums[Metric::kLoss];
  if (task.protocol.kind == TaskKind::kQuestions) {
    scores[Metric::kAcc] = shares_right(task, documents, losses, {});
    scores[Metric::kAccNorm] = shares_right(task, documents, losses, task.code_points);
    scores[Metric::kAccBytes] = shares_right(task, documents, losses, task.bytes);
  } else {
    scores[Metric::kWordPerplexity] = linearised(task, documents, losses, task.words, 1);
    scores[Metric::kBytePerplexity] = linearised(task, documents, losses, task.text_bytes, 1);
    scores[Metric::kBitsPerByte] =
        linearised(task, documents, losses, task.text_bytes, 1 / std::numbers::ln2);
  }
  return scores;
}

}  // namespace mnm
