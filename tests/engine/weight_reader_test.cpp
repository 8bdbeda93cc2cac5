// What a reader of weights leaves behind.
#include "engine/weight_reader.h"

#include <c10/core/Allocator.h>
#include <c10/util/ThreadLocalDebugInfo.h>
#include <gtest/gtest.h>

#include <optional>

#include "families/open_model.h"
#include "tests/support/losing_device.h"
#include "tests/support/temp_dir.h"
#include "tests/support/tiny_llama.h"

namespace mnm {
namespace {

// Bytes that LibTorch's allocator handed out and has not got back.
struct Counter final : c10::MemoryReportingInfoBase {
  void reportMemoryUsage(void*, std::int64_t size, std::size_t, std::size_t, c10::Device) override {
    held += size;
  }
  bool memoryProfilingEnabled() const override { return true; }
  std::int64_t held = 0;
};

// Freeing them would throw where nobody can catch it.
TEST(WeightReader, LeavesItsBuffersWhereTheDeviceIsLost) {
  const test::TempDir dir;
  test::TinyLlama llama;
  llama.dtype = Dtype::kF16;  // read as f32, by way of a buffer
  const OpenedModel opened = open_model(llama.write(dir / "model"));
  for (const bool lost : {false, true}) {
    const auto counter = std::make_shared<Counter>();
    const c10::DebugInfoGuard guard(c10::DebugInfoKind::PROFILER_STATE, counter);
    {
      WeightReader reader(opened.checkpoint, at::kCPU, Dtype::kF32);
      reader.read("model.norm.weight");
      EXPECT_GT(counter->held, 0) << "the buffer";
      if (lost) test::lose_device();
    }
    test::find_device();
    EXPECT_EQ(counter->held > 0, lost);
  }
}

}  // namespace
}  // namespace mnm
