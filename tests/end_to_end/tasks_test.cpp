// mixnmatch tasks, and the scores of what it makes, as a user runs them.
#include <cmath>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "tests/end_to_end/workshop.h"
#include "tests/support/python.h"

namespace mnm::test {
namespace {

namespace fs = std::filesystem;

constexpr const char* kQuestions =
    R"({"context": "1 + 1 =", "choices": ["2", "3"], "gold": 0})"
    "\n"
    R"({"context": "sky", "choices": ["blue", "a stone"], "gold": 0})"
    "\n"
    R"({"context": "sea", "choices": ["dry", "wet"], "gold": 1})";
constexpr const char* kTexts =
    "{\"text\": \"some words of a text, more than a window\"}\n"
    "{\"text\": \"others\"}";

class Tasks : public Workshop {
 protected:
  std::string file(const std::string& name, const std::string& bytes) const {
    spew(dir_ / name, bytes);
    return path(name);
  }
  std::vector<std::string> tasks(const std::string& lines,
                                 const std::vector<std::string>& more = {}) const {
    std::vector<std::string> all = {
        "tasks", file("q.jsonl", lines), "--model", model_, "--prefix", "10",
        "--out", path("q.task")};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }
  std::vector<std::string> eval(const std::vector<std::string>& more = {}) const {
    std::vector<std::string> all = {"eval",   model_,      "--data", path("q.task"), "--db", db_,
                                    "--json", "--threads", "1"};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }
};

TEST_F(Tasks, EveryRequestIsWhatTransformersComputes) {
  if (!python_has("transformers")) GTEST_SKIP() << kNoPython;
  const std::string program = mixnmatch_argv({}).front();
  EXPECT_EQ(
      python_failure(
          "end_to_end/tasks_check.py",
          {program, MNM_SOURCE_DIR "/data/reference", "512x3,128x1,256x4", "transformers"}, dir_),
      "");
}

TEST_F(Tasks, QuestionsAreScoredSearchedAndCompared) {
  const Result made = expect_done(tasks(kQuestions));
  EXPECT_NE(made.out.find("questions, window 32, no stride, prefix 10, unit token"),
            std::string::npos)
      << made.out;
  const nlohmann::json scores = expect_done(eval({"--metric", "acc_norm"})).json();
  ASSERT_EQ(scores.size(), 4u);
  for (const nlohmann::json& score : scores) {
    EXPECT_EQ(score["protocol"], "questions, window 32, no stride, prefix 10, unit token");
    for (const char* metric : {"acc", "acc_norm", "acc_bytes"}) {
      const double thirds = 3 * score[metric].get<double>();
      EXPECT_NEAR(thirds, std::round(thirds), 1e-9) << metric;
    }
    EXPECT_TRUE(score["word_perplexity"].is_null());
  }
  // One by one, every submodel has the same values.
  const nlohmann::json alone = expect_done({"eval", model_, "--data", path("q.task"), "--json",
                                            "--one-by-one", "--threads", "1"})
                                   .json();
  for (std::size_t i = 0; i < scores.size(); ++i) {
    EXPECT_NEAR(scores[i]["loss"].get<double>(), alone[i]["loss"].get<double>(), 1e-5);
    EXPECT_EQ(scores[i]["acc"], alone[i]["acc"]);
  }
  // Streamed, in rows of one length.
  const nlohmann::json streamed = expect_done({"eval", model_, "--data", path("q.task"), "--json",
                                               "--stream", "--threads", "1"})
                                      .json();
  for (std::size_t i = 0; i < scores.size(); ++i) {
    EXPECT_NEAR(scores[i]["loss"].get<double>(), streamed[i]["loss"].get<double>(), 1e-5);
  }
  const Result compared = expect_done({"compare", "4x4", "32x4", "--db", db_, "--metric", "acc"});
  EXPECT_NE(compared.out.find("q.task, questions, window 32, no stride, prefix 10, unit token"),
            std::string::npos)
      << compared.out;
  const std::vector<std::string> searched = {
      "search", model_,       "--data", path("q.task"),      "--db", db_,         "--metric",
      "acc",    "--strategy", "grid",   "--max-evaluations", "20",   "--threads", "1"};
  const Result found = expect_done(searched);
  EXPECT_NE(found.err.find("questions, window 32, no stride, prefix 10, unit token"),
            std::string::npos)
      << found.err;
}

TEST_F(Tasks, TextsHavePerplexitiesOfWordsAndBytes) {
  expect_done(tasks(kTexts, {"--window", "16"}));
  const nlohmann::json score = expect_done(eval({"--widths", "32"})).json()[0];
  EXPECT_EQ(score["protocol"], "texts, window 16, stride 16, prefix 10, unit token");
  const double bits = score["bits_per_byte"].get<double>();
  EXPECT_NEAR(score["byte_perplexity"].get<double>() / std::exp2(bits), 1, 1e-5);
  EXPECT_GT(score["word_perplexity"].get<double>(), score["byte_perplexity"].get<double>());
  EXPECT_TRUE(score["word_perplexity_se"].is_number());
  expect_refused(eval({"--metric", "acc"}), 2, "the metric acc is one of questions");
  expect_refused({"search", model_, "--data", path("q.task"), "--db", db_, "--metric",
                  "word_perplexity", "--halving"},
                 2, "word_perplexity is one value of all texts");
}

TEST_F(Tasks, WhatIsWrongIsOneSentenceAndNothingIsWritten) {
  const std::pair<std::string, std::string> cases[] = {
      {R"({"context": "x", "choices": ["y"], "gold": 1})", "line 1: its \"gold\" is 1"},
      {R"({"context": "x", "choices": [], "gold": 0})", "line 1: its \"choices\""},
      {std::string(kQuestions) + "\n{\"context\": ", "q.jsonl, line 4"},
      {R"({"context": ")" + std::string(40, 'x') + R"(", "choices": ["y"], "gold": 0})",
       "more than the window of 32"}};
  for (const auto& [lines, phrase] : cases) {
    expect_refused(tasks(lines), 1, phrase);
    EXPECT_FALSE(fs::exists(path("q.task"))) << phrase;
  }
  expect_refused(tasks(kQuestions, {"--window", "33"}), 2, "longer than the model's 32 positions");
  expect_refused(tasks(kQuestions, {"--tokenizer", model_}), 2, "either --model or --tokenizer");
  expect_done(tasks(kQuestions, {"--dry-run"}));
  EXPECT_FALSE(fs::exists(path("q.task")));
  expect_done(tasks(kQuestions));
  expect_refused(tasks(kQuestions), 1, "is there already");
  expect_refused({"nest", model_, "--data", path("q.task"), "--out", path("out"), "--force"}, 1,
                 "it is a task");
  // Cut off, it is no task that anybody scores.
  const std::string sound = slurp(dir_ / "q.task");
  spew(dir_ / "q.task", sound.substr(0, sound.size() - 3));
  expect_refused(eval(), 1, "the file is cut short");
}

}  // namespace
}  // namespace mnm::test
