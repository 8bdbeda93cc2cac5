// What a model is scored on: a set of examples. An example is one independent sample. It has an
// input, a target at each of its positions, and the positions that are scored. Token files make one
// kind of examples (dataset/token_file.h). The rest of the program counts examples and positions.
// Only this room and the folds ask what an input is and what a target may be.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "dataset/positions.h"
#include "dataset/token_format.h"
#include "model/nested_model.h"

namespace mnm {

enum class InputType : std::uint8_t { kTokenIds };  // int64

// What the input of one example is.
struct InputSpec {
  InputType type = InputType::kTokenIds;
  std::vector<std::int64_t> shape;  // kTokenIds: [context]
};

class Examples {
 public:
  virtual ~Examples() = default;

  std::string name;          // the file's
  std::string fingerprint;   // of inputs, targets and scored positions
  std::int64_t count = 0;    // examples
  std::int64_t context = 0;  // positions of each, all of which a model computes
  // The positions that are scored: the same number for each example, ascending, [count *
  // targets()]. Empty: all positions.
  std::vector<std::int32_t> scored;

  virtual std::string_view kind() const = 0;  // as the store calls it: "tokens"
  virtual InputSpec input() const = 0;
  // Reads examples [begin, begin + n): n inputs of their type, one after the other, and n * context
  // targets. Each target is a class of the model's output. The spans have these sizes.
  virtual void read_inputs(std::int64_t begin, std::int64_t n, std::span<std::byte> out) const = 0;
  virtual void read_targets(std::int64_t begin, std::int64_t n,
                            std::span<std::int64_t> out) const = 0;
  // How many examples of either set are also in the other; the larger of the two numbers. 0 if the
  // sets are disjoint or of different kinds.
  virtual std::int64_t shared_with(const Examples& other) const = 0;

  // The number of scored positions of an example, and their share of all positions.
  std::int64_t targets() const {
    return scored.empty() ? context : static_cast<std::int64_t>(scored.size()) / count;
  }
  double share() const { return static_cast<double>(targets()) / static_cast<double>(context); }
};

struct ExampleOptions {
  std::filesystem::path path;
  std::int64_t context = 0;     // 0: min(kDefaultContext, the model's)
  std::int64_t max_tokens = 0;  // whole sequences within it are used; 0: all
  PositionShare positions{};    // that are scored
  // Of a file of tokens (dataset/token_format.h).
  TokenFormat format = TokenFormat::kRecognised;
  std::function<TextTokens()> text{};  // of the checkpoint's tokenizer, as in TokenReading
};

// Loads examples of the kind that the model takes. UsageError if not even one example fits, or the
// context is longer than the model's.
std::unique_ptr<Examples> load_examples(const ExampleOptions& options, const NestedModel& model);

}  // namespace mnm
