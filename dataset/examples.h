// What a model is scored on: a set of examples. An example is one independent sample. It has an
// input, a target for each output of the model, and the outputs that are scored. There are token
// files (dataset/tokens.h), sets of images (dataset/image_examples.h) and tasks
// (dataset/task_examples.h). The rest of the program counts examples, positions and outputs. Only
// this room and the folds ask what an input is and what a target may be.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "dataset/pixel_scale.h"
#include "dataset/positions.h"
#include "dataset/token_format.h"
#include "model/example_inputs.h"
#include "model/nested_model.h"

namespace mnm {

// Outputs that are scored in runs: where examples differ in how many there are, or an output is
// compared with several targets. A run has one value of each metric, the sum over its outputs.
struct ScoredRuns {
  std::vector<std::int64_t> of_example;  // [count + 1]: the first run of each example
  std::vector<std::int64_t> outputs;     // [runs + 1]: the first output of each run
  std::vector<std::int32_t> position;    // [outputs of all runs]: in its example
  std::vector<std::int32_t> target;      // [outputs of all runs]
};

// Examples whose tokens branch: all tokens of an example go through the layers together, but not
// all of them are one sequence. The sequence of a branch is the first `shared` tokens and then
// those at [begin, end). A token sees what comes before it in its sequence, and nothing of other
// branches. Every token is in a branch.
struct ExampleBranches {
  std::vector<std::int64_t> of_example;          // [count + 1]: the first branch of each example
  std::vector<std::int64_t> shared, begin, end;  // [branches]
};

class Examples {
 public:
  virtual ~Examples() = default;

  std::string name;  // the file's
  // Of a task, and of queries (dataset/retrieval.h): what their numbers mean nothing without.
  std::string protocol;
  std::string fingerprint;   // of inputs, targets and scored outputs
  std::int64_t count = 0;    // examples
  std::int64_t context = 0;  // positions of each, all of which a model computes
  // The outputs that are scored: the same number for each example, ascending, [count * targets()].
  // Empty: all.
  std::vector<std::int32_t> scored;
  // Instead of `scored` and of one value for each example, the mean over its outputs. Empty: none.
  ScoredRuns runs;
  ExampleBranches
      branches;  // empty: an example is one sequence. Only with NestedModel::takes_branches

  virtual std::string_view kind() const = 0;  // as the store calls it: "tokens", "images"
  virtual InputSpec input() const = 0;
  virtual std::int64_t outputs() const = 0;  // of an example, each with a target: `context`, or 1
  // Reads examples [begin, begin + n): n inputs of their type, one after the other, and n *
  // outputs() targets, each below the model's vocab_size. The spans have these sizes.
  virtual void read_inputs(std::int64_t begin, std::int64_t n, std::span<std::byte> out) const = 0;
  virtual void read_targets(std::int64_t begin, std::int64_t n,
                            std::span<std::int64_t> out) const = 0;
  // How many examples of either set are also in the other; the larger of the two numbers. 0 if the
  // sets are disjoint or of different kinds.
  virtual std::int64_t shared_with(const Examples& other) const = 0;

  // The number of scored outputs of an example, and their share of all outputs.
  std::int64_t targets() const {
    return scored.empty() ? outputs() : static_cast<std::int64_t>(scored.size()) / count;
  }
  virtual double share() const;
  virtual std::int64_t positions() const { return count * context; }  // that a model computes

  // The values that a pass gives for each metric, and the first one of an example (or, for
  // `count`, the end).
  std::int64_t values() const { return first_value(count); }
  std::int64_t first_value(std::int64_t example) const {
    return runs.outputs.empty() ? example : runs.of_example[static_cast<std::size_t>(example)];
  }
};

// "16 sequences of 256 tokens", "2000 images", "500 questions of up to 80 tokens": of the kind that
// the store names.
std::string examples_text(std::string_view kind, std::int64_t count, std::int64_t context);

// The inputs of examples [begin, begin + n).
ExampleInputs inputs_of(const Examples& examples, std::int64_t begin, std::int64_t n);

struct ExampleOptions {
  std::filesystem::path path;   // a file of tokens, a task, or the directory of an image set
  std::int64_t context = 0;     // 0: min(kDefaultContext, the model's)
  std::int64_t max_tokens = 0;  // whole examples within so many positions are used; 0: all
  PositionShare positions{};    // that are scored
  // Of a file of tokens (dataset/token_format.h).
  TokenFormat format = TokenFormat::kRecognised;
  std::function<TextTokens()> text{};  // of the checkpoint's tokenizer, as in TokenReading
  // Of an image set whose pixels are uint8: how the checkpoint normalises them.
  std::function<std::optional<PixelScale>()> pixels{};
  // Of a task: the fingerprint of the checkpoint's tokenizer, as TaskProtocol has it; empty if it
  // has none.
  std::function<std::string()> vocabulary{};
  // Whether the file may be a task: whoever reads it scores it, and does nothing else.
  bool may_be_task = false;
};

// Loads examples of the kind that the model reads. Error if the file or directory is of another
// kind, or its images or classes are not the model's. UsageError if not even one example fits, or
// an option is not for such examples.
std::unique_ptr<Examples> load_examples(const ExampleOptions& options, const NestedModel& model);

}  // namespace mnm
