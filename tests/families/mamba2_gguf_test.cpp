// GGUF files of Mamba-2 submodels, read back by our own reader and by the gguf package. llama.cpp
// itself is asked by scripts/verify.
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <variant>

#include "export/gguf_writer.h"
#include "export/huggingface.h"
#include "extract/extract.h"
#include "families/mamba2/gguf.h"
#include "families/open_model.h"
#include "tests/families/expect_error.h"
#include "tests/support/python.h"
#include "tests/support/tiny_mamba2.h"

namespace mnm {
namespace {

namespace fs = std::filesystem;
using test::TinyMamba2;

std::unique_ptr<PlannedExport> planned(const OpenedModel& opened, const Widths& widths,
                                       GgufType type) {
  return plan_gguf(
      opened.model, opened.checkpoint, widths,
      std::get<GgufModel>(opened.family->in_format("gguf", opened.model, widths, Dtype::kF32)),
      opened.family->huggingface_config(opened.model, widths, Dtype::kF32),
      {type, {{"mixnmatch.widths", to_string(widths)}}});
}

// The variants that llama.cpp computes, with rows of whole blocks, so that every type holds them.
std::vector<TinyMamba2> carried() {
  std::vector<TinyMamba2> all;
  for (TinyMamba2 tiny : test::tiny_mamba2s()) {
    if (tiny.bias || tiny.limited() || tiny.expand != 2) continue;
    if (!tiny.matmamba) {
      tiny.hidden = 64;
      tiny.head_dim = 8;
      tiny.granularities = {16, 32, 64};
      if (tiny.groups > 1) tiny.granularities = {};
    }
    all.push_back(tiny);
  }
  return all;
}

TEST(Mamba2Gguf, HoldsEverySliceAndTheGgufPackageReadsIt) {
  const test::TempDir dir;
  std::size_t cases = 0;
  for (const TinyMamba2& tiny : carried()) {
    const OpenedModel opened = open_model(tiny.write(dir / "models" / tiny.name));
    std::vector<Width> choices = {64};
    if (tiny.groups == 1) choices = {16, 48, 64};  // 48 was not trained
    for (const Width width : choices) {
      const Widths widths(static_cast<std::size_t>(tiny.layers), width);
      for (const GgufType type :
           {GgufType::kF32, GgufType::kF16, GgufType::kBF16, GgufType::kQ8_0}) {
        SCOPED_TRACE(fmt::format("{} {} {}", tiny.name, width, to_string(type)));
        const fs::path place = dir / "cases" / fmt::format("{}-{}", tiny.name, ++cases);
        fs::create_directories(place / "gguf");
        const auto plan = planned(opened, widths, type);
        std::uint64_t progress = 0;
        plan->write(opened.checkpoint, place / "gguf", [&](const Progress& now) {
          return progress = static_cast<std::uint64_t>(now.done), true;
        });
        EXPECT_EQ(progress, plan->bytes());
        EXPECT_EQ(fs::file_size(place / "gguf" / kGgufFile), plan->files().at(kGgufFile));

        const OpenedModel written = open_model(plan->reopen(place / "gguf"));
        EXPECT_EQ(written.model.space.full(), widths);
        for (const TensorSlice& slice : plan->slices().tensors) {
          std::vector<float> exact = extract_f32(opened.checkpoint, slice), expected = exact;
          plan->round(slice, expected);
          const StoredTensor& tensor = written.checkpoint.at(slice.spec->name);
          EXPECT_EQ(tensor.shape, slice.shape);
          const std::vector<float> found = test::values_of(written.checkpoint, tensor);
          EXPECT_EQ(found, expected) << slice.spec->name;
          if (slice.spec->name.ends_with(".A_log")) {
            // -exp(x) rounded to a float, and its logarithm: 2^-24 in all of both.
            for (std::size_t i = 0; i < exact.size(); ++i) {
              EXPECT_NEAR(found[i], exact[i], 0x1p-24 * (1 + std::abs(exact[i])));
            }
          }
        }
        fs::create_directories(place / "full");
        const auto config = opened.family->huggingface_config(opened.model, widths, Dtype::kF32);
        write_huggingface(plan_huggingface(opened.model, opened.checkpoint, widths,
                                           {{"config.json", config.dump()}},
                                           {.dtype = Dtype::kF32, .metadata = {}}),
                          opened.checkpoint, place / "full");
      }
    }
  }
  ASSERT_GT(cases, 60u);
  if (!test::python_has("gguf-dump")) GTEST_SKIP() << test::kNoPython;
  EXPECT_EQ(test::python_failure("families/mamba2_gguf_check.py", {dir / "cases"}, dir), "");
}

TEST(Mamba2Gguf, RefusesWhatLlamaCppDoesNotCompute) {
  TinyMamba2 tiny;
  const Family& family = family_named("mamba2");
  const auto gguf = [&](const Widths& widths) {
    return family.in_format("gguf", family.describe(tiny.config(), {}), widths, Dtype::kF32);
  };
  EXPECT_NO_THROW(gguf({8, 8, 8}));
  test::expect_error<Error>(
      [&] {
        gguf({8, 4, 8});
      },
      "layers of different widths: llama.cpp's mamba2 has one inner size");
  tiny.bias = true;
  test::expect_error<Error>([&] { gguf({8, 8, 8}); }, "projections have biases");
  tiny.bias = false;
  tiny.high = 1;
  test::expect_error<Error>([&] { gguf({8, 8, 8}); }, "limits its time steps");
}

}  // namespace
}  // namespace mnm
