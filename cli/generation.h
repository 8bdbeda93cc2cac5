// The generation loop: a prompt through a decoder, then one token after the other.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <span>
#include <string_view>
#include <vector>

#include "engine/engine.h"
#include "model/cost.h"
#include "model/nested_model.h"
#include "model/random.h"
#include "text/sampler.h"

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
  double decode_seconds = 0;  // of the passes after the prompt's
  std::int64_t decoded = 0;   // how many those were
};

// Generates tokens after `prompt`, which has at least one token and at most `context`. Each new
// token goes to `sink` at once. If `sink` returns false, generating stops. `sink` is also called
// between the chunks of the prompt, with no token. Each token takes one random number.
Generation generate(Decoder& decoder, std::span<const std::int64_t> prompt,
                    const GenerationLimits& limits, Sampler& sampler, Random& random,
                    const std::function<bool(std::optional<std::int64_t>)>& sink);

// Bytes that one pass over one token reads, in `dtype`: the weights of the submodel, and the cache
// of `position` tokens. Of an embedding that is not the head it is one row.
std::uint64_t bytes_per_token(const NestedModel& model, const Widths& widths, Dtype dtype,
                              double position);

}  // namespace mnm
