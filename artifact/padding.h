// A submodel of mixed widths as one of a single width, for runtimes that read one width for all
// layers: what a narrower layer lacks is zeros, or copies of rows that it has where the family says
// so. It computes the same, and it costs as much as the widest layer everywhere.
#pragma once

#include <filesystem>

#include "base/file.h"
#include "families/open_model.h"
#include "model/widths.h"

namespace mnm {

// The padded submodel as a checkpoint of its own, in a directory that lives as long as the object
// and is a hidden sibling of `target`. Error, with the family's reason, if there is no padding.
class PaddedModel {
 public:
  PaddedModel(const OpenedModel& nested, const Widths& widths, const std::filesystem::path& target);

  const OpenedModel& opened() const { return opened_; }

 private:
  AtomicDirectory directory_;  // never committed
  OpenedModel opened_;
};

}  // namespace mnm
