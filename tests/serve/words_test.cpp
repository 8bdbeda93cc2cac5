#include "serve/words.h"

#include <gtest/gtest.h>

#include "serve/api_error.h"
#include "tests/support/models.h"

namespace mnm {
namespace {

class JobsOf : public ::testing::Test {
 protected:
  JobsOf() : nested_(test::prefix_model(2, 8, {4, 8, 16}, 257)) {
    TokenizerJson json = byte_tokenizer();
    json.tokens.push_back({"<long>", TokenKind::kSpecial, false, true});
    set(json);
  }
  void set(const TokenizerJson& json) { words_.tokenizer.emplace(json); }

  // What is said of a prompt where there is room for ten tokens; "" if it is taken.
  std::string refusal(PromptText prompt) const {
    CompletionRequest request;
    request.prompts.push_back(std::move(prompt));
    try {
      jobs_of(request, models_.whole(), words_, {257, 10, 0, ""});
      return "";
    } catch (const ApiError& error) {
      EXPECT_EQ(error.status, 400);
      EXPECT_EQ(error.code, "context_length_exceeded");
      EXPECT_EQ(error.param, "prompt");
      return error.what();
    }
  }

  NestedModel nested_;
  ModelList models_{nested_, "tiny", {{{4, 4}, {}, {}}, {{16, 16}, {}, {}}}};
  Words words_;
};

TEST_F(JobsOf, APromptThatCannotFitIsRefusedBeforeItIsTokens) {
  const auto letters = [](std::size_t count) { return std::string(count, 'a'); };
  const auto says = [](const std::string& tokens) {
    return "the prompt has " + tokens + " tokens, and there is room for 10";
  };
  EXPECT_EQ(refusal(letters(10)), "");
  EXPECT_EQ(refusal("<long><long><long><long><long><long><long><long><long><long>"), "");
  // Ten tokens have at most 60 bytes, so a text of these has to be tried.
  EXPECT_EQ(refusal(letters(60)), says("60"));
  EXPECT_EQ(refusal(letters(61)), says("at least 11"));
  EXPECT_EQ(refusal(letters(66)), says("at least 11"));
  EXPECT_EQ(refusal(letters(67)), says("at least 12"));
  EXPECT_EQ(refusal(std::vector<std::int64_t>(11, 97)), says("11"));

  // With a token that takes up white space, the longest text fits.
  TokenizerJson takes = words_.tokenizer->json();
  takes.tokens.back().takes_right = true;
  set(takes);
  EXPECT_EQ(refusal("<long>" + std::string(1000, ' ') + "b"), "");
  EXPECT_EQ(refusal(letters(61)), says("61"));
}

TEST_F(JobsOf, ATextThatIsNotWantedAnyMoreIsGivenUp) {
  words_.chat = ChatTemplate{"<|im_start|>user\na<|im_end|>\n", ""};
  const JobSettings settings{257, 10000, 0, ""};
  for (const Endpoint endpoint : {Endpoint::kCompletions, Endpoint::kChat}) {
    CompletionRequest request;
    request.endpoint = endpoint;
    request.prompts.emplace_back(std::string(9000, 'a'));
    request.messages.push_back({"user", std::string(9000, 'a')});
    EXPECT_EQ(jobs_of(request, models_.whole(), words_, settings).size(), 1u);
    EXPECT_THROW(
        jobs_of(request, models_.whole(), words_, settings, [](const Progress&) { return false; }),
        Stopped);
  }
}

}  // namespace
}  // namespace mnm
