#include "serve/completion_response.h"

#include <fmt/format.h>

#include <cmath>

#include "text/byte_letters.h"
#include "text/byte_tokens.h"
#include "text/tokenizer_json.h"
#include "text/utf8.h"

namespace mnm {
namespace {

using Json = nlohmann::ordered_json;

std::string dump(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Json number_or_null(double value) { return std::isfinite(value) ? Json(value) : Json(); }

Json finish_json(const std::optional<FinishReason>& finish) {
  if (!finish) return nullptr;
  return *finish == FinishReason::kStop ? "stop" : "length";
}

Json widths_json(const std::vector<WidthsUse>& uses) {
  Json list = Json::array();
  for (const WidthsUse& use : uses) {
    list.push_back({{"widths", use.widths},
                    {"prompt_tokens", use.prompt_tokens},
                    {"completion_tokens", use.completion_tokens}});
  }
  return list;
}

Json usage_json(const TokenUsage& usage) {
  return {{"prompt_tokens", usage.prompt_tokens},
          {"completion_tokens", usage.completion_tokens},
          {"total_tokens", usage.prompt_tokens + usage.completion_tokens},
          {"prompt_tokens_details", {{"cached_tokens", usage.cached_tokens}}}};
}

Json bytes_json(const std::string& bytes) {
  Json list = Json::array();
  for (const char c : bytes) list.push_back(static_cast<unsigned char>(c));
  return list;
}

}  // namespace

std::string event_of(const std::string& data) { return fmt::format("data: {}\n\n", data); }

std::string bytes_of_token(const TokenizerJson& tokenizer, std::int64_t id) {
  const Token& token = tokenizer.tokens.at(static_cast<std::size_t>(id));
  const DecoderSteps& decoder = tokenizer.decoder;
  if (token.kind != TokenKind::kNormal) return token.text;
  if (decoder.byte_level) return bytes_of_letters(token.text);
  if (decoder.byte_fallback) {
    if (const auto byte = byte_of_token(token.text)) return {static_cast<char>(*byte)};
  }
  std::string text = token.text;
  const std::string& space = decoder.metaspace;
  for (std::size_t at = 0; !space.empty() && (at = text.find(space, at)) != text.npos; ++at) {
    text.replace(at, space.size(), 1, ' ');
  }
  return text;
}

std::string text_of_bytes(const std::string& bytes) {
  Utf8Stream stream;
  std::string text = stream.feed(bytes);
  return text += stream.finish();
}

ResponseFormat::ResponseFormat(ResponseHead common, const TokenizerJson* tokenizer)
    : head_(std::move(common)), tokenizer_(tokenizer) {}

Json ResponseFormat::head(const char* object) const {
  return {{"id", head_.id}, {"object", object}, {"created", head_.created}, {"model", head_.model}};
}

// {"tokens", "token_logprobs", "top_logprobs", "text_offset"}
Json ResponseFormat::probabilities(const OutputPiece& output) const {
  const auto word = [&](std::int64_t id) {
    return tokenizer_ == nullptr ? fmt::format("token_id:{}", id)
                                 : text_of_bytes(bytes_of_token(*tokenizer_, id));
  };
  Json tokens = Json::array(), logprobs = Json::array(), tops = Json::array();
  for (const ScoredToken& token : output.tokens) {
    tokens.push_back(word(token.id));
    logprobs.push_back(number_or_null(token.logprob));
    Json top = Json::object();
    for (const auto& [id, logprob] : token.alternatives) {
      if (!top.contains(word(id))) top[word(id)] = number_or_null(logprob);
    }
    tops.push_back(std::isnan(token.logprob) ? Json() : std::move(top));
  }
  return {{"tokens", tokens},
          {"token_logprobs", logprobs},
          {"top_logprobs", tops},
          {"text_offset", output.text_offsets}};
}

// {"content": [{"token", "logprob", "bytes", "top_logprobs"}]}
Json ResponseFormat::chat_probabilities(const OutputPiece& output) const {
  const auto described = [&](std::int64_t id, double logprob) {
    if (tokenizer_ == nullptr) {
      return Json{{"token", fmt::format("token_id:{}", id)},
                  {"logprob", number_or_null(logprob)},
                  {"bytes", nullptr}};
    }
    const std::string bytes = bytes_of_token(*tokenizer_, id);
    return Json{{"token", text_of_bytes(bytes)},
                {"logprob", number_or_null(logprob)},
                {"bytes", bytes_json(bytes)}};
  };
  Json content = Json::array();
  for (const ScoredToken& token : output.tokens) {
    Json one = described(token.id, token.logprob);
    one["top_logprobs"] = Json::array();
    for (const auto& [id, logprob] : token.alternatives) {
      one["top_logprobs"].push_back(described(id, logprob));
    }
    content.push_back(std::move(one));
  }
  return {{"content", content}};
}

void ResponseFormat::add_tokens(Json& choice, const OutputPiece& output) const {
  choice["logprobs"] = nullptr;
  if (head_.alternatives) {
    choice["logprobs"] =
        head_.endpoint == Endpoint::kChat ? chat_probabilities(output) : probabilities(output);
  }
  if (head_.return_token_ids) {
    Json ids = Json::array();
    for (const ScoredToken& token : output.tokens) ids.push_back(token.id);
    choice["token_ids"] = std::move(ids);
  }
}

std::string ResponseFormat::whole(const std::vector<Choice>& choices,
                                  const TokenUsage& usage) const {
  const bool chat = head_.endpoint == Endpoint::kChat;
  Json response = head(chat ? "chat.completion" : "text_completion");
  response["choices"] = Json::array();
  for (const Choice& choice : choices) {
    Json one = {{"index", choice.index}};
    if (chat) {
      one["message"] = {
          {"role", "assistant"}, {"content", choice.output.text}, {"refusal", nullptr}};
    } else {
      one["text"] = choice.output.text;
    }
    add_tokens(one, choice.output);
    one["finish_reason"] = finish_json(choice.finish);
    one["widths"] = widths_json(choice.widths);
    response["choices"].push_back(std::move(one));
  }
  response["usage"] = usage_json(usage);
  return dump(response);
}

std::string ResponseFormat::first_event(std::int64_t index) const {
  Json response = head("chat.completion.chunk");
  response["choices"] = {{{"index", index},
                          {"delta", {{"role", "assistant"}, {"content", ""}}},
                          {"logprobs", nullptr},
                          {"finish_reason", nullptr}}};
  return dump(response);
}

std::string ResponseFormat::event(const Choice& choice) const {
  const bool chat = head_.endpoint == Endpoint::kChat;
  Json response = head(chat ? "chat.completion.chunk" : "text_completion");
  Json one = {{"index", choice.index}};
  if (chat) {
    one["delta"] = Json::object();
    if (!choice.output.text.empty() || !choice.finish) {
      one["delta"]["content"] = choice.output.text;
    }
  } else {
    one["text"] = choice.output.text;
  }
  add_tokens(one, choice.output);
  one["finish_reason"] = finish_json(choice.finish);
  one["widths"] = choice.finish ? widths_json(choice.widths)
                                : Json(choice.widths.empty() ? "" : choice.widths.back().widths);
  response["choices"] = Json::array({std::move(one)});
  return dump(response);
}

std::string ResponseFormat::usage_event(const TokenUsage& usage) const {
  Json response =
      head(head_.endpoint == Endpoint::kChat ? "chat.completion.chunk" : "text_completion");
  response["choices"] = Json::array();
  response["usage"] = usage_json(usage);
  return dump(response);
}

}  // namespace mnm
