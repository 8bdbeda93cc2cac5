// The answers of /v1/completions and /v1/chat/completions as JSON: whole ones, and the events of a
// stream. Pure.
//
// Every answer says at what widths it was computed, in a member that OpenAI's protocol does not
// have: "widths": [{"widths", "prompt_tokens", "completion_tokens"}], of each completion. An event
// of a stream has the widths of its newest token as text; the last event of a completion has the
// list.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "serve/completion_request.h"
#include "serve/output_text.h"
#include "text/tokenizer_json.h"

namespace mnm {

// Why a completion ended.
enum class FinishReason : std::uint8_t { kStop, kLength };

// How many tokens of a completion were computed at some widths.
struct WidthsUse {
  std::string widths;
  std::int64_t prompt_tokens = 0, completion_tokens = 0;
};

struct TokenUsage {
  std::int64_t prompt_tokens = 0, completion_tokens = 0;
  std::int64_t cached_tokens = 0;  // of the prompt, that an earlier one had computed
};

// One completion, so far or whole.
struct Choice {
  std::int64_t index = 0;
  OutputPiece output;
  std::optional<FinishReason> finish;
  std::vector<WidthsUse> widths;
};

// What all answers to one request have in common.
struct ResponseHead {
  Endpoint endpoint = Endpoint::kCompletions;
  std::string id;            // "cmpl-..."
  std::int64_t created = 0;  // Unix time, seconds
  std::string model;         // as the client named it
  std::optional<std::int64_t> alternatives;
  bool return_token_ids = false;
};

class ResponseFormat {
 public:
  // No tokenizer: tokens have no words.
  ResponseFormat(ResponseHead head, const TokenizerJson* tokenizer);

  std::string whole(const std::vector<Choice>& choices, const TokenUsage& usage) const;

  // The data of events.
  std::string first_event(std::int64_t index) const;  // of a chat: it names the role
  std::string event(const Choice& choice) const;
  std::string usage_event(const TokenUsage& usage) const;

 private:
  nlohmann::ordered_json head(const char* object) const;
  nlohmann::ordered_json probabilities(const OutputPiece& output) const;
  nlohmann::ordered_json chat_probabilities(const OutputPiece& output) const;
  void add_tokens(nlohmann::ordered_json& choice, const OutputPiece& output) const;

  ResponseHead head_;
  const TokenizerJson* tokenizer_;
};

// "data: ...\n\n"; the last of a stream is event_of("[DONE]").
std::string event_of(const std::string& data);

// The bytes that a token stands for, and those bytes as UTF-8 text; what is not UTF-8 is U+FFFD.
std::string bytes_of_token(const TokenizerJson& tokenizer, std::int64_t id);
std::string text_of_bytes(const std::string& bytes);

}  // namespace mnm
