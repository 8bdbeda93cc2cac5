#include "dataset/task_examples.h"

#include <algorithm>
#include <limits>
#include <map>
#include <unordered_map>
#include <utility>

#include "base/error.h"
#include "model/fingerprint.h"

namespace mnm {
namespace {

using Row = TaskRows::Row;

constexpr std::int64_t kMostShared = 4096;  // tokens of a row that branches

// The tokens that a model reads for an answer: all but the last.
std::span<const std::int32_t> read_for(const TaskFile& task, std::int64_t answer) {
  const std::span<const std::int32_t> tokens = task.tokens_of(answer);
  return tokens.first(tokens.size() - 1);
}

std::int64_t length_of(const TaskFile& task, std::span<const std::int64_t> branch) {
  return static_cast<std::int64_t>(read_for(task, branch.front()).size());
}

std::int64_t length_of(const TaskFile& task, const Row& row) {
  std::int64_t length = row.shared;
  for (const std::vector<std::int64_t>& branch : row.branches) {
    length += length_of(task, branch) - row.shared;
  }
  return length;
}

// Answers of a document, put together where they read the same tokens: choices of one token each.
std::vector<std::vector<std::int64_t>> answers_read_alike(const TaskFile& task,
                                                          std::int64_t document) {
  std::vector<std::vector<std::int64_t>> alike;
  const auto at = static_cast<std::size_t>(document);
  for (std::int64_t answer = task.document_begin[at]; answer < task.document_begin[at + 1];
       ++answer) {
    const auto tokens = read_for(task, answer);
    const auto same = std::ranges::find_if(alike, [&](const auto& answers) {
      return std::ranges::equal(read_for(task, answers.front()), tokens);
    });
    if (same != alike.end()) {
      same->push_back(answer);
    } else {
      alike.push_back({answer});
    }
  }
  return alike;
}

// The first tokens that all of them read.
std::int64_t shared_tokens(const TaskFile& task,
                           std::span<const std::vector<std::int64_t>> branches) {
  std::span<const std::int32_t> shared = read_for(task, branches.front().front());
  for (const std::vector<std::int64_t>& branch : branches.subspan(1)) {
    const auto [end, other] = std::ranges::mismatch(shared, read_for(task, branch.front()));
    shared = shared.first(static_cast<std::size_t>(end - shared.begin()));
  }
  return static_cast<std::int64_t>(shared.size());
}

// Of one document.
void add_rows(const TaskFile& task, std::int64_t document, bool branching, std::vector<Row>& rows) {
  const auto branches = answers_read_alike(task, document);
  const std::int64_t shared =
      branching && task.protocol.kind == TaskKind::kQuestions ? shared_tokens(task, branches) : 0;
  bool open = false;  // whether the last row is one that the next branch may share
  for (const std::vector<std::int64_t>& branch : branches) {
    const bool fits =
        open && shared > 0 &&
        length_of(task, rows.back()) + length_of(task, branch) - shared <= kMostShared;
    if (fits) {
      rows.back().branches.push_back(branch);
      rows.back().shared = shared;
    } else {
      rows.push_back({{branch}, 0});
    }
    open = true;
  }
}

void refuse_options(const ExampleOptions& options, const NestedModel& model) {
  const std::string name = options.path.string();
  if (!model.reads_tokens()) fail("cannot read images of {}: it is a task of questions", name);
  if (options.context != 0) {
    fail_usage("--context is not possible with {}: a task has its own window", name);
  }
  if (!options.positions.all()) {
    fail_usage("a share of the positions cannot be scored of {}: a task has its own", name);
  }
  if (options.format != TokenFormat::kRecognised) {
    fail_usage("a format of tokens was given, but {} is a task", name);
  }
}

void check_model(const TaskFile& task, const ExampleOptions& options, const NestedModel& model) {
  const std::string name = options.path.string();
  const std::string vocabulary = options.vocabulary ? options.vocabulary() : "";
  if (!vocabulary.empty() && vocabulary != task.protocol.vocabulary) {
    fail(
        "cannot score the task {}: it was made with another tokenizer than the model's; make it "
        "anew with 'mixnmatch tasks --model'",
        name);
  }
  if (std::ranges::any_of(task.tokens, [&](auto token) { return token >= model.vocab_size; })) {
    fail("cannot score the task {}: it has tokens outside the model's vocabulary of {}", name,
         model.vocab_size);
  }
  for (std::int64_t answer = 0; answer < task.answers(); ++answer) {
    const auto length = static_cast<std::int64_t>(read_for(task, answer).size());
    if (length <= model.max_context) continue;
    fail(
        "cannot score the task {}: an answer reads {} tokens, and the model at most {}; make the "
        "task with 'mixnmatch tasks --window {}'",
        name, length, model.max_context, model.max_context);
  }
}

}  // namespace

TaskRows::TaskRows(const TaskFile& task, std::vector<Row> rows)
    : task_(task), rows_(std::move(rows)) {
  count = static_cast<std::int64_t>(rows_.size());
  runs.of_example = runs.outputs = {0};
  const bool branching =
      std::ranges::any_of(rows_, [](const Row& row) { return row.branches.size() > 1; });
  if (branching) branches.of_example = {0};
  for (const Row& row : rows_) {
    context = std::max(context, length_of(task, row));
    std::int64_t end = row.shared;
    for (const std::vector<std::int64_t>& branch : row.branches) {
      const std::int64_t begin = end;
      end += length_of(task, branch) - row.shared;
      for (const std::int64_t answer : branch) add_run(answer, row.shared, begin);
      if (!branching) continue;
      branches.shared.push_back(row.shared);
      branches.begin.push_back(begin);
      branches.end.push_back(end);
    }
    runs.of_example.push_back(static_cast<std::int64_t>(answers_.size()));
    if (branching) branches.of_example.push_back(static_cast<std::int64_t>(branches.end.size()));
  }
}

// Of an answer whose tokens after the shared ones begin at a position of its row.
void TaskRows::add_run(std::int64_t answer, std::int64_t shared, std::int64_t begin) {
  const auto length = static_cast<std::int64_t>(read_for(task_, answer).size());
  const std::int64_t last = task_.scored[static_cast<std::size_t>(answer)];
  for (std::int64_t i = length - last; i < length; ++i) {
    runs.position.push_back(static_cast<std::int32_t>(i < shared ? i : begin + i - shared));
  }
  const auto targets = task_.tokens_of(answer).last(static_cast<std::size_t>(last));
  runs.target.insert(runs.target.end(), targets.begin(), targets.end());
  runs.outputs.push_back(static_cast<std::int64_t>(runs.position.size()));
  answers_.push_back(answer);
}

void TaskRows::read_inputs(std::int64_t begin, std::int64_t n, std::span<std::byte> out) const {
  std::vector<std::int64_t> inputs(static_cast<std::size_t>(n * context), 0);
  for (std::int64_t i = 0; i < n; ++i) {
    const Row& row = rows_[static_cast<std::size_t>(begin + i)];
    const auto shared = static_cast<std::size_t>(row.shared);
    auto to = inputs.begin() + i * context;
    to = std::ranges::copy(read_for(task_, row.branches.front().front()).first(shared), to).out;
    for (const std::vector<std::int64_t>& branch : row.branches) {
      to = std::ranges::copy(read_for(task_, branch.front()).subspan(shared), to).out;
    }
  }
  std::ranges::copy(std::as_bytes(std::span(inputs)), out.begin());
}

void TaskRows::read_targets(std::int64_t, std::int64_t, std::span<std::int64_t> out) const {
  std::ranges::fill(out, 0);
}

std::vector<Row> TaskExamples::all_rows(bool branching) const {
  std::vector<Row> rows;
  for (const std::int64_t document : documents) add_rows(*task, document, branching, rows);
  return rows;
}

std::vector<std::unique_ptr<const TaskRows>> TaskExamples::rows(bool together) const {
  std::vector<Row> all = all_rows(branch && !together);
  std::ranges::stable_sort(all, std::ranges::greater(),
                           [&](const Row& row) { return length_of(*task, row); });
  std::vector<std::unique_ptr<const TaskRows>> sets;
  for (auto begin = all.begin(); begin != all.end();) {
    const std::int64_t longest = length_of(*task, *begin);
    const auto end = together ? all.end() : std::find_if(begin, all.end(), [&](const Row& row) {
      return 4 * length_of(*task, row) < 3 * longest;
    });
    sets.push_back(std::make_unique<TaskRows>(*task, std::vector<Row>(begin, end)));
    begin = end;
  }
  return sets;
}

void TaskExamples::count_rows() {
  context = positions_ = 0;
  double outputs = 0;
  for (const auto& set : rows(false)) {
    positions_ += set->positions();
    outputs += set->share() * static_cast<double>(set->positions());
  }
  share_ = outputs / static_cast<double>(positions_);
  for (const std::int64_t document : documents) {
    for (const auto& alike : answers_read_alike(*task, document)) {
      context = std::max(context, length_of(*task, alike));
    }
  }
}

std::unique_ptr<TaskExamples> TaskExamples::subset(std::span<const std::int64_t> chosen) const {
  auto part = std::make_unique<TaskExamples>();
  part->task = task;
  part->branch = branch;
  part->protocol = protocol;
  for (const std::int64_t place : chosen) {
    part->documents.push_back(documents.at(static_cast<std::size_t>(place)));
  }
  part->count = static_cast<std::int64_t>(chosen.size());
  part->name = fmt::format("{}, {} of {} {}", name, chosen.size(), count, kind());
  Fingerprint of;
  of.add(fingerprint);
  of.add(std::as_bytes(chosen));
  part->fingerprint = of.hex();
  part->count_rows();
  return part;
}

void TaskExamples::read_inputs(std::int64_t, std::int64_t, std::span<std::byte>) const {
  fail("the documents of a task, {}, have no input of one length", name);
}

void TaskExamples::read_targets(std::int64_t, std::int64_t, std::span<std::int64_t>) const {
  fail("the documents of a task, {}, have no targets of one number", name);
}

std::int64_t TaskExamples::shared_with(const Examples& other) const {
  const auto* const same = dynamic_cast<const TaskExamples*>(&other);
  if (!same) return 0;
  // Of each document, counted.
  const auto counted = [](const TaskExamples& set) {
    std::unordered_map<std::string, std::int64_t> found;
    for (const std::int64_t document : set.documents) {
      const auto at = static_cast<std::size_t>(document);
      Fingerprint of;
      for (std::int64_t a = set.task->document_begin[at]; a < set.task->document_begin[at + 1];
           ++a) {
        of.add(std::to_string(set.task->scored[static_cast<std::size_t>(a)]));
        of.add(std::as_bytes(set.task->tokens_of(a)));
      }
      ++found[of.hex()];
    }
    return found;
  };
  const auto mine = counted(*this), theirs = counted(*same);
  std::int64_t here = 0, there = 0;
  for (const auto& [document, times] : mine) {
    const auto found = theirs.find(document);
    if (found == theirs.end()) continue;
    here += times;
    there += found->second;
  }
  return std::max(here, there);
}

TaskExamples load_task_examples(const ExampleOptions& options, const NestedModel& model) {
  refuse_options(options, model);
  TaskExamples data;
  const auto task = std::make_shared<const TaskFile>(read_task_file(options.path));
  check_model(*task, options, model);
  data.task = task;
  data.branch = model.takes_branches;
  std::int64_t positions = 0;
  for (std::int64_t document = 0; document < task->documents(); ++document) {
    std::vector<Row> rows;
    add_rows(*task, document, data.branch, rows);
    for (const Row& row : rows) positions += length_of(*task, row);
    if (options.max_tokens > 0 && positions > options.max_tokens) break;
    data.documents.push_back(document);
  }
  data.count = static_cast<std::int64_t>(data.documents.size());
  if (data.count == 0) {
    fail_usage("the first of the {} of {} reads {} tokens, of which at most {} may be used",
               data.kind(), options.path.string(), positions, options.max_tokens);
  }
  data.protocol = protocol_text(task->protocol);
  data.name = fmt::format("{}, {}", options.path.filename().string(), data.protocol);
  Fingerprint of;
  of.add(task->fingerprint());
  of.add(std::as_bytes(std::span(data.documents)));
  data.fingerprint = of.hex();
  data.count_rows();
  return data;
}

}  // namespace mnm
