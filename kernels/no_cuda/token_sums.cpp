#include "kernels/cuda/token_sums.h"

#include "kernels/failure.h"

namespace mnm {

const char* read_logits_cuda(const LogitChunk&, TokenSums*) { return kNoCuda; }

const char* score_tokens_cuda(const TokenSums*, std::int64_t, const std::int64_t*, std::int64_t,
                              const TokenMetrics&) {
  return kNoCuda;
}

const char* add_acceptance_cuda(const LogitChunk&, const TokenSums*, float*) { return kNoCuda; }

}  // namespace mnm
