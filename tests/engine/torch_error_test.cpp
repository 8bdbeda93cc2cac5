#include "engine/torch_error.h"

#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <thread>

#include "engine/engine.h"
#include "fold/launch.h"
#include "tests/support/error_of.h"
#include "tests/support/losing_device.h"

extern "C" mnm::Engine* mnm_make_engine();

namespace mnm {
namespace {

using test::contains;
using test::error_of;

constexpr c10::SourceLocation kHere = {"test", __FILE__, __LINE__};

std::string sentence(const std::function<void()>& work) {
  return error_of([&] { guarded("scoring", at::kCPU, work); });
}

class Guarded : public ::testing::Test {
 protected:
  ~Guarded() override { test::find_device(); }
};

TEST_F(Guarded, TurnsWhatLibTorchThrowsIntoOneSentence) {
  const auto thrown = [](const auto& error) { return sentence([&] { throw error; }); };
  for (const std::string& memory :
       {thrown(c10::OutOfMemoryError(kHere, "CUDA out of memory.\nTried")),
        thrown(c10::AcceleratorError(kHere, 2, "CUDA error: out of memory\n"))}) {
    EXPECT_TRUE(contains(memory, "scoring ran out of memory on cpu")) << memory;
    EXPECT_FALSE(contains(memory, "\n")) << memory;
  }
  for (const std::string& other :
       {thrown(c10::Error(kHere, "mat1 and mat2\ncannot be multiplied")),
        thrown(c10::AcceleratorError(kHere, 209, "mat1 and mat2\nhave no kernel image"))}) {
    EXPECT_EQ(other, "scoring failed in LibTorch: mat1 and mat2") << "the device answers";
  }
  EXPECT_EQ(guarded("scoring", at::kCPU, [] { return 3; }), 3);
}

TEST_F(Guarded, ALostDeviceIsNamedWhateverFailedOnIt) {
  test::lose_device();
  const auto expect_lost = [](const std::string& what, const std::function<void()>& work) {
    EXPECT_THROW(guarded("scoring", at::kCPU, work), DeviceLost) << what;
    const std::string said = sentence(work);
    EXPECT_TRUE(contains(said, std::string("scoring lost cpu, which answers every call with '") +
                                   test::kLostSays + "' from now on"))
        << what << ": " << said;
    EXPECT_FALSE(contains(said, "\n")) << said;
  };
  for (const test::Failure& failure : test::failures()) expect_lost(failure.what, failure.say);
  expect_lost("a launch",
              [] { launch(at::zeros({1}), "activate", [] { return "unknown error"; }); });
}

TEST(LibTorchWarnings, ReachNoTerminalFromAnyThread) {
  mnm_make_engine();
  testing::internal::CaptureStderr();
  TORCH_WARN("std(): degrees of freedom is <= 0");
  std::thread([] { TORCH_WARN("std(): degrees of freedom is <= 0"); }).join();
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
}

// As when other processes hold all of its memory, so that there is none for a context.
TEST_F(Guarded, ADeviceThatIsFullIsNotLost) {
  test::fill_device();
  const std::string said =
      sentence([] { throw c10::AcceleratorError(kHere, 2, "CUDA error: out of memory\n"); });
  EXPECT_TRUE(contains(said, "scoring ran out of memory on cpu")) << said;
}

}  // namespace
}  // namespace mnm
