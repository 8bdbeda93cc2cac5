// From the log-likelihoods of a task's answers to the values of its documents, as lm-evaluation-
// harness 0.4.13 defines them (lm_eval/api/task.py, process_results; lm_eval/api/metrics.py).
//
// A metric of all questions is the mean over documents. The loss and what else a readout measures
// are means over the scored tokens of the right choice, or of the whole text.
//
// Perplexities of texts are ratios R = L / W. L is the sum of the losses of all texts, and W the
// sum of their words or bytes. A ratio shall also be a mean over documents, with the standard error
// of a mean. So the value of document d is linearised (Cochran, Sampling Techniques, 1977, section
// 6.4):
//
//   v_d = R + (L_d - R W_d) / mean(W_d)
//
// The mean of v_d is R. Its standard error is that of a ratio estimate. The mean of v_d - v'_d is
// the difference of two ratios. Values are in nats per word and per byte, and in bits per byte.
#pragma once

#include <cstdint>
#include <span>

#include "dataset/task_file.h"
#include "eval/scores.h"

namespace mnm {

// `sums`: for each metric of a readout that was measured, its sum over the scored tokens of every
// answer of the task, [answers]. `documents`: those that are scored, ascending. The result has
// values for each of them, of those metrics and of all that belong to the task's kind. A document
// with an answer that is no number has values that are none.
CandidateScores document_scores(const TaskFile& task, std::span<const std::int64_t> documents,
                                const CandidateScores& sums);

}  // namespace mnm
