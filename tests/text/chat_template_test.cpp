#include "text/chat_template.h"

#include <gtest/gtest.h>

#include <optional>
#include <string>

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
  EXPECT_EQ(prompts.size(), 240u);
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

// Marks of a kind that is known, in turns that are not.
TEST(ChatTemplate, TurnsThatWouldBeWrittenOtherwiseAreRefused) {
  constexpr const char* kNoLine =
      "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' }}\n";
  constexpr const char* kPhi4 =
      "{{ '<|im_start|>user<|im_sep|>' + message['content'] + '<|im_end|>' }}\n";
  constexpr const char* kNoSystem =
      "{{ '<|im_start|>user\\n' + content + '<|im_end|>\\n<|im_start|>assistant\\n' }}";
  constexpr const char* kOwnSystem =
      "{{ '<|start_header_id|>system<|end_header_id|>\\n\\n<|eot_id|>' }}";
  constexpr const char* kOneLine = "<|start_header_id|>user<|end_header_id|>\n<|eot_id|>";
  const struct {
    const char* chat;
    std::optional<std::string> system;
    const char* refusal;
  } cases[] = {{kNoLine, {}, "no line ends after <|im_end|>"},
               {kPhi4, {}, "no line ends after a role"},
               {kNoSystem, "brief", "no turn for what a system says"},
               {kOwnSystem, {}, "give a system's words"},
               {kOneLine, {}, "no two ends of lines"}};
  for (const auto& c : cases) {
    const std::string error = error_of([&] {
      chat_prompt({c.chat, ""}, {c.system, "a"}, "today");
    });
    EXPECT_TRUE(contains(error, c.refusal)) << c.chat << ": " << error;
  }
  EXPECT_EQ(chat_prompt({kNoSystem, ""}, {std::nullopt, "a"}, "today"),
            "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n");
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
