// The body of POST /v1/verify: a text, and what a client's draft proposes after it. Pure.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "generate/sampler.h"
#include "serve/running_job.h"

namespace mnm {

struct VerifyRequest {
  std::optional<std::string> model;  // as of a completion, but not elastic; nothing: the whole one
  std::optional<std::string> session;  // of an earlier answer; nothing: a new one
  std::int64_t keep = 0;               // tokens of the session's text that stay
  std::vector<std::int64_t> tokens;    // that follow them, and are not in doubt
  std::vector<Proposal> draft;         // up to kMostProposals
  Sampling sampling;                   // of the verifier
  std::optional<std::uint64_t> seed;
  // The client's own vocabulary and fingerprint_of its tokenizer, if it wants them to be compared.
  std::optional<std::int64_t> vocabulary;
  std::optional<std::string> tokenizer;
};

// ApiError as parse_completion_request's.
VerifyRequest parse_verify_request(std::string_view body);

// The same request as a client writes it.
nlohmann::json json_of(const VerifyRequest& request);

}  // namespace mnm
