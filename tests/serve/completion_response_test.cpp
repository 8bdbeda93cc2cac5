#include "serve/completion_response.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <limits>

#include "serve/api_error.h"
#include "serve/bearer_token.h"
#include "serve/metrics.h"
#include "text/tokenizer_json.h"

namespace mnm {
namespace {

using Json = nlohmann::json;

const TokenizerJson& bytes() {
  static const TokenizerJson tokenizer = byte_tokenizer();
  return tokenizer;
}

Choice choice() {
  Choice out;
  out.index = 1;
  out.output = {"hi", {{'h', -0.5, {{'h', -0.5}, {0xff, -2.5}}}, {'i', -1, {}}}, {0, 1}, false};
  out.finish = FinishReason::kLength;
  out.widths = {{"64x8", 3, 1}, {"128x8", 0, 1}};
  return out;
}

ResponseFormat format(Endpoint endpoint, std::optional<std::int64_t> alternatives = {}) {
  return {{endpoint, "id-1", 1700000000, "auto", alternatives, true}, &bytes()};
}

TEST(CompletionResponse, ACompletion) {
  const Json json = Json::parse(format(Endpoint::kCompletions, 2).whole({choice()}, {3, 2, 1}));
  EXPECT_EQ(json["object"], "text_completion");
  EXPECT_EQ(json["model"], "auto");
  EXPECT_EQ(json["usage"]["total_tokens"], 5);
  EXPECT_EQ(json["usage"]["prompt_tokens_details"]["cached_tokens"], 1);
  const Json& one = json["choices"][0];
  EXPECT_EQ(one["index"], 1);
  EXPECT_EQ(one["text"], "hi");
  EXPECT_EQ(one["finish_reason"], "length");
  EXPECT_EQ(one["token_ids"], (Json{'h', 'i'}));
  EXPECT_EQ(one["logprobs"]["tokens"], (Json{"h", "i"}));
  EXPECT_EQ(one["logprobs"]["token_logprobs"], (Json{-0.5, -1.0}));
  EXPECT_EQ(one["logprobs"]["text_offset"], (Json{0, 1}));
  EXPECT_EQ(one["logprobs"]["top_logprobs"][0]["h"], -0.5);
  EXPECT_EQ(one["widths"][1],
            (Json{{"widths", "128x8"}, {"prompt_tokens", 0}, {"completion_tokens", 1}}));
}

TEST(CompletionResponse, AChat) {
  const Json json = Json::parse(format(Endpoint::kChat, 2).whole({choice()}, {}));
  EXPECT_EQ(json["object"], "chat.completion");
  EXPECT_EQ(json["choices"][0]["message"]["role"], "assistant");
  EXPECT_EQ(json["choices"][0]["message"]["content"], "hi");
  const Json& first = json["choices"][0]["logprobs"]["content"][0];
  EXPECT_EQ(first["token"], "h");
  EXPECT_EQ(first["top_logprobs"][1]["bytes"], Json({0xff}));
  EXPECT_EQ(first["top_logprobs"][1]["token"], "\xef\xbf\xbd");
}

TEST(CompletionResponse, Events) {
  const ResponseFormat chat = format(Endpoint::kChat);
  EXPECT_EQ(Json::parse(chat.first_event(0))["choices"][0]["delta"]["role"], "assistant");
  Choice part = choice();
  part.finish.reset();
  part.widths = {{"64x8", 0, 0}};
  const Json event = Json::parse(chat.event(part));
  EXPECT_EQ(event["object"], "chat.completion.chunk");
  EXPECT_EQ(event["choices"][0]["delta"]["content"], "hi");
  EXPECT_EQ(event["choices"][0]["widths"], "64x8");
  EXPECT_TRUE(event["choices"][0]["finish_reason"].is_null());
  EXPECT_EQ(Json::parse(chat.event(choice()))["choices"][0]["finish_reason"], "length");
  const Json usage = Json::parse(chat.usage_event({1, 2, 0}));
  EXPECT_TRUE(usage["choices"].empty());
  EXPECT_EQ(usage["usage"]["total_tokens"], 3);
  EXPECT_EQ(event_of("[DONE]"), "data: [DONE]\n\n");
}

TEST(CompletionResponse, WhatIsNoNumberIsNull) {
  Choice one = choice();
  one.output.tokens[0].logprob = std::numeric_limits<double>::quiet_NaN();
  const Json json = Json::parse(format(Endpoint::kCompletions, 0).whole({one}, {}));
  EXPECT_TRUE(json["choices"][0]["logprobs"]["token_logprobs"][0].is_null());
}

TEST(CompletionResponse, WithoutWordsTokensHaveNumbers) {
  const ResponseFormat plain({Endpoint::kCompletions, "id", 0, "auto", 0, false}, nullptr);
  const Json json = Json::parse(plain.whole({choice()}, {}));
  EXPECT_EQ(json["choices"][0]["logprobs"]["tokens"][0], "token_id:104");
}

TEST(ApiErrorJson, IsAsClientsExpectIt) {
  const Json json = Json::parse(ApiError(400, "n", "", "bad \"n\" \xff").json());
  EXPECT_EQ(json["error"]["param"], "n");
  EXPECT_EQ(json["error"]["type"], "invalid_request_error");
  EXPECT_TRUE(json["error"]["code"].is_null());
  EXPECT_EQ(Json::parse(ApiError(500, "", "", "x").json())["error"]["type"], "server_error");
}

TEST(BearerToken, OnlyTheSecretOpens) {
  EXPECT_TRUE(shows_token("Bearer secret", "secret"));
  EXPECT_TRUE(shows_token("bearer secret", "secret"));
  for (const char* header : {"", "Bearer", "Bearer ", "secret", "Basic secret", "Bearer secre",
                             "Bearer secrets", "Bearer secretsecret", "Bearer Secret"}) {
    EXPECT_FALSE(shows_token(header, "secret")) << header;
  }
}

TEST(Metrics, CountsOfWidthsAreBounded) {
  Metrics metrics;
  for (int i = 0; i < 200; ++i) metrics.tokens(fmt::format("w{}", i), 1, 1);
  const std::string text = metrics.text();
  EXPECT_NE(text.find("completion_tokens_total{widths=\"w63\"} 1\n"), std::string::npos);
  EXPECT_NE(text.find("completion_tokens_total{widths=\"other\"} 136\n"), std::string::npos);
}

TEST(Metrics, HistogramsAreCumulative) {
  Histogram histogram({1, 2, 4});
  for (const double value : {0.5, 1.0, 3.0, 9.0}) histogram.add(value);
  EXPECT_EQ(histogram.lines("x"),
            "x_bucket{le=\"1\"} 2\nx_bucket{le=\"2\"} 2\nx_bucket{le=\"4\"} 3\n"
            "x_bucket{le=\"+Inf\"} 4\nx_sum 13.5\nx_count 4\n");
}

}  // namespace
}  // namespace mnm
