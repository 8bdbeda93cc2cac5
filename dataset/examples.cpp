#include "dataset/examples.h"

#include <fmt/format.h>

#include "base/error.h"
#include "dataset/image_examples.h"
#include "dataset/task_examples.h"
#include "dataset/tokens.h"

namespace mnm {

std::string examples_text(std::string_view kind, std::int64_t count, std::int64_t context) {
  const ExampleWords& words = words_of(kind);
  const std::string examples = fmt::format("{} {}s", count, words.example);
  if (words.example == words.output) return examples;
  const bool differ =
      kind == to_string(TaskKind::kQuestions) || kind == to_string(TaskKind::kTexts);
  return fmt::format("{} of {}{} {}s", examples, differ ? "up to " : "", context, words.output);
}

double Examples::share() const {
  const auto outputs = static_cast<double>(this->outputs());
  if (runs.outputs.empty()) return static_cast<double>(targets()) / outputs;
  return static_cast<double>(runs.position.size()) / (outputs * static_cast<double>(count));
}

ExampleInputs inputs_of(const Examples& examples, std::int64_t begin, std::int64_t n) {
  ExampleInputs inputs = ExampleInputs::of(examples.input(), n);
  examples.read_inputs(begin, n, inputs.bytes());
  return inputs;
}

std::unique_ptr<Examples> load_examples(const ExampleOptions& options, const NestedModel& model) {
  if (is_task_file(options.path)) {
    if (!options.may_be_task) {
      fail(
          "cannot read sequences of {}: it is a task, which only eval, search and sensitivity read",
          options.path.string());
    }
    return std::make_unique<TaskExamples>(load_task_examples(options, model));
  }
  switch (model.input.type) {
    case InputType::kTokenIds:
      return std::make_unique<TokenExamples>(
          load_token_examples(options, model.vocab_size, model.max_context));
    case InputType::kPixels:
      return std::make_unique<ImageExamples>(load_image_examples(options, model));
  }
  return nullptr;
}

}  // namespace mnm
