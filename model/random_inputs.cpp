#include "model/random_inputs.h"

namespace mnm {

ExampleInputs random_inputs(const NestedModel& model, std::int64_t count, std::int64_t context,
                            Random& random) {
  InputSpec each = model.input;
  if (model.reads_tokens()) each.shape = {context};
  ExampleInputs inputs = ExampleInputs::of(each, count);
  for (std::int64_t& token : inputs.tokens) {
    token = static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(model.vocab_size)));
  }
  for (float& pixel : inputs.pixels) pixel = static_cast<float>(2 * random.uniform() - 1);
  return inputs;
}

}  // namespace mnm
