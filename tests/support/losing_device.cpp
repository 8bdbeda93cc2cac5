#include "tests/support/losing_device.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/mm.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <c10/util/Exception.h>
#include <torch/library.h>

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <sstream>

namespace mnm::test {
namespace {

constexpr int kMemoryAllocation = 2;  // cudaErrorMemoryAllocation
constexpr int kLaunchFailure = 719;   // cudaErrorLaunchFailure
constexpr const char* kAdvice = "\nSearch for `cudaErrorLaunchFailure' in the manual.";

bool loses_its_device() {
  const char* const ranks = std::getenv("MNM_TEST_LOST_RANKS");
  const char* const own = std::getenv("OMPI_COMM_WORLD_RANK");
  if (!ranks || !own) return true;
  std::istringstream words(ranks);
  for (std::string word; std::getline(words, word, ',');) {
    if (word == own) return true;
  }
  return false;
}

std::int64_t products_at_start() {
  const char* const text = std::getenv("MNM_TEST_PRODUCTS");
  return text && loses_its_device() ? std::atoll(text) : std::numeric_limits<std::int64_t>::max();
}

std::atomic<std::int64_t> left = products_at_start();
std::atomic<std::size_t> failed = 0;
std::atomic<bool> full = false;

class LosingGuard final : public c10::impl::NoOpDeviceGuardImpl<c10::DeviceType::CPU> {
 public:
  void synchronizeStream(const c10::Stream&) const override {
    if (full) {
      throw c10::AcceleratorError({__func__, __FILE__, __LINE__}, kMemoryAllocation,
                                  "CUDA error: out of memory");
    }
    if (left > 0) return;
    throw c10::AcceleratorError({__func__, __FILE__, __LINE__}, kLaunchFailure,
                                std::string(kLostSays) + kAdvice);
  }
};

C10_REGISTER_GUARD_IMPL(CPU, LosingGuard)

// Each of the ways in turn.
at::Tensor product(const at::Tensor& a, const at::Tensor& b) {
  if (left <= 0) failures()[failed++ % failures().size()].say();
  --left;
  at::Tensor out = at::empty({a.size(0), b.size(1)}, a.options());
  at::mm_out(out, a, b);
  return out;
}

struct Silence final : c10::WarningHandler {
  void process(const c10::Warning&) override {}
};

TORCH_LIBRARY_IMPL(aten, CPU, library) {
  Silence silence;  // that there is another product already is no news
  const c10::WarningUtils::WarningHandlerGuard guard(&silence);
  library.impl("mm", &product);
}

}  // namespace

const std::vector<Failure>& failures() {
  static const c10::SourceLocation here = {__func__, __FILE__, __LINE__};
  const auto text = [](const std::string& words) {
    return Failure{words, [=] { throw c10::Error(here, words); }};
  };
  static const std::vector<Failure> all = {
      text("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm( handle, ...)`"),
      {"the driver",
       [] { throw c10::AcceleratorError(here, kLaunchFailure, std::string(kLostSays) + kAdvice); }},
      text("CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`"),
      text("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
      text("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"),
      {"LibTorch's allocator",
       [] { throw c10::OutOfMemoryError(here, "CUDA out of memory. Tried to allocate 2.00 MiB"); }},
  };
  return all;
}

void lose_device() { left = 0; }
void fill_device() { full = true; }
void find_device() {
  left = std::numeric_limits<std::int64_t>::max();
  full = false;
}

}  // namespace mnm::test
