#include "dataset/task_maker.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "tests/support/error_of.h"
#include "tests/support/tasks.h"

namespace mnm {
namespace {

using test::letter_task;
using test::letter_tokens;

TaskSettings settings(std::int64_t window, std::int64_t prefix = 0) {
  TaskSettings of;
  of.window = window;
  of.prefix = prefix;
  return of;
}

// The tokens of an answer, and how many of the last are scored.
std::pair<std::vector<int>, std::int64_t> answer_of(const TaskFile& task, std::int64_t answer) {
  const auto tokens = task.tokens_of(answer);
  return {{tokens.begin(), tokens.end()}, task.scored[static_cast<std::size_t>(answer)]};
}

using Answer = std::pair<std::vector<int>, std::int64_t>;

TEST(TaskMaker, AnAnswerIsTheContextAndWhatFollowsIt) {
  const TaskFile task =
      letter_task(R"({"context": "x", "choices": ["y", "\u00e9z"], "gold": 1})"
                  "\n\n"
                  R"({"context": "x  ", "choices": ["y"], "gold": 0})"
                  "\n"
                  R"({"context": "", "choices": ["y"], "gold": 0})"
                  "\n"
                  R"({"contexts": ["ca", "d"], "continuation": "b", "gold": 0, "other": 1})",
                  settings(9));
  EXPECT_EQ(task.protocol.kind, TaskKind::kQuestions);
  EXPECT_EQ(task.document_begin, (std::vector<std::int64_t>{0, 2, 3, 4, 6}));
  EXPECT_EQ(task.gold, (std::vector<std::int64_t>{1, 0, 0, 0}));
  EXPECT_EQ(answer_of(task, 0), (Answer{{'x', ' ', 'y'}, 2}));
  EXPECT_EQ(answer_of(task, 1), (Answer{{'x', ' ', 0xc3, 0xa9, 'z'}, 4}));
  EXPECT_EQ(task.code_points, (std::vector<std::int64_t>{1, 2, 1, 1, 2, 1}));
  EXPECT_EQ(task.bytes, (std::vector<std::int64_t>{1, 3, 1, 1, 2, 1}));
  EXPECT_EQ(answer_of(task, 2), (Answer{{'x', ' ', ' ', ' ', 'y'}, 4})) << "spaces move over";
  EXPECT_EQ(answer_of(task, 3), (Answer{{0, ' ', 'y'}, 2})) << "the prefix stands before";
  EXPECT_EQ(answer_of(task, 4), (Answer{{'c', 'a', ' ', 'b'}, 2}));
}

TEST(TaskMaker, WhatFollowsBeginsAfterAsManyTokensAsTheContextHasAlone) {
  TaskSettings joined = settings(9);
  joined.delimiter = "";
  const TaskFile task = letter_task(R"({"context": "xa", "choices": ["bc"], "gold": 0})", joined);
  // Together "xabc" is x, ab, c: one token is left after the two of "xa".
  EXPECT_EQ(answer_of(task, 0), (Answer{{'x', 'a', 'c'}, 1}));
  EXPECT_TRUE(test::contains(test::error_of([&] {
                               letter_task(R"({"context": "xa", "choices": ["b"], "gold": 0})",
                                           joined);
                             }),
                             "q.jsonl, line 1: what follows a context has no token of its own"));
  // A continuation that begins with the prefix does not get a second one.
  const TaskFile empty = letter_task(R"({"context": "", "choices": ["xy"], "gold": 0})",
                                     {.window = 9, .prefix = 'x', .delimiter = ""});
  EXPECT_EQ(answer_of(empty, 0), (Answer{{'x', 'y'}, 1}));
}

TEST(TaskMaker, WhatTheTokenizerPutsAroundATextStaysUnlessTheTextHasIt) {
  const auto made = [](const std::string& context) {
    return make_task(R"({"context": ")" + context + R"(", "choices": ["y"], "gold": 0})", "q",
                     letter_tokens(true), settings(9));
  };
  EXPECT_EQ(answer_of(made("x"), 0), (Answer{{256, 'x', ' ', 'y'}, 2}));
  EXPECT_EQ(answer_of(made("<s>"), 0), (Answer{{'<', 's', '>', ' ', 'y'}, 2}));
  EXPECT_EQ(answer_of(made(""), 0), (Answer{{0, ' ', 'y'}, 2}));
  const TaskFile text = make_task(R"({"text": "x"})", "q", letter_tokens(true), settings(9));
  EXPECT_EQ(answer_of(text, 0), (Answer{{0, 256, 'x'}, 2})) << "one term more, as in the harness";
}

TEST(TaskMaker, ContextsThatDoNotFitAreAnErrorOrCut) {
  const std::string line = R"({"context": "0123456", "choices": ["x"], "gold": 0})";
  EXPECT_EQ(letter_task(line, settings(8)).protocol.cut, 0);
  EXPECT_TRUE(test::contains(test::error_of([&] { letter_task(line, settings(7)); }),
                             "q.jsonl, line 1: a context and its choice read 8 tokens, more than "
                             "the window of 7: raise --window, or cut"));
  TaskSettings cut = settings(3);
  cut.cut = true;
  const TaskFile task = letter_task(line, cut);
  EXPECT_EQ(answer_of(task, 0), (Answer{{'5', '6', ' ', 'x'}, 2}));
  EXPECT_EQ(task.protocol.cut, 1);
  cut.window = 1;
  EXPECT_TRUE(test::contains(test::error_of([&] { letter_task(line, cut); }),
                             "and the choice alone has more"));
}

// The example of the harness (lm_eval/api/model.py, loglikelihood_rolling), and its neighbours.
TEST(TaskMaker, WindowsOfATextPredictEachTokenOnce) {
  const auto made = [](const std::string& text, std::int64_t window) {
    return letter_task(R"({"text": ")" + text + R"("})", settings(window, '_'));
  };
  const TaskFile task = made("0123456789", 4);
  ASSERT_EQ(task.answers(), 3);
  EXPECT_EQ(task.documents(), 1);
  EXPECT_EQ(answer_of(task, 0), (Answer{{'_', '0', '1', '2', '3'}, 4}));
  EXPECT_EQ(answer_of(task, 1), (Answer{{'3', '4', '5', '6', '7'}, 4}));
  EXPECT_EQ(answer_of(task, 2), (Answer{{'5', '6', '7', '8', '9'}, 2}));
  for (int length = 1; length < 20; ++length) {
    const TaskFile one = made(std::string(static_cast<std::size_t>(length), 'x'), 4);
    std::int64_t scored = 0;
    for (std::int64_t answer = 0; answer < one.answers(); ++answer) {
      scored += answer_of(one, answer).second;
      EXPECT_LE(one.tokens_of(answer).size(), 5u);
    }
    EXPECT_EQ(scored, length);
  }
  const TaskFile counted =
      letter_task(R"({"text": "a b", "counted": "a @-@ \u00e9"})", settings(4));
  EXPECT_EQ(counted.words, std::vector<std::int64_t>{3});
  EXPECT_EQ(counted.text_bytes, std::vector<std::int64_t>{8});
}

TEST(TaskMaker, WhatIsNoQuestionIsOneSentenceWithItsLine) {
  const std::pair<std::string, std::string> cases[] = {
      {"", "it holds no line"},
      {"\n \n", "it holds no line"},
      {"[1]", "line 1: it is no JSON object"},
      {"{\"context\": ", "line 1"},
      {"{}", "line 1: it has no \"choices\""},
      {R"({"context": "x", "choices": [], "gold": 0})", "\"choices\" are no list"},
      {R"({"context": "x", "choices": "yn", "gold": 0})", "\"choices\" are no list"},
      {R"({"context": "x", "choices": ["y", ""], "gold": 0})", "hold an empty text"},
      {R"({"context": "x", "choices": ["y", 1], "gold": 0})", "hold something that is no text"},
      {R"({"choices": ["y"], "gold": 0})", "it has no \"context\""},
      {R"({"context": 1, "choices": ["y"], "gold": 0})", "\"context\" is no text"},
      {R"({"context": "x", "choices": ["y"]})", "it has no \"gold\""},
      {R"({"context": "x", "choices": ["y"], "gold": "0"})", "it has no \"gold\""},
      {R"({"context": "x", "choices": ["y"], "gold": 1})", "\"gold\" is 1, and it has 1 choices"},
      {R"({"context": "x", "choices": ["y"], "gold": -1})", "\"gold\" is -1"},
      {R"({"contexts": ["x"], "continuation": "", "gold": 0})", "\"continuation\" is empty"},
      {R"({"text": ""})", "the text is empty"},
      {R"({"text": 5})", "\"text\" is no text"},
      {"{\"text\": \"x\"}\n{\"context\": \"x\", \"choices\": [\"y\"], \"gold\": 0}",
       "line 2: the lines before it hold texts"},
      {"{\"text\": \"x\"}\nhello", "what stands at line 2, column 1 is not allowed there"},
  };
  for (const auto& [lines, phrase] : cases) {
    const std::string error = test::error_of([&] { letter_task(lines, settings(9)); });
    EXPECT_TRUE(test::contains(error, phrase)) << lines << "\n" << error;
    EXPECT_TRUE(test::contains(error, "q.jsonl")) << error;
  }
  EXPECT_TRUE(
      test::contains(test::error_of([] { letter_task(R"({"text": "x"})", settings(9, -1)); }),
                     "name one with --prefix"));
}

}  // namespace
}  // namespace mnm
