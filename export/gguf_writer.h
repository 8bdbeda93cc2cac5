// The GGUF writer: one file that llama.cpp loads, and the licence beside it. Matrices are stored in
// the dtype that is asked for. Vectors (norms, biases) are always in f32, as llama.cpp expects.
#pragma once

#include <memory>
#include <nlohmann/json.hpp>

#include "export/gguf.h"
#include "export/gguf_model.h"
#include "export/target.h"
#include "model/nested_model.h"

namespace mnm {

inline constexpr const char* kGgufFile = "model.gguf";

struct GgufOptions {
  GgufType type = GgufType::kF16;
  GgufFields metadata;    // widths, source...: after the family's fields
  bool tokenizer = true;  // else token ids alone
};

// Plans the export. `gguf` is what the family states (families/exporters.h). `config` is the
// submodel's, for the reader. UsageError if the space refuses the widths. Error if the type cannot
// hold a row (q8_0 holds blocks of 32), or if GGUF cannot hold the checkpoint's tokenizer.
std::unique_ptr<PlannedExport> plan_gguf(const NestedModel& model, const Checkpoint& checkpoint,
                                         const Widths& widths, const GgufModel& gguf,
                                         nlohmann::json config, const GgufOptions& options);

}  // namespace mnm
