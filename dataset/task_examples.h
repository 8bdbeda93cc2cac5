// A task as examples: each is a document. A model does not read documents but rows: the tokens of
// an answer, or of several. Answers that read the same tokens share a row. So do the choices of a
// question that read the same tokens first, if the model takes tokens that branch. Rows of about
// the same length are a set of examples of their own, and the values of answers make those of
// documents (eval/task_scores.h).
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "dataset/examples.h"
#include "dataset/task_file.h"

namespace mnm {

// Rows of a task, each filled with zeros behind its tokens, which a causal model does not look at.
class TaskRows final : public Examples {
 public:
  struct Row {
    // Answers of the task. Those of a branch read the same tokens; those of all branches read the
    // same `shared` tokens first. With one branch, nothing is shared.
    std::vector<std::vector<std::int64_t>> branches;
    std::int64_t shared = 0;
  };

  // `task` outlives them. As wide as the longest row.
  TaskRows(const TaskFile& task, std::vector<Row> rows);

  // The answers of all rows, in the order of their values.
  const std::vector<std::int64_t>& answers() const { return answers_; }

  std::string_view kind() const override { return to_string(task_.protocol.kind); }
  InputSpec input() const override { return {InputType::kTokenIds, {context}}; }
  std::int64_t outputs() const override { return context; }
  void read_inputs(std::int64_t begin, std::int64_t n, std::span<std::byte> out) const override;
  // Zeros: `runs` has the targets.
  void read_targets(std::int64_t begin, std::int64_t n, std::span<std::int64_t> out) const override;
  std::int64_t shared_with(const Examples&) const override { return 0; }

 private:
  void add_run(std::int64_t answer, std::int64_t shared, std::int64_t begin);

  const TaskFile& task_;
  std::vector<Row> rows_;
  std::vector<std::int64_t> answers_;
};

class TaskExamples final : public Examples {
 public:
  std::shared_ptr<const TaskFile> task;
  std::vector<std::int64_t> documents;  // [count], ascending: those that are scored
  bool branch = false;                  // whether the model takes tokens that branch

  // All rows that are needed, by length. In each set no row is shorter than three quarters of the
  // longest; or, if they are `together`, all are in one set and no row branches.
  std::vector<std::unique_ptr<const TaskRows>> rows(bool together) const;
  // Documents chosen[0], chosen[1], ... of these.
  std::unique_ptr<TaskExamples> subset(std::span<const std::int64_t> chosen) const;

  std::string_view kind() const override { return to_string(task->protocol.kind); }
  InputSpec input() const override { return {InputType::kTokenIds, {context}}; }
  std::int64_t outputs() const override { return context; }
  std::int64_t positions() const override { return positions_; }
  double share() const override { return share_; }
  // Error: documents are read through rows().
  void read_inputs(std::int64_t begin, std::int64_t n, std::span<std::byte> out) const override;
  void read_targets(std::int64_t begin, std::int64_t n, std::span<std::int64_t> out) const override;
  // Counts documents with the same tokens and the same scored ones.
  std::int64_t shared_with(const Examples& other) const override;

 private:
  friend TaskExamples load_task_examples(const ExampleOptions& options, const NestedModel& model);
  void count_rows();  // sets context, positions_ and share_
  std::vector<TaskRows::Row> all_rows(bool branching) const;

  std::int64_t positions_ = 0;
  double share_ = 0;
};

// load_examples (dataset/examples.h) for a task file. `context` and `positions` are the file's own;
// max_tokens takes the first documents whose rows have so many positions.
TaskExamples load_task_examples(const ExampleOptions& options, const NestedModel& model);

}  // namespace mnm
