// Texts about tokens and sequences, in the words of other examples.
#pragma once

#include <string>
#include <string_view>

#include "model/example_inputs.h"

namespace mnm {

// "loss, nats per token" in these words: "loss, nats per image".
std::string in_words(std::string_view text, const ExampleWords& words);

}  // namespace mnm
