#include "serve/verify_request.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "serve/api_error.h"
#include "serve/request_members.h"

namespace mnm {
namespace {

using Json = nlohmann::json;

constexpr std::int64_t kMost = std::numeric_limits<std::int64_t>::max();

// What a proposal was drawn from: pairs of an id and a number above 0.
std::vector<std::pair<std::int64_t, double>> distribution_of(const Json& pairs,
                                                             std::int64_t token) {
  std::vector<std::pair<std::int64_t, double>> out;
  double sum = 0;
  for (const Json& pair : pairs) {
    const auto id = pair.is_array() && pair.size() == 2 ? token_id(pair[0]) : std::nullopt;
    if (!id || !pair[1].is_number() || !(pair[1].get<double>() > 0)) {
      refuse("draft", "'probabilities' must hold pairs of a token id and a number above 0");
    }
    out.emplace_back(*id, pair[1].get<double>());
    sum += out.back().second;
  }
  if (!std::isfinite(sum)) refuse("draft", "the 'probabilities' of a proposal have no finite sum");
  std::ranges::sort(out);
  const auto id = [](const auto& pair) { return pair.first; };
  if (std::ranges::adjacent_find(out, {}, id) != out.end()) {
    refuse("draft", "the 'probabilities' of a proposal name a token twice");
  }
  if (!std::ranges::binary_search(out, token, {}, id)) {
    refuse("draft", "the 'probabilities' of a proposal leave out its own token");
  }
  return out;
}

Proposal proposal_of(const Json& json, bool greedy) {
  const auto required = [](const Json& token) {
    const std::optional<std::int64_t> id = token_id(token);
    if (!id) refuse("draft", "'draft' must hold token ids, or objects with a 'token'");
    return *id;
  };
  if (!json.is_object()) {
    if (!greedy) {
      refuse("draft",
             "with a temperature each proposal must say what it was drawn from: "
             "{{\"token\": 5, \"probabilities\": [[5, 0.75], [7, 0.25]]}}");
    }
    return {required(json), {{required(json), 1}}};
  }
  Members members(json);
  Proposal out{required(members.take("token"))};
  const Json from = members.take("probabilities");
  members.require_empty();
  if (!from.is_array()) refuse("draft", "a proposal has no list of 'probabilities'");
  out.from = distribution_of(from, out.token);
  if (greedy) out.from = {{out.token, 1}};
  return out;
}

}  // namespace

VerifyRequest parse_verify_request(std::string_view body) {
  Members members(parse_body(body));
  VerifyRequest request;
  request.model = members.optional_text("model");
  request.session = members.optional_text("session");
  const auto keep = members.whole("keep", 0, kMost);
  if (keep.has_value() != request.session.has_value()) {
    refuse("keep", "'session' and 'keep' go together: which text goes on, and from where");
  }
  request.keep = keep.value_or(0);
  request.tokens = token_ids(members.take("tokens"), "tokens");
  request.sampling = members.sampling(0);
  if (const auto seed = members.whole("seed", 0, kMost)) {
    request.seed = static_cast<std::uint64_t>(*seed);
  }
  request.vocabulary = members.whole("vocabulary", 1, kMost);
  request.tokenizer = members.optional_text("tokenizer");
  const Json draft = members.take("draft");
  if (!draft.is_array()) refuse("draft", "'draft' must be a list of proposals");
  if (std::cmp_greater(draft.size(), kMostProposals)) {
    refuse("draft", "'draft' has {} proposals, and at most {} are verified together", draft.size(),
           kMostProposals);
  }
  for (const Json& one : draft) {
    request.draft.push_back(proposal_of(one, request.sampling.temperature == 0));
  }
  members.require_empty();
  return request;
}

namespace {

// Whole numbers are shorter without their ".0".
Json pairs_of(const Proposal& proposal) {
  Json pairs = Json::array();
  for (const auto& [id, weight] : proposal.from) {
    const bool whole = weight == std::floor(weight) && weight < 1e15;
    pairs.push_back({id, whole ? Json(static_cast<std::int64_t>(weight)) : Json(weight)});
  }
  return pairs;
}

}  // namespace

Json json_of(const VerifyRequest& request) {
  const bool greedy = request.sampling.temperature == 0;
  Json json = {{"tokens", request.tokens}, {"draft", Json::array()}};
  for (const Proposal& proposal : request.draft) {
    json["draft"].push_back(
        greedy ? Json(proposal.token)
               : Json{{"token", proposal.token}, {"probabilities", pairs_of(proposal)}});
  }
  if (request.session) {
    json["session"] = *request.session;
    json["keep"] = request.keep;
  }
  if (!greedy) {
    json["temperature"] = request.sampling.temperature;
    if (request.sampling.top_p < 1) json["top_p"] = request.sampling.top_p;
    if (request.sampling.top_k > 0) json["top_k"] = request.sampling.top_k;
    if (request.seed) json["seed"] = *request.seed;
  }
  if (request.model) json["model"] = *request.model;
  if (request.vocabulary) json["vocabulary"] = *request.vocabulary;
  if (request.tokenizer) json["tokenizer"] = *request.tokenizer;
  return json;
}

std::optional<VerifyAnswer> parse_verify_answer(std::string_view body) {
  try {
    Members members(parse_body(body));
    const auto session = members.optional_text("session"), widths = members.optional_text("widths");
    const auto count = [&](const char* name) { return members.whole(name, 0, kMost); };
    const auto accepted = count("accepted"), token = count("token"), length = count("length"),
               computed = count("computed");
    const Json seconds = members.take("seconds");
    if (!session || !widths || !accepted || !token || !length || !computed) return std::nullopt;
    const double time = seconds.is_number() ? seconds.get<double>() : -1;
    if (!std::isfinite(time) || time < 0) return std::nullopt;
    return VerifyAnswer{*session, *accepted, *token, *length, *widths, *computed, time};
  } catch (const ApiError&) {
    return std::nullopt;
  }
}

nlohmann::ordered_json json_of(const VerifyAnswer& answer) {
  return {{"session", answer.session}, {"accepted", answer.accepted}, {"token", answer.token},
          {"length", answer.length},   {"widths", answer.widths},     {"computed", answer.computed},
          {"seconds", answer.seconds}};
}

}  // namespace mnm
