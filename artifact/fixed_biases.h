// A compensated model (Compensation in model/nested_model.h) at one choice of widths, as a model
// without compensation: the biases that the widths give are ordinary tensors. Every format and
// every check then treats it as any other model.
#pragma once

#include <filesystem>

#include "base/file.h"
#include "families/open_model.h"
#include "model/widths.h"

namespace mnm {

class FixedBiases {
 public:
  // The biases lie in a small file in a directory that lives as long as the object and is a hidden
  // sibling of `target`. All other tensors are read from the checkpoint's own files. UsageError if
  // the space refuses the widths.
  FixedBiases(const OpenedModel& nested, const Widths& widths, const std::filesystem::path& target);

  // Computes at `widths` what the nested model computes there. It may be asked for other widths,
  // but has the biases of these.
  const OpenedModel& opened() const { return opened_; }

 private:
  AtomicDirectory directory_;  // never committed
  OpenedModel opened_;
};

// Error if slices of the model at these widths are no model, because it is compensated and a width
// leaves out neurons.
void require_fixed_biases(const NestedModel& model, const Widths& widths);

}  // namespace mnm
