// The generation loop: a prompt into a source of tokens, then one token after the other.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <span>
#include <string_view>
#include <vector>

#include "generate/token_source.h"
#include "model/cost.h"
#include "model/nested_model.h"

namespace mnm {

struct GenerationLimits {
  std::int64_t new_tokens = 128;
  std::int64_t context = 0;     // positions that the model has
  std::set<std::int64_t> ends;  // tokens that end a text
};

enum class Finish : std::uint8_t { kEnd, kNewTokens, kContext, kStopped };
std::string_view to_string(Finish finish);  // "end", "new tokens", "context", "stopped"

struct Generation {
  std::vector<std::int64_t> tokens;  // without the prompt, with the token that ended the text
  Finish finish = Finish::kStopped;
  double prefill_seconds = 0;
  double decode_seconds = 0;  // of computing the tokens after the first
  std::int64_t decoded = 0;   // how many those are
};

// Generates tokens after `prompt`, which has at least one token and at most `context`. Each new
// token goes to `sink` at once. If `sink` returns false, generating stops. `sink` is also called
// between the chunks of the prompt, with no token. Tokens that the source gave after the last one
// that is wanted are dropped.
Generation generate(TokenSource& source, std::span<const std::int64_t> prompt,
                    const GenerationLimits& limits,
                    const std::function<bool(std::optional<std::int64_t>)>& sink);

// Bytes that one pass over one token reads, in `dtype`: the weights of the submodel, and the cache
// of `position` tokens. Of an embedding that is not the head it is one row.
std::uint64_t bytes_per_token(const NestedModel& model, const Widths& widths, Dtype dtype,
                              double position);

}  // namespace mnm
