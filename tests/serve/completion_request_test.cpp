#include "serve/completion_request.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "serve/api_error.h"

namespace mnm {
namespace {

using Json = nlohmann::json;

CompletionRequest completion(const Json& more) {
  Json body = {{"model", "auto"}, {"prompt", "a"}};
  body.update(more);
  return parse_completion_request(Endpoint::kCompletions, body.dump());
}

CompletionRequest chat(const Json& more) {
  Json body = {{"model", "auto"}, {"messages", {{{"role", "user"}, {"content", "hi"}}}}};
  body.update(more);
  return parse_completion_request(Endpoint::kChat, body.dump());
}

// The member that is at fault; "none" where the request is taken.
template <typename Parse>
std::string fault(const Parse& parse) {
  try {
    parse();
  } catch (const ApiError& error) {
    EXPECT_EQ(error.status, 400) << error.what();
    return error.param.empty() ? "the body" : error.param;
  }
  return "none";
}

TEST(CompletionRequest, DefaultsAreThoseOfTheProtocol) {
  const CompletionRequest request = completion(Json::object());
  EXPECT_EQ(request.model, "auto");
  EXPECT_EQ(std::get<std::string>(request.prompts.at(0)), "a");
  EXPECT_EQ(request.sampling.temperature, 1);
  EXPECT_EQ(request.sampling.top_p, 1);
  EXPECT_EQ(request.n, 1);
  EXPECT_FALSE(request.max_tokens || request.seed || request.alternatives || request.stream ||
               request.echo || request.include_usage);
}

TEST(CompletionRequest, EveryMemberIsRead) {
  const CompletionRequest request = completion({{"prompt", {"a", "b"}},
                                                {"max_tokens", 7},
                                                {"temperature", 0.5},
                                                {"top_p", 0.25},
                                                {"top_k", 3},
                                                {"n", 2},
                                                {"best_of", 2},
                                                {"seed", -1},
                                                {"stop", {"x", "yz"}},
                                                {"logprobs", 4},
                                                {"echo", true},
                                                {"stream", true},
                                                {"stream_options", {{"include_usage", true}}},
                                                {"ignore_eos", true},
                                                {"return_token_ids", true},
                                                {"user", "somebody"},
                                                {"presence_penalty", 0},
                                                {"logit_bias", nullptr}});
  EXPECT_EQ(request.prompts.size(), 2u);
  EXPECT_EQ(request.max_tokens, 7);
  EXPECT_EQ(request.sampling.temperature, 0.5);
  EXPECT_EQ(request.sampling.top_p, 0.25);
  EXPECT_EQ(request.sampling.top_k, 3);
  EXPECT_EQ(request.n, 2);
  EXPECT_EQ(request.seed, ~std::uint64_t{0});
  EXPECT_EQ(request.stop, (std::vector<std::string>{"x", "yz"}));
  EXPECT_EQ(request.alternatives, 4);
  EXPECT_TRUE(request.echo && request.stream && request.include_usage && request.ignore_end &&
              request.return_token_ids);
}

TEST(CompletionRequest, PromptsHaveFourForms) {
  using Ids = std::vector<std::int64_t>;
  EXPECT_EQ(std::get<std::string>(completion({{"prompt", ""}}).prompts.at(0)), "");
  EXPECT_EQ(std::get<Ids>(completion({{"prompt", {1, 2}}}).prompts.at(0)), (Ids{1, 2}));
  const auto lists = completion({{"prompt", {{1, 2}, {3}}}}).prompts;
  ASSERT_EQ(lists.size(), 2u);
  EXPECT_EQ(std::get<Ids>(lists[1]), (Ids{3}));
  EXPECT_EQ(completion({{"prompt", {"a", "b", "c"}}}).prompts.size(), 3u);
}

TEST(CompletionRequest, AChatHasMessages) {
  const CompletionRequest request =
      chat({{"messages",
             {{{"role", "developer"}, {"content", "be brief"}},
              {{"role", "user"},
               {"content", {{{"type", "text"}, {"text", "a"}}, {{"type", "text"}, {"text", "b"}}}}},
              {{"role", "assistant"}, {"content", "c"}, {"name", "me"}},
              {{"role", "user"}, {"content", ""}}}},
            {"max_completion_tokens", 5},
            {"logprobs", true},
            {"top_logprobs", 2},
            {"tools", Json::array()},
            {"tool_choice", "none"},
            {"response_format", {{"type", "text"}}}});
  ASSERT_EQ(request.messages.size(), 4u);
  EXPECT_EQ(request.messages[0].role, "system");
  EXPECT_EQ(request.messages[1].content, "ab");
  EXPECT_EQ(request.max_tokens, 5);
  EXPECT_EQ(request.alternatives, 2);
  EXPECT_EQ(chat({{"logprobs", true}}).alternatives, 0);
  EXPECT_EQ(chat({{"logprobs", false}}).alternatives, std::nullopt);
}

TEST(CompletionRequest, WrongMembersAreNamed) {
  const std::pair<Json, std::string> cases[] = {
      {{{"model", 1}}, "model"},
      {{{"model", nullptr}}, "model"},
      {{{"prompt", nullptr}}, "prompt"},
      {{{"prompt", Json::array()}}, "prompt"},
      {{{"prompt", {1, "a"}}}, "prompt"},
      {{{"prompt", {1, -2}}}, "prompt"},
      {{{"prompt", {{1}, {2.5}}}}, "prompt"},
      {{{"prompt", {{"a", 1}}}}, "prompt"},
      {{{"prompt", 7}}, "prompt"},
      {{{"max_tokens", -1}}, "max_tokens"},
      {{{"max_tokens", 1.5}}, "max_tokens"},
      {{{"max_tokens", "4"}}, "max_tokens"},
      {{{"max_tokens", 18446744073709551615ull}}, "max_tokens"},
      {{{"temperature", -0.1}}, "temperature"},
      {{{"temperature", "hot"}}, "temperature"},
      {{{"top_p", 0}}, "top_p"},
      {{{"top_p", 1.01}}, "top_p"},
      {{{"n", 0}}, "n"},
      {{{"n", 65}}, "n"},
      {{{"n", 33}, {"prompt", {"a", "b"}}, {"best_of", 33}}, "n"},
      {{{"best_of", 2}}, "best_of"},
      {{{"stop", ""}}, "stop"},
      {{{"stop", {"a", 1}}}, "stop"},
      {{{"stop", std::vector<std::string>(17, "a")}}, "stop"},
      {{{"logprobs", true}}, "logprobs"},
      {{{"logprobs", 21}}, "logprobs"},
      {{{"stream", 1}}, "stream"},
      {{{"stream_options", {{"include_usage", true}}}}, "stream_options"},
      {{{"stream", true}, {"stream_options", {{"include_all", true}}}}, "include_all"},
      {{{"suffix", "z"}}, "suffix"},
      {{{"presence_penalty", 0.5}}, "presence_penalty"},
      {{{"logit_bias", {{"5", 1}}}}, "logit_bias"},
      {{{"max_token", 4}}, "max_token"},
      {{{"messages", Json::array()}}, "messages"},
  };
  for (const auto& [more, param] : cases) {
    EXPECT_EQ(fault([&] { completion(more); }), param) << more;
  }
}

TEST(CompletionRequest, WhatAChatCannotDoIsRefused) {
  const Json tool = {{"type", "function"}, {"function", {{"name", "f"}}}};
  const auto message = [](Json one) { return Json{{"messages", Json::array({std::move(one)})}}; };
  const std::pair<Json, std::string> cases[] = {
      {{{"tools", {tool}}}, "tools"},
      {{{"tool_choice", "required"}}, "tool_choice"},
      {{{"functions", {tool}}}, "functions"},
      {{{"response_format", {{"type", "json_object"}}}}, "response_format"},
      {{{"top_logprobs", 2}}, "top_logprobs"},
      {{{"messages", "hi"}}, "messages"},
      {message({{"role", "tool"}, {"content", "4"}}), "messages[0]"},
      {message({{"role", "assistant"}, {"tool_calls", {tool}}}), "messages[0]"},
      {message({{"role", "wizard"}, {"content", "4"}}), "messages[0].role"},
      {message({{"role", "user"}}), "messages[0].content"},
      {message({{"role", "user"}, {"content", {{{"type", "image_url"}}}}}), "messages[0].content"},
      {message("hi"), "messages[0]"},
      {{{"prompt", "a"}}, "prompt"},
      {{{"echo", true}}, "echo"},
  };
  for (const auto& [more, param] : cases) {
    EXPECT_EQ(fault([&] { chat(more); }), param) << more;
  }
}

TEST(CompletionRequest, ABodyIsAJsonObject) {
  const std::string deep(100, '[');
  for (const std::string& body :
       {std::string(), std::string("{"), std::string("[]"), std::string("null"), deep,
        std::string(R"({"model":"a","model":"b","prompt":"c"})"),
        std::string("{\"model\":\"\xff\",\"prompt\":\"a\"}"),
        std::string("{\"model\":\"\xed\xa0\x80\",\"prompt\":\"a\"}"),
        std::string("{\"model\":\"a\0\",\"prompt\":\"a\"}", 28)}) {
    EXPECT_EQ(fault([&] { parse_completion_request(Endpoint::kCompletions, body); }), "the body")
        << body;
  }
}

}  // namespace
}  // namespace mnm
