// What every export format states about itself. So one command lists, writes, checks and records
// all of them. A new format implements PlannedExport, and artifact/formats.cpp makes it from what
// families state (families/exporters.h).
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "base/file.h"
#include "base/progress.h"
#include "export/runtime_function.h"
#include "model/checkpoint.h"
#include "model/dtype.h"
#include "model/slice_plan.h"

namespace mnm {

// One submodel in one format, planned. Nothing is written yet, and everything is known.
class PlannedExport {
 public:
  explicit PlannedExport(SlicePlan slices) : slices_(std::move(slices)) {}
  virtual ~PlannedExport() = default;

  const SlicePlan& slices() const { return slices_; }
  virtual std::string_view format() const = 0;  // as --format and the store spell it
  virtual std::string_view dtype() const = 0;   // of the weights, as --dtype spells it

  virtual std::map<std::string, std::uint64_t> files() const = 0;  // name -> bytes
  std::uint64_t bytes() const;                                     // of all files

  // Writes into an existing directory (an AtomicDirectory's path()). It calls require_space()
  // before the first byte and Extractor::check_unchanged() after the last. Progress counts to
  // bytes(). The same input gives the same bytes. Memory stays flat whatever the size of the
  // checkpoint.
  virtual void write(const Checkpoint& checkpoint, const std::filesystem::path& directory,
                     const ProgressSink& progress = {}, Flush flush = Flush::kToKernel) const = 0;

  // Reads the written directory with this project's own reader, so that open_model() makes the
  // submodel of it: either every tensor of the slice plan under its name and with its shape, with
  // the format's transforms undone, and the config of the submodel; or a layout that the family
  // reads. Error if the files are not those of such a directory.
  virtual Checkpoint reopen(const std::filesystem::path& directory) const = 0;

  // Checks what the headers tell, without reading a tensor: every planned file exists with its
  // planned size. A format may override this to check that every tensor has its name, shape and
  // type. Error names the first that does not.
  virtual void check_layout(const std::filesystem::path& directory) const;

  // Rounds `values` of that slice as the format stores them, so that they equal what reopen()
  // gives. They are the whole slice, or a part that begins at a multiple of 256 elements and ends
  // at one or with the slice.
  virtual void round(const TensorSlice& slice, std::span<float> values) const = 0;
  // Whether round() may change anything. False if all that the checkpoint holds is stored as it is.
  virtual bool rounds(const Checkpoint& checkpoint) const = 0;
  // Runtimes of the format may round the operands that they multiply with a stored matrix. This is
  // the largest relative error of that rounding, 0 if there is none. They may also compute in
  // another dtype.
  virtual double operand_roundoff() const { return 0; }
  virtual Dtype arithmetic() const { return Dtype::kF32; }
  // reopen() gives a model of this function.
  virtual RuntimeFunction in_runtimes() const { return {}; }

  // 32 hex digits: fingerprint_of() all files that were written.
  std::string fingerprint(const std::filesystem::path& directory) const;

  // What a user types to load the result in `directory`, with a line end after each line.
  virtual std::string loading(const std::filesystem::path& directory) const = 0;

 private:
  SlicePlan slices_;
};

// 32 hex digits of files in `directory`: of their names, sizes and bytes, in the order given, which
// for PlannedExport::fingerprint is ascending. Of files past 64 MiB, which are weights, it covers
// the bytes that SampledBytes takes. Of others it covers every byte, because config, code and
// tokenizer decide what a reader does.
std::string fingerprint_of(const std::filesystem::path& directory,
                           std::span<const std::string> names);

// A path as a literal of Python.
std::string python_literal(const std::filesystem::path& path);

}  // namespace mnm
