// The whole export command stays small, whatever the checkpoint's size.
#include <string>

#include "tests/end_to_end/sparse.h"
#include "tests/end_to_end/workshop.h"

namespace mnm::test {
namespace {

constexpr long kResidentKib = 64 * 1024;  // the promise is 256 MiB

TEST_F(Workshop, ExportStaysSmallWhateverTheCheckpointsSize) {
  TinyLlama llama;
  llama.layers = 8;
  llama.hidden = 1024;
  llama.full = 16384;
  llama.granularities = {8192, 16384};
  llama.dtype = Dtype::kBF16;
  write_sparse(llama, dir_ / "large");
  const Result result = expect_done({"export", path("large"), "--widths", "8192", "--out",
                                     path("half"), "--no-check", "--db", path("half.db")});
  EXPECT_GT(std::filesystem::file_size(dir_ / "half/model.safetensors"), 400'000'000u);
  EXPECT_LT(result.max_resident_kib, kResidentKib);
  for (const char* dtype : {"bf16", "f16"}) {  // copied, converted
    const Result onnx = expect_done({"export", path("large"), "--format", "onnx", "--widths",
                                     "8192", "--dtype", dtype, "--out", path(dtype), "--no-check"});
    EXPECT_GT(std::filesystem::file_size(path(dtype) + "/model.onnx.data"), 400'000'000u);
    EXPECT_LT(onnx.max_resident_kib, kResidentKib) << dtype;
    std::filesystem::remove_all(path(dtype));
  }
}

}  // namespace
}  // namespace mnm::test
