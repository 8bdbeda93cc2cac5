#include "serve/verify_request.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "serve/api_error.h"
#include "serve/request_members.h"

namespace mnm {
namespace {

using Json = nlohmann::json;

constexpr std::int64_t kMost = std::numeric_limits<std::int64_t>::max();

std::optional<std::string> text_or_nothing(Members& members, const std::string& name) {
  const Json value = members.take(name);
  if (value.is_null()) return std::nullopt;
  if (!value.is_string()) refuse(name, "'{}' must be a string", name);
  return value.get<std::string>();
}

// What a proposal was drawn from: pairs of an id and a number above 0.
std::vector<std::pair<std::int64_t, double>> distribution_of(const Json& pairs,
                                                             std::int64_t token) {
  std::vector<std::pair<std::int64_t, double>> out;
  double sum = 0;
  for (const Json& pair : pairs) {
    const bool right = pair.is_array() && pair.size() == 2 && pair[0].is_number_unsigned() &&
                       pair[0].get<std::uint64_t>() <= static_cast<std::uint64_t>(kMost) &&
                       pair[1].is_number() && pair[1].get<double>() > 0;
    if (!right) {
      refuse("draft", "'probabilities' must hold pairs of a token id and a number above 0");
    }
    out.emplace_back(pair[0].get<std::int64_t>(), pair[1].get<double>());
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
  const auto id = [](const Json& token) {
    if (!token.is_number_unsigned() ||
        token.get<std::uint64_t>() > static_cast<std::uint64_t>(kMost)) {
      refuse("draft", "'draft' must hold token ids, or objects with a 'token'");
    }
    return token.get<std::int64_t>();
  };
  if (!json.is_object()) {
    if (!greedy) {
      refuse("draft",
             "with a temperature each proposal must say what it was drawn from: "
             "{{\"token\": 5, \"probabilities\": [[5, 0.75], [7, 0.25]]}}");
    }
    return {id(json), {{id(json), 1}}};
  }
  Members members(json);
  Proposal out{id(members.take("token"))};
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
  request.model = text_or_nothing(members, "model");
  request.session = text_or_nothing(members, "session");
  const auto keep = members.whole("keep", 0, kMost);
  if (keep.has_value() != request.session.has_value()) {
    refuse("keep", "'session' and 'keep' go together: which text goes on, and from where");
  }
  request.keep = keep.value_or(0);
  request.tokens = token_ids(members.take("tokens"), "tokens");
  Sampling& sampling = request.sampling;
  sampling.temperature = members.real("temperature", 0, 0, 1e6);
  sampling.top_p = members.real("top_p", 1, 0, 1);
  if (sampling.top_p == 0) refuse("top_p", "'top_p' must be above 0");
  sampling.top_k = members.whole("top_k", 0, kMost).value_or(0);
  if (const auto seed = members.whole("seed", 0, kMost)) {
    request.seed = static_cast<std::uint64_t>(*seed);
  }
  request.vocabulary = members.whole("vocabulary", 1, kMost);
  request.tokenizer = text_or_nothing(members, "tokenizer");
  const Json draft = members.take("draft");
  if (!draft.is_array()) refuse("draft", "'draft' must be a list of proposals");
  if (std::cmp_greater(draft.size(), kMostProposals)) {
    refuse("draft", "'draft' has {} proposals, and at most {} are verified together", draft.size(),
           kMostProposals);
  }
  for (const Json& one : draft) {
    request.draft.push_back(proposal_of(one, sampling.temperature == 0));
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

}  // namespace mnm
