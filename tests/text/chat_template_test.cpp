#include "text/chat_template.h"

#include <gtest/gtest.h>

#include "base/json.h"
#include "tests/support/error_of.h"
#include "tests/support/python.h"
#include "tests/support/temp_dir.h"

namespace mnm {
namespace {

using Json = nlohmann::json;
using test::contains;
using test::error_of;
using test::spew;
using test::TempDir;

TEST(ChatTemplate, TurnsAreThoseOfTransformers) {
  if (!test::python_has("transformers")) GTEST_SKIP() << test::kNoPython;
  const TempDir dir;
  const auto failure = [&](const std::vector<std::filesystem::path>& arguments) {
    return test::python_failure("text/chat_check.py", arguments, dir);
  };
  ASSERT_EQ(failure({"make", dir / "cases.json"}), "");
  Json prompts = Json::array();
  for (const Json& c : read_json(dir / "cases.json")) {
    ChatTurn turn{std::nullopt, c["user"].get<std::string>()};
    for (const Json& both : c["earlier"]) turn.earlier.push_back({both[0], both[1]});
    if (c["system"].is_string()) turn.system = c["system"].get<std::string>();
    const ChatTemplate chat{c["template"].get<std::string>(), c["begin"].get<std::string>()};
    prompts.push_back(chat_prompt(chat, turn, "TODAY"));
  }
  EXPECT_EQ(prompts.size(), 204u);
  spew(dir / "answers.json", Json{{"prompts", prompts}}.dump());
  EXPECT_EQ(failure({"judge", dir / "cases.json", dir / "answers.json"}), "");
}

TEST(ChatTemplate, OthersAreRefused) {
  for (const char* other : {"[INST] {{ message }} [/INST]", "<start_of_turn>user", "",
                            "<|im_start|><|im_end|>{{ strftime_now('%d') }}"}) {
    EXPECT_TRUE(contains(error_of([&] {
                           chat_prompt({other, ""}, {std::nullopt, "a"}, "today");
                         }),
                         "no kind"))
        << other;
  }
}

TEST(ChatTemplate, IsFoundInEitherFile) {
  const TempDir dir;
  EXPECT_FALSE(find_chat_template(dir.path()));
  spew(dir / "tokenizer_config.json", R"({"bos_token": {"content": "<s>"}})");
  EXPECT_FALSE(find_chat_template(dir.path()));
  spew(dir / "tokenizer_config.json", R"({"bos_token": "<s>", "chat_template": [
    {"name": "tool_use", "template": "a"}, {"name": "default", "template": "b"}]})");
  EXPECT_EQ(find_chat_template(dir.path())->text, "b");
  EXPECT_EQ(find_chat_template(dir.path())->begin, "<s>");
  spew(dir / "chat_template.jinja", "c");
  EXPECT_EQ(find_chat_template(dir.path())->text, "c");
}

}  // namespace
}  // namespace mnm
