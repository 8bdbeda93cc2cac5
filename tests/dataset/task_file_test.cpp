#include "dataset/task_file.h"

#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <utility>

#include "tests/support/error_of.h"
#include "tests/support/tasks.h"
#include "tests/support/temp_dir.h"

namespace mnm {
namespace {

using test::contains;
using test::error_of;

TaskFile questions() {
  return test::letter_task(R"({"context": "x", "choices": ["y", "zz"], "gold": 1})"
                           "\n"
                           R"({"context": "u", "choices": ["v"], "gold": 0})",
                           {.window = 9, .prefix = 0});
}
TaskFile texts() {
  return test::letter_task(R"({"text": "some words"})", {.window = 4, .prefix = 0});
}

class TaskFiles : public ::testing::Test {
 protected:
  std::filesystem::path path() const { return dir_ / "q.task"; }
  TaskFile kept(const TaskFile& task) const {
    write_task_file(path(), task);
    return read_task_file(path());
  }
  test::TempDir dir_;
};

TEST_F(TaskFiles, WhatIsWrittenIsRead) {
  for (const TaskFile& task : {questions(), texts()}) {
    const TaskFile read = kept(task);
    EXPECT_TRUE(is_task_file(path()));
    EXPECT_EQ(read.fingerprint(), task.fingerprint());
    EXPECT_EQ(read.tokens, task.tokens);
    EXPECT_EQ(read.gold, task.gold);
    EXPECT_EQ(read.code_points, task.code_points);
    EXPECT_EQ(read.words, task.words);
    EXPECT_EQ(read.document_begin, task.document_begin);
    EXPECT_EQ(protocol_text(read.protocol), protocol_text(task.protocol));
    EXPECT_EQ(read.protocol.source, "q.jsonl");
    const std::string bytes = test::slurp(path());
    write_task_file(path(), read);
    EXPECT_EQ(test::slurp(path()), bytes) << "the same bytes each time";
  }
  EXPECT_EQ(protocol_text(questions().protocol),
            "questions, window 9, no stride, prefix 0, unit token");
  EXPECT_EQ(protocol_text(texts().protocol), "texts, window 4, stride 4, prefix 0, unit token");
  TaskProtocol bare;  // without a prefix
  bare.window = 9;
  bare.cut = 2;
  EXPECT_EQ(protocol_text(bare),
            "questions, window 9, no stride, no prefix, unit token, 2 answers cut");
  test::spew(path(), "no task");
  EXPECT_FALSE(is_task_file(path()));
  EXPECT_FALSE(is_task_file(dir_.path()));
}

TEST_F(TaskFiles, FingerprintsAreOfAllButTheSource) {
  TaskFile task = questions();
  const std::string before = task.fingerprint();
  task.protocol.source = "elsewhere.jsonl";
  EXPECT_EQ(task.fingerprint(), before);
  const std::function<void(TaskFile&)> changes[] = {
      [](TaskFile& of) { of.tokens[0] += 1; }, [](TaskFile& of) { of.gold[0] = 0; },
      [](TaskFile& of) { of.bytes[0] += 1; }, [](TaskFile& of) { of.protocol.window = 10; },
      [](TaskFile& of) { of.protocol.prefix = 1; }};
  for (const auto& change : changes) {
    TaskFile other = questions();
    change(other);
    EXPECT_NE(other.fingerprint(), before);
  }
}

// The seeds of the fuzz target, whose fingerprints were computed by another program.
TEST_F(TaskFiles, FilesOfOtherProgramsAreRead) {
  const std::filesystem::path seeds = MNM_SOURCE_DIR "/tests/fuzz/seeds/task_file";
  EXPECT_EQ(read_task_file(seeds / "questions").gold, (std::vector<std::int64_t>{1, 0}));
  EXPECT_EQ(read_task_file(seeds / "texts").scored, (std::vector<std::int64_t>{4, 2}));
  EXPECT_NE(error_of([&] { read_task_file(seeds / "lying_places"); }), "");
}

// Files whose fingerprint is right, as one who means harm writes them.
TEST_F(TaskFiles, WhatContradictsItselfIsOneSentence) {
  const std::pair<std::function<void(TaskFile&)>, std::string> cases[] = {
      {[](TaskFile& task) { task.answer_begin.back() += 1; }, "'answer_begin' do not ascend"},
      {[](TaskFile& task) { task.answer_begin[1] = 1LL << 60; }, "'answer_begin' do not ascend"},
      {[](TaskFile& task) { task.answer_begin[1] = -1; }, "'answer_begin' do not ascend"},
      {[](TaskFile& task) { task.answer_begin.clear(); }, "'answer_begin' do not ascend"},
      {[](TaskFile& task) { task.document_begin[1] = 3; }, "'document_begin' do not ascend"},
      {[](TaskFile& task) { task.document_begin = {0}; }, "'document_begin' do not ascend"},
      {[](TaskFile& task) { task.scored.pop_back(); }, "'scored' has 2 numbers, expected 3"},
      {[](TaskFile& task) { task.scored[0] = 0; }, "'scored' holds 0"},
      {[](TaskFile& task) { task.scored[0] = 3; }, "answer 0 scores 3 of its 3 tokens"},
      {[](TaskFile& task) { task.scored[0] = 1LL << 62; }, "answer 0 scores"},
      {[](TaskFile& task) { task.protocol.window = 1; }, "more than the window of 1"},
      {[](TaskFile& task) { task.protocol.window = 0; }, "its window is '0'"},
      {[](TaskFile& task) { task.protocol.vocab_size = 5; }, "outside its vocabulary of 5"},
      {[](TaskFile& task) { task.tokens[2] = -1; }, "token -1"},
      {[](TaskFile& task) { task.gold[0] = 2; }, "question 0 is 2, and it has 2 choices"},
      {[](TaskFile& task) { task.gold[1] = -1; }, "'gold' holds -1"},
      {[](TaskFile& task) { task.gold.clear(); }, "'gold' has 0 numbers, expected 2"},
      {[](TaskFile& task) { task.code_points[0] = 0; }, "'code_points' holds 0"},
      {[](TaskFile& task) { task.bytes.push_back(1); }, "'bytes' has 4 numbers"},
      {[](TaskFile& task) { task.protocol.kind = TaskKind::kTexts; }, "'words' has 0 numbers"},
  };
  for (const auto& [damage, phrase] : cases) {
    TaskFile task = questions();
    damage(task);
    const std::string error = error_of([&] { kept(task); });
    EXPECT_TRUE(contains(error, phrase)) << phrase << "\n" << error;
    EXPECT_TRUE(contains(error, path().string())) << error;
  }
}

TEST_F(TaskFiles, CutOffOrAlteredFilesAreOneSentence) {
  write_task_file(path(), questions());
  const std::string sound = test::slurp(path());
  // Readers wait for the clock to tick after a write, so not every byte is tried.
  for (std::size_t size = 0; size < sound.size(); size += 13) {
    test::spew(path(), sound.substr(0, size));
    EXPECT_NE(error_of([&] { read_task_file(path()); }), "") << size;
  }
  for (std::size_t at = 0; at < sound.size(); at += 7) {
    std::string altered = sound;
    altered[at] = static_cast<char>(altered[at] ^ 1);
    test::spew(path(), altered);
    const std::size_t source = sound.find(R"("source":"q.jsonl")");
    if (at >= source && at < source + 18) continue;  // the one thing that may be changed
    const std::size_t head = sound.find_last_of('}') + 1;
    if (at > head && sound[at] == ' ' && at < sound.size() - 4) continue;  // what pads the header
    EXPECT_NE(error_of([&] { read_task_file(path()); }), "") << at;
  }
}

}  // namespace
}  // namespace mnm
