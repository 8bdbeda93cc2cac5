// read_logits, score_tokens and add_acceptance (kernels/token_sums.h) on a CUDA device. Pointers
// are the device's, also those inside the structures; nothing is copied or waited for. They are
// launched on the default stream of the current device. Each returns nullptr if it was launched,
// else the reason (a text that is never freed).
//
// kernels/cuda/token_sums.cu is linked, or, where there is no CUDA, kernels/no_cuda/token_sums.cpp.
#pragma once

#include <cstdint>

#include "kernels/token_sums.h"

namespace mnm {

const char* read_logits_cuda(const LogitChunk& chunk, TokenSums* sums);

const char* score_tokens_cuda(const TokenSums* sums, std::int64_t rows, const std::int64_t* targets,
                              std::int64_t period, const TokenMetrics& metrics);

const char* add_acceptance_cuda(const LogitChunk& chunk, const TokenSums* sums, float* acceptance);

}  // namespace mnm
