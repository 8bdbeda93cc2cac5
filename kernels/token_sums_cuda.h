// read_logits, score_tokens and add_acceptance (kernels/token_sums.h) on a CUDA device. Pointers
// are the device's, inside the structures as well; nothing is copied or waited for. Launched on the
// default stream of the current device; nullptr where it was, else why not (a text that lives for
// ever).
//
// Which of two files is linked decides what is behind it: token_sums_cuda.cu, or, where there is no
// CUDA, token_sums_no_cuda.cpp.
#pragma once

#include <cstdint>

#include "kernels/token_sums.h"

namespace mnm {

const char* read_logits_cuda(const LogitChunk& chunk, TokenSums* sums);

const char* score_tokens_cuda(const TokenSums* sums, std::int64_t rows, const std::int64_t* targets,
                              std::int64_t period, const TokenMetrics& metrics);

const char* add_acceptance_cuda(const LogitChunk& chunk, const TokenSums* sums, float* acceptance);

}  // namespace mnm
