// Text and tokens out of submodels, as a user asks for them.
#include <fmt/format.h>

#include <filesystem>

#include "tests/end_to_end/workshop.h"
#include "tests/support/python.h"

namespace mnm::test {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

const std::string kBundled = MNM_SOURCE_DIR "/data/reference";

using Generates = Workshop;

TEST_F(Generates, TheBundledModelSaysWhatTransformersSays) {
  Json cases = Json::array();
  const std::vector<std::string> prompts = {"def main(", "    return ", "import os\n\n",
                                            "caf\u00e9 \u65e5\u672c\n"};
  for (const std::string widths : {"512", "64", "64x3,256x2,512x3"}) {
    const std::string out = path("export-" + widths.substr(0, 3));
    expect_done({"export", kBundled, "--widths", widths, "--out", out});
    for (const std::string& prompt : prompts) {
      const std::vector<std::string> how = {"--prompt", prompt,         "--max-new-tokens",
                                            "150",      "--ignore-end", "--json"};
      std::vector<std::string> nested = {"generate", kBundled, "--widths", widths};
      nested.insert(nested.end(), how.begin(), how.end());
      std::vector<std::string> exported = {"generate", out};
      exported.insert(exported.end(), how.begin(), how.end());
      const Json answer = expect_done(nested).json();
      ASSERT_EQ(answer["tokens"].size(), 150u);
      EXPECT_EQ(answer["finish"], "new tokens");
      EXPECT_EQ(expect_done(exported).json()["tokens"], answer["tokens"]) << widths << prompt;
      EXPECT_GT(answer["decode_tokens_per_second"], 0);
      EXPECT_GT(answer["share_of_bound"], 0);
      cases.push_back({{"directory", out}, {"answer", answer}});
    }
  }
  if (!python_has("transformers")) GTEST_SKIP() << kNoPython;
  spew(dir_ / "cases.json", cases.dump());
  EXPECT_EQ(python_failure("end_to_end/generate_check.py", {dir_ / "cases.json"}, dir_), "");
}

TEST_F(Generates, TextAndTokensAreTheSameWay) {
  const std::string text = "for i in ran";
  std::string ids;
  for (const char c : text) ids += fmt::format("{}{}", ids.empty() ? "" : ",", int{c});
  const std::vector<std::string> more = {"--widths", "128", "--max-new-tokens", "12"};
  const auto run = [&](std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {"generate", kBundled});
    arguments.insert(arguments.end(), more.begin(), more.end());
    return expect_done(arguments).out;
  };
  spew(dir_ / "prompt.txt", text);
  const std::string answer = run({"--prompt", text});
  EXPECT_EQ(answer.size(), 13u) << answer;  // bytes, and the end of the line
  EXPECT_EQ(run({"--prompt-file", path("prompt.txt")}), answer);
  std::string expected;
  for (const char c : answer.substr(0, 12)) {
    expected += fmt::format("{}{}", expected.empty() ? "" : ",", int{c});
  }
  EXPECT_EQ(run({"--tokens", ids}), expected + "\n");
}

// As transformers' apply_chat_template puts them (tests/text/chat_check.py).
TEST_F(Generates, AChatIsPutAsTheCheckpointHasIt) {
  const fs::path model = dir_ / "chat";
  fs::copy(kBundled, model);
  const std::vector<std::string> hello = {"generate", model.string(),     "--chat", "hello",
                                          "--json",   "--max-new-tokens", "1"};
  expect_refused(hello, 1, "no chat_template");
  const auto prompt_of = [&](const std::vector<std::string>& more) {
    std::vector<std::string> arguments = hello;
    arguments.insert(arguments.end(), more.begin(), more.end());
    std::string text;
    const Json reply = expect_done(arguments).json();
    for (const Json& token : reply["prompt_tokens"]) {
      text += static_cast<char>(token.get<int>());
    }
    return text;
  };
  spew(model / "chat_template.jinja", "<|im_start|>{{ role }}\n{{ words }}<|im_end|>\n");
  EXPECT_EQ(prompt_of({}), "<|im_start|>user\nhello<|im_end|>\n<|im_start|>assistant\n");
  EXPECT_EQ(prompt_of({"--system", "be brief"}),
            "<|im_start|>system\nbe brief<|im_end|>\n<|im_start|>user\nhello<|im_end|>\n"
            "<|im_start|>assistant\n");
  spew(model / "chat_template.jinja", "[INST] {{ words }} [/INST]");
  expect_refused(hello, 1, "no kind");
  expect_refused({"generate", model.string(), "--system", "a", "--prompt", "b"}, 2, "--chat");
  expect_refused({"generate", model.string(), "--chat", "a", "--prompt", "b"}, 2, "one of");
}

TEST_F(Generates, ASeedIsItsText) {
  const auto drawn = [&](const std::string& seed) {
    return expect_done({"generate", kBundled, "--prompt", "class ", "--temperature", "1", "--top-k",
                        "40", "--top-p", "0.95", "--seed", seed, "--max-new-tokens", "60"})
        .out;
  };
  const std::string first = drawn("1");
  EXPECT_EQ(drawn("1"), first);
  EXPECT_NE(drawn("2"), first);
}

TEST_F(Generates, EndsWhereTheModelSays) {
  // The tiny model names token 2 as its end; a generation_config.json has the last word.
  const std::vector<std::string> arguments = {"generate",         model_, "--tokens", "7,9,11",
                                              "--max-new-tokens", "20",   "--json"};
  const Json free = expect_done(arguments).json();
  ASSERT_EQ(free["tokens"].size(), 20u);
  const Json end = free["tokens"][5];
  std::size_t first = 0;
  while (free["tokens"][first] != end) ++first;
  spew(fs::path(model_) / "generation_config.json", Json{{"eos_token_id", {end, 99999}}}.dump());
  const Json ended = expect_done(arguments).json();
  EXPECT_EQ(ended["tokens"].size(), first + 1);
  EXPECT_EQ(ended["finish"], "end");
  std::vector<std::string> ignoring = arguments;
  ignoring.push_back("--ignore-end");
  EXPECT_EQ(expect_done(ignoring).json()["tokens"], free["tokens"]);
  // 32 positions, 3 of them the prompt's: 29 fed tokens, and one more that is only said.
  std::vector<std::string> longest = ignoring;
  longest[5] = "1000";
  const Json full = expect_done(longest).json();
  EXPECT_EQ(full["tokens"].size(), 30u);
  EXPECT_EQ(full["finish"], "context");
}

TEST_F(Generates, WhatIsWrongIsOneSentence) {
  const auto refused = [&](std::vector<std::string> arguments, int status, const char* part) {
    arguments.insert(arguments.begin(), {"generate", model_});
    expect_refused(arguments, status, part);
  };
  refused({}, 2, "empty");  // standard input has nothing
  refused({"--prompt", ""}, 2, "empty");
  refused({"--tokens", ""}, 2, "--tokens");
  refused({"--tokens", "1,,2"}, 2, "--tokens");
  refused({"--tokens", "1, 2"}, 2, "--tokens");
  refused({"--tokens", "1,256"}, 2, "vocabulary of 256");
  refused({"--tokens", "-1"}, 2, "vocabulary of 256");
  refused({"--tokens", "99999999999999999999"}, 2, "--tokens");
  refused({"--tokens", "1", "--prompt", "a"}, 2, "one of");
  refused({"--prompt", std::string(33, 'a')}, 2, "32 positions");
  refused({"--prompt-file", path("none")}, 1, "none");
  refused({"--prompt", "a", "--temperature", "-1"}, 2, "temperature");
  refused({"--prompt", "a", "--temperature", "nan"}, 2, "temperature");
  refused({"--prompt", "a", "--temperature", "1", "--top-p", "0"}, 2, "top-p");
  refused({"--prompt", "a", "--top-k", "3"}, 2, "--temperature");
  refused({"--prompt", "a", "--max-new-tokens", "0"}, 2, "at least 1");
  refused({"--prompt", "a", "--widths", "33"}, 2, "33");
  refused({"--prompt", "a", "--device", "cuda:77"}, 1, "cuda");
  spew(fs::path(model_) / "tokenizer.json", "{\"model\": {\"type\": \"Unigram\"}}");
  refused({"--prompt", "a"}, 1, "--tokens");
  expect_done({"generate", model_, "--tokens", "1", "--max-new-tokens", "2"});
  spew(fs::path(model_) / "tokenizer.json", "{");
  refused({"--prompt", "a"}, 1, "--tokens");
}

TEST_F(Generates, CtrlCEndsTheText) {
  llama_.positions = 1 << 22;
  const std::string model = llama_.write(dir_ / "long").string();
  Running running(mixnmatch_argv({"generate", model, "--tokens", "1", "--ignore-end",
                                  "--max-new-tokens", "4000000", "--threads", "1"}));
  while (running.out().size() <= 100 && !running.ended()) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  running.signal(SIGINT);
  const Result result = running.wait();
  EXPECT_EQ(result.status, 1) << result.err;
  ASSERT_GT(result.out.size(), 100u);
  EXPECT_EQ(result.out.back(), '\n');
  EXPECT_NE(result.err.find("tokens/s"), std::string::npos) << result.err;
}

}  // namespace
}  // namespace mnm::test
