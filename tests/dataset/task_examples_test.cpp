#include "dataset/task_examples.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <string>
#include <utility>

#include "dataset/example_subset.h"
#include "tests/support/error_of.h"
#include "tests/support/tasks.h"
#include "tests/support/temp_dir.h"

namespace mnm {
namespace {

using test::contains;
using test::error_of;

constexpr const char* kLines = R"({"context": "which?", "choices": ["A", "B", "C"], "gold": 2})"
                               "\n"
                               R"({"context": "x", "choices": ["yes", "a longer one"], "gold": 0})"
                               "\n"
                               R"({"context": "x", "choices": ["no", "yes"], "gold": 1})";

NestedModel model_of(std::int64_t vocab, std::int64_t context) {
  NestedModel model;
  model.vocab_size = vocab;
  model.max_context = context;
  return model;
}

std::size_t first_branch(const Examples& set, std::int64_t row) {
  if (set.branches.of_example.empty()) return static_cast<std::size_t>(row);
  return static_cast<std::size_t>(set.branches.of_example[static_cast<std::size_t>(row)]);
}

// The places in its row of a branch's tokens; of a row that does not branch, all that are no
// filling (tests write no token 0).
std::vector<std::int64_t> sequence_of(const Examples& set, std::span<const std::int64_t> row,
                                      std::size_t branch) {
  std::vector<std::int64_t> places;
  if (set.branches.of_example.empty()) {
    for (std::size_t i = 0; i < row.size() && row[i] != 0; ++i) {
      places.push_back(static_cast<std::int64_t>(i));
    }
    return places;
  }
  const ExampleBranches& of = set.branches;
  for (std::int64_t i = 0; i < of.shared[branch]; ++i) places.push_back(i);
  for (std::int64_t i = of.begin[branch]; i < of.end[branch]; ++i) places.push_back(i);
  return places;
}

class TaskExampleSet : public ::testing::Test {
 protected:
  TaskExampleSet() { write(kLines); }
  void write(const std::string& lines) const {
    // With no delimiter the letters are one token each.
    write_task_file(dir_ / "q.task", test::letter_task(lines, {.window = 30, .delimiter = ""}));
  }
  ExampleOptions options() const {
    ExampleOptions of;
    of.path = dir_ / "q.task";
    of.may_be_task = true;
    return of;
  }
  std::unique_ptr<Examples> load(const ExampleOptions& of,
                                 const NestedModel& model = model_of(258, 64)) const {
    return load_examples(of, model);
  }
  test::TempDir dir_;
};

TEST_F(TaskExampleSet, AnExampleIsADocument) {
  const auto data = load(options());
  EXPECT_EQ(data->count, 3);
  EXPECT_EQ(data->kind(), "questions");
  EXPECT_EQ(data->context, 12);  // "x" and the longer choice but for its last letter
  EXPECT_EQ(data->protocol, "questions, window 30, no stride, no prefix, unit token");
  EXPECT_EQ(data->name, "q.task, questions, window 30, no stride, no prefix, unit token");
  EXPECT_EQ(examples_text(data->kind(), data->count, data->context),
            "3 questions of up to 12 tokens");
}

TEST_F(TaskExampleSet, RowsHaveEveryAnswerOnceAndShareWhatIsReadAlike) {
  const auto data = load(options());
  const auto& task = dynamic_cast<const TaskExamples&>(*data);
  for (const bool together : {true, false}) {
    const auto sets = task.rows(together);
    EXPECT_EQ(sets.size(), together ? 1u : 4u);
    std::set<std::int64_t> answers;
    std::int64_t rows = 0;
    for (const auto& set : sets) {
      rows += set->count;
      EXPECT_EQ(set->values(), static_cast<std::int64_t>(set->answers().size()));
      for (std::int64_t row = 0; row < set->count; ++row) {
        std::vector<std::int64_t> inputs(static_cast<std::size_t>(set->context));
        set->read_inputs(row, 1, std::as_writable_bytes(std::span(inputs)));
        for (std::int64_t run = set->first_value(row); run < set->first_value(row + 1); ++run) {
          const std::int64_t answer = set->answers()[static_cast<std::size_t>(run)];
          EXPECT_TRUE(answers.insert(answer).second);
          const auto tokens = task.task->tokens_of(answer);
          for (std::int64_t output = set->runs.outputs[static_cast<std::size_t>(run)];
               output < set->runs.outputs[static_cast<std::size_t>(run) + 1]; ++output) {
            const auto at = static_cast<std::size_t>(output);
            const auto position = static_cast<std::size_t>(set->runs.position[at]);
            EXPECT_EQ(set->runs.target[at], tokens[position + 1]);
            EXPECT_TRUE(std::equal(tokens.begin(),
                                   tokens.begin() + static_cast<std::ptrdiff_t>(position) + 1,
                                   inputs.begin()));
          }
        }
      }
    }
    EXPECT_EQ(rows, 5) << "the three letters share one";
    EXPECT_EQ(answers.size(), 7u);
  }
}

// Each answer's outputs are in a branch whose sequence is what the answer reads.
TEST_F(TaskExampleSet, ChoicesOfAQuestionBranchWhereTheModelTakesIt) {
  write(std::string(kLines) + "\n" +
        R"({"contexts": ["so he", "so she", "who"], "continuation": "ran", "gold": 0})");
  NestedModel model = model_of(258, 64);
  model.takes_branches = true;
  const auto data = load(options(), model);
  const auto& task = dynamic_cast<const TaskExamples&>(*data);
  EXPECT_EQ(data->context, 12) << "of an answer, not of a row";
  std::set<std::int64_t> answers;
  std::int64_t rows = 0;
  for (const auto& set : task.rows(false)) {
    rows += set->count;
    std::vector<std::int64_t> row(static_cast<std::size_t>(set->context));
    for (std::int64_t i = 0; i < set->count; ++i) {
      set->read_inputs(i, 1, std::as_writable_bytes(std::span(row)));
      for (std::int64_t run = set->first_value(i); run < set->first_value(i + 1); ++run) {
        const std::int64_t answer = set->answers()[static_cast<std::size_t>(run)];
        EXPECT_TRUE(answers.insert(answer).second);
        const auto tokens = task.task->tokens_of(answer);
        std::int64_t output = set->runs.outputs[static_cast<std::size_t>(run)];
        const std::int64_t scored = task.task->scored[static_cast<std::size_t>(answer)];
        ASSERT_EQ(set->runs.outputs[static_cast<std::size_t>(run) + 1] - output, scored);
        std::size_t found = 0;  // the branches that have the answer
        for (std::size_t b = first_branch(*set, i); b < first_branch(*set, i + 1); ++b) {
          const std::vector<std::int64_t> places = sequence_of(*set, row, b);
          if (places.size() + 1 != tokens.size()) continue;
          const bool reads = std::ranges::equal(
              places, tokens.first(places.size()), {},
              [&](std::int64_t place) { return row[static_cast<std::size_t>(place)]; });
          if (!reads) continue;
          ++found;
          for (std::int64_t s = 0; s < scored; ++s, ++output) {
            const auto at = static_cast<std::size_t>(output);
            const auto in_answer = tokens.size() - static_cast<std::size_t>(scored - s);
            EXPECT_EQ(set->runs.target[at], tokens[in_answer]);
            EXPECT_EQ(set->runs.position[at], places[in_answer - 1]);
          }
        }
        EXPECT_EQ(found, 1u) << "answer " << answer;
      }
    }
  }
  EXPECT_EQ(answers.size(), 10u);
  EXPECT_EQ(rows, 6) << "one a question, but for contexts that begin otherwise";
  EXPECT_EQ(task.rows(true).front()->branches.of_example.size(), 0u) << "streamed, none branches";
}

TEST_F(TaskExampleSet, PartsHaveTheirDocumentsAndFingerprint) {
  const auto data = load(options());
  const auto part = subset_of(*data, {0, 2});
  EXPECT_EQ(part->count, 2);
  EXPECT_EQ(part->kind(), "questions");
  EXPECT_EQ(part->context, 6);
  EXPECT_NE(part->fingerprint, data->fingerprint);
  EXPECT_EQ(subset_of(*data, {0, 2})->fingerprint, part->fingerprint);
  EXPECT_NE(subset_of(*data, {0, 1})->fingerprint, part->fingerprint);
  EXPECT_EQ(data->shared_with(*part), 2);
  EXPECT_EQ(subset_of(*data, {1})->shared_with(*part), 0);

  ExampleOptions few = options();
  few.max_tokens = 6;  // those of the first question alone
  EXPECT_EQ(load(few)->count, 1);
  few.max_tokens = 5;
  EXPECT_TRUE(contains(error_of([&] { load(few); }), "at most 5 may be used"));
}

TEST_F(TaskExampleSet, WhatDoesNotFitTheModelIsOneSentence) {
  EXPECT_TRUE(contains(error_of([&] { load(options(), model_of(100, 64)); }),
                       "tokens outside the model's vocabulary of 100"));
  EXPECT_TRUE(contains(error_of([&] { load(options(), model_of(258, 11)); }),
                       "an answer reads 12 tokens, and the model at most 11"));
  ExampleOptions other = options();
  other.vocabulary = [] { return std::string("another"); };
  EXPECT_TRUE(contains(error_of([&] { load(other); }), "with another tokenizer"));
  other.vocabulary = [] { return std::string("letters"); };
  EXPECT_EQ(load(other)->count, 3);
  other.vocabulary = [] { return std::string(); };  // a model without one is taken at its size
  EXPECT_EQ(load(other)->count, 3);

  ExampleOptions wrong = options();
  wrong.context = 8;
  EXPECT_TRUE(contains(error_of([&] { load(wrong); }), "--context is not possible"));
  wrong = options();
  wrong.positions = {1, 4, 0};
  EXPECT_TRUE(contains(error_of([&] { load(wrong); }), "a share of the positions"));
  wrong = options();
  wrong.format = TokenFormat::kBytes;
  EXPECT_TRUE(contains(error_of([&] { load(wrong); }), "a format of tokens"));
  wrong = options();
  wrong.may_be_task = false;
  EXPECT_TRUE(contains(error_of([&] { load(wrong); }), "it is a task"));
  NestedModel images = model_of(258, 64);
  images.input.type = InputType::kPixels;
  EXPECT_TRUE(contains(error_of([&] { load(options(), images); }), "it is a task"));
}

}  // namespace
}  // namespace mnm
