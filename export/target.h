// What every export format states of itself, so that one command lists, writes, checks and records
// any of them. A new format implements PlannedExport, and artifact/formats.cpp makes it of what
// families state (families/exporters.h).
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "extract/source_file.h"
#include "model/checkpoint.h"
#include "model/dtype.h"
#include "model/files.h"
#include "model/slice_plan.h"

namespace mnm {

// One submodel in one format, planned: nothing is written yet, and everything is known.
class PlannedExport {
 public:
  explicit PlannedExport(SlicePlan slices) : slices_(std::move(slices)) {}
  virtual ~PlannedExport() = default;

  const SlicePlan& slices() const { return slices_; }
  virtual std::string_view format() const = 0;  // as --format and the store spell it
  virtual std::string_view dtype() const = 0;   // of the weights, as --dtype spells it

  virtual std::map<std::string, std::uint64_t> files() const = 0;  // name -> bytes
  std::uint64_t bytes() const;                                     // of all files

  // Into an existing directory (an AtomicDirectory's path()): require_space() before the first
  // byte, Extractor::check_unchanged() after the last. Progress counts to bytes(). Same input, same
  // bytes. Memory stays flat whatever the checkpoint's size.
  virtual void write(const Checkpoint& checkpoint, const std::filesystem::path& directory,
                     const ByteProgress& progress = {}, Flush flush = Flush::kToKernel) const = 0;

  // The written directory by this project's own reader, in the submodel's terms: every tensor of
  // the slice plan under its name there and with its shape, the format's own transforms undone, and
  // the config of the submodel. Error where the files are not what such a directory holds.
  virtual Checkpoint reopen(const std::filesystem::path& directory) const = 0;

  // What the headers alone tell, without reading a tensor: every planned file is there with its
  // planned size and, where the format overrides this, every tensor under its name, with its shape
  // and type. Error names the first that is not.
  virtual void check_layout(const std::filesystem::path& directory) const;

  // `values` of that slice become what reopen() must give for it: rounded as they are stored. All
  // of it, or a part that begins at a multiple of 256 elements and ends at one or with the slice.
  virtual void round(const TensorSlice& slice, std::span<float> values) const = 0;
  // Whether round() may change anything: false where all that the checkpoint holds is stored as is.
  virtual bool rounds(const Checkpoint& checkpoint) const = 0;
  // Runtimes of the format may round what they multiply a stored matrix with: the largest relative
  // error of that, 0 where they do not. And they may compute in another dtype altogether.
  virtual double operand_roundoff() const { return 0; }
  virtual Dtype arithmetic() const { return Dtype::kF32; }

  // 32 hex digits of what was written: fingerprint_of() all files.
  std::string fingerprint(const std::filesystem::path& directory) const;

  // What a user types to load the result that lies in `directory`, with a newline after each line.
  virtual std::string loading(const std::filesystem::path& directory) const = 0;

 private:
  SlicePlan slices_;
};

// 32 hex digits of files in `directory`: names, sizes, and bytes, in the order given, which for
// PlannedExport::fingerprint is ascending. Of files past 64 MiB, which are weights, the bytes that
// SampledBytes takes; of others every byte: config, code and tokenizer are what a reader does.
std::string fingerprint_of(const std::filesystem::path& directory,
                           std::span<const std::string> names);

// A path as a literal of Python.
std::string python_literal(const std::filesystem::path& path);

}  // namespace mnm
