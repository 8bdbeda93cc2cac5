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

// Embedding and head take 512 MiB each in f32, the four layers 64 MiB together, LibTorch itself a
// quarter of a GiB.
TEST_F(Workshop, TheCheckHoldsALayerAndPartsOfTheHead) {
  TinyLlama llama;
  llama.layers = 4;
  llama.hidden = 512;
  llama.full = 2048;
  llama.granularities = {1024, 2048};
  llama.vocab = 1 << 18;
  llama.dtype = Dtype::kBF16;
  write_sparse(llama, dir_ / "wide");
  const auto peak = [&](std::vector<std::string> more) {
    std::vector<std::string> command = {"export",    path("wide"), "--widths", "1024",   "--out",
                                        path("out"), "--threads",  "1",        "--force"};
    command.insert(command.end(), more.begin(), more.end());
    return expect_done(command).max_resident_kib;
  };
  EXPECT_LT(peak({}), 512 * 1024);
  // The head as it is rounded is held whole, once.
  EXPECT_LT(peak({"--format", "gguf", "--dtype", "f16"}), 1024 * 1024);
  // A layer and half of one take 25 MB, a part of the head 67.
  for (const auto& [memory, ran] : {std::pair("80M", false), std::pair("120M", true)}) {
    const Result result =
        expect_done({"export", path("wide"), "--widths", "1024", "--out", path("out"), "--threads",
                     "1", "--force", "--memory", memory});
    EXPECT_EQ(result.out.find("nothing was run") == std::string::npos, ran) << result.out;
  }
}

}  // namespace
}  // namespace mnm::test
