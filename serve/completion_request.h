// What a client asks for: the bodies of POST /v1/completions and POST /v1/chat/completions of
// OpenAI's protocol, read into one plain struct. Pure: no model and no network.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "generate/sampler.h"

namespace mnm {

enum class Endpoint : std::uint8_t { kCompletions, kChat };

struct ChatMessage {
  std::string role;  // "system", "user" or "assistant"
  std::string content;
};

using PromptText = std::variant<std::string, std::vector<std::int64_t>>;  // text, or token ids

struct CompletionRequest {
  Endpoint endpoint = Endpoint::kCompletions;
  std::string model;                  // a name of /v1/models, or widths such as "64x4,256x4"
  std::vector<PromptText> prompts;    // of kCompletions: one or more
  std::vector<ChatMessage> messages;  // of kChat: one or more
  std::optional<std::int64_t> max_tokens;
  std::int64_t n = 1;  // completions per prompt
  Sampling sampling{.temperature = 1};
  std::optional<std::uint64_t> seed;  // completion i of the request draws with seed + i
  std::vector<std::string> stop;      // none is empty
  // How many alternatives are told beside each token's log probability. Nothing: no probabilities.
  std::optional<std::int64_t> alternatives;
  bool echo = false;              // the answer begins with the prompt
  bool stream = false;            // by server-sent events
  bool include_usage = false;     // a last event of the stream has `usage`
  bool ignore_end = false;        // goes on after a token that ends a text
  bool return_token_ids = false;  // choices have `token_ids`
};

inline constexpr std::int64_t kMostChoices = 64;  // prompts x n
inline constexpr std::size_t kMostStops = 16;
inline constexpr std::size_t kLongestStop = 1024;  // bytes

// `body` is the request's, as it came. ApiError if it is not JSON, if a member has the wrong type
// or a value out of range, or if it asks for what this server does not do. Members that no version
// of the protocol has are refused too: who misspells `max_tokens` wants to know.
CompletionRequest parse_completion_request(Endpoint endpoint, std::string_view body);

}  // namespace mnm
