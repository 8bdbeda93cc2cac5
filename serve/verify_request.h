// The bodies of POST /v1/verify and of its answer: a text, what a client's draft proposes after it,
// and how much of that the server keeps. Pure.
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

struct VerifyAnswer {
  std::string session;        // in which the server keeps the text
  std::int64_t accepted = 0;  // proposals
  std::int64_t token = 0;     // the verifier's own, after them
  std::int64_t length = 0;    // tokens of the text with both
  std::string widths;         // of the verifier
  std::int64_t computed = 0;  // tokens that it computed anew
  double seconds = 0;         // that it took
};

// Nothing if a member is absent or of another type, a count is negative, or `seconds` is no time.
std::optional<VerifyAnswer> parse_verify_answer(std::string_view body);

// As the server writes it.
nlohmann::ordered_json json_of(const VerifyAnswer& answer);

}  // namespace mnm
