// Some of the examples of a set, as a set of their own.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "dataset/examples.h"

namespace mnm {

class ExampleSubset final : public Examples {
 public:
  // Example i of this set is example chosen[i] of `whole`, which outlives it. `chosen` ascends. Its
  // fingerprint is of the whole set's and of the choice. Error if `chosen` is empty, does not
  // ascend or reaches outside.
  ExampleSubset(const Examples& whole, std::vector<std::int64_t> chosen);

  std::string_view kind() const override { return whole_.kind(); }
  InputSpec input() const override { return whole_.input(); }
  std::int64_t outputs() const override { return whole_.outputs(); }
  void read_inputs(std::int64_t begin, std::int64_t n, std::span<std::byte> out) const override;
  void read_targets(std::int64_t begin, std::int64_t n, std::span<std::int64_t> out) const override;
  // Of the whole set: never less than of this one.
  std::int64_t shared_with(const Examples& other) const override;

  std::span<const std::int64_t> chosen() const { return chosen_; }

 private:
  const Examples& whole_;
  std::vector<std::int64_t> chosen_;  // [count]
};

// The same of any examples: of a task, documents are chosen (TaskExamples::subset).
std::unique_ptr<const Examples> subset_of(const Examples& whole, std::vector<std::int64_t> chosen);

}  // namespace mnm
