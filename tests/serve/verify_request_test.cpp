#include "serve/verify_request.h"

#include <gtest/gtest.h>

#include "serve/api_error.h"
#include "serve/verify_sessions.h"
#include "tests/support/error_of.h"

namespace mnm {
namespace {

using test::contains;
using Tokens = std::vector<std::int64_t>;
using Pairs = std::vector<std::pair<std::int64_t, double>>;

TEST(VerifyRequest, IsRead) {
  const VerifyRequest greedy =
      parse_verify_request(R"({"session": "s", "keep": 4, "tokens": [1, 2], "draft": [3, 4]})");
  EXPECT_EQ(greedy.model, std::nullopt);
  EXPECT_EQ(greedy.session, "s");
  EXPECT_EQ(greedy.keep, 4);
  EXPECT_EQ(greedy.tokens, (Tokens{1, 2}));
  ASSERT_EQ(greedy.draft.size(), 2u);
  EXPECT_EQ(greedy.draft[1].token, 4);
  EXPECT_EQ(greedy.draft[1].distribution(6), (std::vector<double>{0, 0, 0, 0, 1, 0}));
  EXPECT_EQ(greedy.sampling.temperature, 0);
  const VerifyRequest drawn = parse_verify_request(
      R"({"model": "a", "tokens": [1], "temperature": 0.5, "top_k": 7, "top_p": 0.5, "seed": 9,
          "draft": [{"token": 3, "probabilities": [[5, 1], [3, 3]]}]})");
  EXPECT_EQ(drawn.model, "a");
  EXPECT_EQ(drawn.draft.at(0).from, (Pairs{{3, 3}, {5, 1}}));
  EXPECT_EQ(drawn.draft.at(0).distribution(6), (std::vector<double>{0, 0, 0, 0.75, 0, 0.25}));
  EXPECT_EQ(drawn.seed, 9u);
  EXPECT_EQ(drawn.sampling.top_k, 7);
  EXPECT_EQ(drawn.sampling.top_p, 0.5);
}

TEST(VerifyRequest, WrongOnesAreRefused) {
  struct Case {
    const char* body;
    const char* param;
  };
  const Case cases[] = {{R"({"tokens": "x", "draft": []})", "tokens"},
                        {R"({"draft": []})", "tokens"},
                        {R"({"tokens": [1]})", "draft"},
                        {R"({"tokens": [1], "draft": [-1]})", "draft"},
                        {R"({"tokens": [1], "draft": [1.5]})", "draft"},
                        {R"({"tokens": [1], "draft": [99999999999999999999]})", "draft"},
                        {R"({"tokens": [1], "draft": [18446744073709551615]})", "draft"},
                        {R"({"tokens": [1], "draft": [], "keep": 3})", "keep"},
                        {R"({"tokens": [1], "draft": [], "session": "s"})", "keep"},
                        {R"({"tokens": [1], "draft": [3], "temperature": 1})", "draft"},
                        {R"({"tokens": [1], "draft": [], "extra": 1})", "extra"},
                        {R"({"tokens": [1], "draft": [], "model": 1})", "model"},
                        {R"({"tokens": [1], "draft": [], "top_p": 0})", "top_p"},
                        {R"({"tokens": [1], "draft": [1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]})", "draft"},
                        {R"({"tokens": [1], "temperature": 1, "draft": [{"token": 3}]})", "draft"},
                        {R"({"tokens": [1], "temperature": 1,
           "draft": [{"token": 3, "probabilities": [[4, 1.0]]}]})",
                         "draft"},
                        {R"({"tokens": [1], "temperature": 1,
           "draft": [{"token": 3, "probabilities": [[3, 0.5], [3, 0.5]]}]})",
                         "draft"},
                        {R"({"tokens": [1], "temperature": 1,
           "draft": [{"token": 3, "probabilities": [[3, -1.0], [4, 2.0]]}]})",
                         "draft"},
                        {R"({"tokens": [1], "temperature": 1,
           "draft": [{"token": 3, "probabilities": [[3, 1e308], [4, 1e308]]}]})",
                         "draft"}};
  for (const Case& c : cases) {
    try {
      parse_verify_request(c.body);
      ADD_FAILURE() << c.body;
    } catch (const ApiError& error) {
      EXPECT_EQ(error.param, c.param) << c.body << ": " << error.what();
      EXPECT_EQ(error.status, 400);
    }
  }
}

TEST(VerifyRequest, WhatAClientWritesIsWhatAServerReads) {
  VerifyRequest request;
  request.model = "64x8";
  request.session = "s";
  request.keep = 5;
  request.tokens = {7};
  request.draft = {{3, {{2, 9000}, {3, 1000}}}, {4, {{4, 0.5}}}};
  request.sampling = {.temperature = 0.7, .top_k = 9, .top_p = 0.9};
  request.seed = (std::uint64_t{1} << 63) - 1;
  request.vocabulary = 256;
  request.tokenizer = "ab";
  const std::string text = json_of(request).dump();
  EXPECT_TRUE(contains(text, "[2,9000]")) << text;
  const VerifyRequest read = parse_verify_request(text);
  EXPECT_EQ(read.model, request.model);
  EXPECT_EQ(read.session, request.session);
  EXPECT_EQ(read.keep, 5);
  EXPECT_EQ(read.tokens, request.tokens);
  ASSERT_EQ(read.draft.size(), 2u);
  EXPECT_EQ(read.draft[0].from, request.draft[0].from);
  EXPECT_EQ(read.draft[1].from, request.draft[1].from);
  EXPECT_EQ(read.sampling.temperature, 0.7);
  EXPECT_EQ(read.sampling.top_k, 9);
  EXPECT_EQ(read.sampling.top_p, 0.9);
  EXPECT_EQ(read.seed, request.seed);
  EXPECT_EQ(read.vocabulary, 256);
  EXPECT_EQ(read.tokenizer, "ab");
  request.sampling = {};
  EXPECT_TRUE(contains(json_of(request).dump(), R"("draft":[3,4])"));
}

TEST(VerifySessions, TheOneThatWasNotUsedLongestEnds) {
  VerifySessions sessions(2, 100);
  sessions.put({"a", "m", {1, 2, 3}});
  sessions.put({"b", "m", {4}});
  EXPECT_EQ(sessions.start("a", "m", 2), (Tokens{1, 2}));
  sessions.put({"a", "m", {1, 2}});
  sessions.put({"c", "m", {5}});
  EXPECT_EQ(sessions.size(), 2u);
  EXPECT_THROW(sessions.start("b", "m", 0), ApiError);
  EXPECT_THROW(sessions.start("a", "other", 0), ApiError);
  EXPECT_THROW(sessions.start("a", "m", 3), ApiError);
  EXPECT_EQ(sessions.start("c", "m", 0), Tokens{});
}

TEST(VerifySessions, TheirTokensAreBounded) {
  VerifySessions sessions(10, 5);
  sessions.put({"a", "m", {1, 2, 3}});
  sessions.put({"b", "m", {4, 5}});
  EXPECT_EQ(sessions.size(), 2u);
  sessions.put({"b", "m", {4, 5, 6}});
  EXPECT_EQ(sessions.size(), 1u);
  sessions.put({"c", "m", Tokens(50)});
  EXPECT_EQ(sessions.start("c", "m", 50), Tokens(50));
  EXPECT_EQ(sessions.size(), 1u);
}

}  // namespace
}  // namespace mnm
