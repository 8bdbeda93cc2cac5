#include "engine/guarded.h"

#include <gtest/gtest.h>

#include "tests/support/error_of.h"

namespace mnm {
namespace {

using test::contains;
using test::error_of;

TEST(Guarded, TurnsWhatLibTorchThrowsIntoOneSentence) {
  const c10::SourceLocation here = {__func__, __FILE__, __LINE__};
  const auto sentence = [&](const auto& thrown) {
    return error_of([&] { guarded("scoring", [&]() -> int { throw thrown; }); });
  };
  for (const std::string& memory :
       {sentence(c10::OutOfMemoryError(here, "CUDA out of memory.\nTried")),
        sentence(c10::AcceleratorError(here, 2, "CUDA error: out of memory\n"))}) {
    EXPECT_TRUE(contains(memory, "scoring ran out of memory")) << memory;
    EXPECT_FALSE(contains(memory, "\n")) << memory;
  }
  const std::string lost = sentence(c10::AcceleratorError(here, 719, "unspecified failure\n"));
  EXPECT_TRUE(contains(lost, "lost the device: unspecified failure; what was kept")) << lost;
  const std::string other = sentence(c10::Error(here, "mat1 and mat2\ncannot be multiplied"));
  EXPECT_TRUE(contains(other, "scoring failed in LibTorch: mat1 and mat2")) << other;
  for (const std::string& text : {lost, other}) EXPECT_FALSE(contains(text, "\n"));
  EXPECT_EQ(guarded("scoring", [] { return 3; }), 3);
}

}  // namespace
}  // namespace mnm
