#include "serve/completion_request.h"

#include <algorithm>
#include <limits>

#include "serve/api_error.h"
#include "serve/request_members.h"

namespace mnm {
namespace {

using Json = nlohmann::json;

constexpr std::int64_t kMost = std::numeric_limits<std::int64_t>::max();

std::vector<std::string> stops_of(const Json& value) {
  if (value.is_null()) return {};
  const Json list = value.is_array() ? value : Json::array({value});
  if (list.size() > kMostStops) refuse("stop", "'stop' has more than {} strings", kMostStops);
  std::vector<std::string> stops;
  for (const Json& one : list) {
    if (!one.is_string()) refuse("stop", "'stop' must be a string or a list of strings");
    const std::string text = one.get<std::string>();
    if (text.empty() || text.size() > kLongestStop) {
      refuse("stop", "a string of 'stop' must have 1 to {} bytes", kLongestStop);
    }
    stops.push_back(text);
  }
  return stops;
}

// A string, several strings, token ids, or several lists of token ids.
std::vector<PromptText> prompts_of(const Json& value) {
  if (value.is_string()) return {value.get<std::string>()};
  if (!value.is_array()) refuse("prompt", "'prompt' must be a string or a list");
  if (value.empty()) refuse("prompt", "'prompt' is an empty list");
  if (value.front().is_number()) return {token_ids(value, "prompt")};
  std::vector<PromptText> prompts;
  for (const Json& one : value) {
    if (one.is_string()) {
      prompts.emplace_back(one.get<std::string>());
    } else if (one.is_array()) {
      prompts.emplace_back(token_ids(one, "prompt"));
    } else {
      refuse("prompt", "'prompt' must hold strings, or lists of token ids");
    }
  }
  return prompts;
}

// A string, or parts of which each is a text.
std::string content_of(const Json& content, const std::string& param) {
  if (content.is_string()) return content.get<std::string>();
  if (!content.is_array()) refuse(param, "'{}' must be a string", param);
  std::string text;
  for (const Json& part : content) {
    const bool is_text = part.is_object() && part.value("type", Json()) == "text" &&
                         part.value("text", Json()).is_string();
    if (!is_text) refuse(param, "'{}' has a part that is no text: only text is read here", param);
    text += part.at("text").get<std::string>();
  }
  return text;
}

std::vector<ChatMessage> messages_of(const Json& list) {
  if (!list.is_array() || list.empty()) refuse("messages", "'messages' must be a list of messages");
  std::vector<ChatMessage> messages;
  for (std::size_t i = 0; i < list.size(); ++i) {
    const Json& one = list[i];
    const std::string at = fmt::format("messages[{}]", i);
    if (!one.is_object() || !one.value("role", Json()).is_string()) {
      refuse(at, "'{}' must be an object with a role", at);
    }
    std::string role = one.at("role").get<std::string>();
    if (role == "developer") role = "system";  // the newer name of the same
    if (role == "tool" || role == "function" || !one.value("tool_calls", Json()).is_null() ||
        !one.value("function_call", Json()).is_null()) {
      throw ApiError(400, at, "unsupported",
                     fmt::format("'{}' is of a tool call, and tools are not supported", at));
    }
    if (role != "system" && role != "user" && role != "assistant") {
      refuse(at + ".role", "'{}.role' must be system, user or assistant", at);
    }
    messages.push_back({role, content_of(one.value("content", Json()), at + ".content")});
  }
  return messages;
}

void take_completion(Members& members, CompletionRequest& request) {
  const Json prompt = members.take("prompt");
  if (prompt.is_null()) refuse("prompt", "the request has no 'prompt'");
  request.prompts = prompts_of(prompt);
  request.max_tokens = members.whole("max_tokens", 0, kMost);
  request.alternatives = members.whole("logprobs", 0, 20);
  request.echo = members.flag("echo");
  members.require_idle("suffix", {""}, "text is only continued");
  const std::optional<std::int64_t> best_of = members.whole("best_of", 1, kMostChoices);
  if (best_of && *best_of != request.n) {
    refuse("best_of", "'best_of' must equal 'n': completions are not ranked here");
  }
}

void take_chat(Members& members, CompletionRequest& request) {
  constexpr const char* kTools = "no template of tool calls is read here";
  members.require_idle("tools", {Json::array()}, kTools);
  members.require_idle("functions", {Json::array()}, kTools);
  members.require_idle("tool_choice", {"none", "auto"}, kTools);
  members.require_idle("function_call", {"none", "auto"}, kTools);
  members.require_idle("parallel_tool_calls", {true, false}, kTools);
  members.require_idle("response_format", {Json{{"type", "text"}}}, "answers are free text");
  members.require_idle("modalities", {Json{"text"}}, "answers are text");
  members.require_idle("audio", {}, "answers are text");
  members.require_idle("reasoning_effort", {"none"}, "a template decides whether a model thinks");
  request.messages = messages_of(members.take("messages"));
  request.max_tokens = members.whole("max_tokens", 1, kMost);
  const std::optional<std::int64_t> newer = members.whole("max_completion_tokens", 1, kMost);
  if (newer) request.max_tokens = newer;
  const bool wanted = members.flag("logprobs");
  const std::optional<std::int64_t> top = members.whole("top_logprobs", 0, 20);
  if (top && !wanted) refuse("top_logprobs", "'top_logprobs' needs 'logprobs': true");
  if (wanted) request.alternatives = top.value_or(0);
}

void take_sampling(Members& members, CompletionRequest& request) {
  request.sampling = members.sampling(1);
  if (const auto seed = members.whole("seed", std::numeric_limits<std::int64_t>::min(), kMost)) {
    request.seed = static_cast<std::uint64_t>(*seed);
  }
  constexpr const char* kPlain = "tokens are drawn by temperature, top_k and top_p alone";
  for (const char* name : {"presence_penalty", "frequency_penalty", "min_p"}) {
    members.require_idle(name, {0, 0.0}, kPlain);
  }
  members.require_idle("logit_bias", {Json::object()}, kPlain);
}

void take_stream(Members& members, CompletionRequest& request) {
  request.stream = members.flag("stream");
  const Json options = members.take("stream_options");
  if (options.is_null()) return;
  if (!options.is_object() || !request.stream) {
    refuse("stream_options", "'stream_options' is an object that goes with 'stream': true");
  }
  Members inner(options);
  request.include_usage = inner.flag("include_usage");
  inner.take("include_obfuscation");
  inner.require_empty();
}

}  // namespace

CompletionRequest parse_completion_request(Endpoint endpoint, std::string_view body) {
  Members members(parse_body(body));
  CompletionRequest request;
  request.endpoint = endpoint;
  request.model = members.text("model");
  request.n = members.whole("n", 1, kMostChoices).value_or(1);
  take_sampling(members, request);
  take_stream(members, request);
  request.stop = stops_of(members.take("stop"));
  request.ignore_end = members.flag("ignore_eos");
  request.return_token_ids = members.flag("return_token_ids");
  endpoint == Endpoint::kChat ? take_chat(members, request) : take_completion(members, request);
  // What only the provider of a service does something with.
  for (const char* name : {"user", "metadata", "store", "service_tier", "safety_identifier",
                           "prompt_cache_key", "prompt_cache_retention"}) {
    members.take(name);
  }
  members.require_empty();
  const std::int64_t prompts =
      std::max<std::int64_t>(1, static_cast<std::int64_t>(request.prompts.size()));
  if (prompts > kMostChoices || prompts * request.n > kMostChoices) {
    refuse("n", "the request asks for {} completions, and at most {} are made", prompts * request.n,
           kMostChoices);
  }
  return request;
}

}  // namespace mnm
