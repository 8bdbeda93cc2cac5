// Task files: what `mixnmatch tasks` makes of questions, or of texts whose perplexity is measured.
// The tokens are in the file, so that a submodel is scored without a tokenizer and every submodel
// on the same ones. docs/formats.md describes the file ("Task files").
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace mnm {

enum class TaskKind : std::uint8_t {
  kQuestions,  // a document is a question, and its answers are the choices
  kTexts,      // a document is a text, and its answers are the windows that it is cut into
};
std::string_view to_string(TaskKind kind);  // "questions", "texts": as the store calls them

// How texts became tokens, and what a model reads of them.
struct TaskProtocol {
  TaskKind kind = TaskKind::kQuestions;
  std::int64_t window = 0;   // the most tokens that a model reads for an answer
  std::int64_t prefix = -1;  // the token that is read where nothing comes before; -1: none
  std::string delimiter;     // of questions: between the context and a choice
  std::int64_t cut = 0;      // answers of questions that were cut on the left to fit the window
  std::int64_t vocab_size = 0;
  std::string vocabulary;  // a fingerprint of the tokenizer's tokens and their ids
  std::string source;      // the name of the file that it was made of
};

// "questions, window 1024, no stride, prefix 0, unit token", "texts, window 1024, stride 1024, no
// prefix, unit token": what a number means nothing without. Window and stride count the unit.
std::string protocol_text(const TaskProtocol& protocol);

// The contents of a task file. Of its answers, tokens[answer_begin[a], answer_begin[a + 1]) are the
// tokens: all but the last are read, and the last scored[a] are predicted.
struct TaskFile {
  TaskProtocol protocol;
  std::vector<std::int32_t> tokens;
  std::vector<std::int64_t> answer_begin;    // [answers + 1]
  std::vector<std::int64_t> scored;          // [answers], 1 or more
  std::vector<std::int64_t> document_begin;  // [documents + 1]: the first answer of each
  // Of questions:
  std::vector<std::int64_t> code_points, bytes;  // [answers]: of the choice, without the delimiter
  std::vector<std::int64_t> gold;                // [documents]: the choice that is right, from 0
  // Of texts:
  std::vector<std::int64_t> words, text_bytes;  // [documents]

  std::int64_t documents() const { return static_cast<std::int64_t>(document_begin.size()) - 1; }
  std::int64_t answers() const { return static_cast<std::int64_t>(scored.size()); }
  std::span<const std::int32_t> tokens_of(std::int64_t answer) const;
  std::string fingerprint() const;  // of all of it
};

// Whether the file begins as one that write_task_file has written.
bool is_task_file(const std::filesystem::path& path);

void write_task_file(const std::filesystem::path& path, const TaskFile& task);  // appears whole

// Takes no more memory than twice the file's size. Error, which names the file, if it is not as
// the struct says:
// - a length contradicts another one;
// - an answer has no tokens, or is longer than the window;
// - a gold is none of the choices;
// - a token is outside the vocabulary;
// - the contents do not have the fingerprint that the file states.
TaskFile read_task_file(const std::filesystem::path& path);

}  // namespace mnm
