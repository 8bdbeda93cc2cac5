// The progress of a command that writes many bytes.
#pragma once

#include <cstdint>
#include <string>

#include "cli/interrupt.h"
#include "cli/progress.h"

namespace mnm {

// "1.2GB of 8GB, 510MB/s, 13s left".
std::string bytes_text(double done, double total, double seconds);

// A progress bar of bytes. It can be called as a ByteProgress, and returns false once the guard has
// seen an interruption.
class ByteBar {
 public:
  ByteBar(std::string label, std::uint64_t total, const InterruptGuard& guard);
  bool operator()(std::uint64_t bytes);

 private:
  ProgressBar bar_;
  double total_, done_ = 0;
  const InterruptGuard& guard_;
};

}  // namespace mnm
