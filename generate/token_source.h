// Where the next tokens of a text come from: one submodel, a submodel that changes, a draft and its
// verifier.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace mnm {

class TokenSource {
 public:
  virtual ~TokenSource() = default;

  // Reads the next part of the prompt, one token or more. Called before `next`, once or more.
  virtual void read(std::span<const std::int64_t> part) = 0;

  // The next tokens of the text: at least one and at most `most`, which is at least one. The first
  // call computes nothing on this machine, since the prompt's last logits are there. Error if the
  // logits are no numbers, or if another machine does not answer.
  virtual std::vector<std::int64_t> next(std::int64_t most) = 0;
};

}  // namespace mnm
