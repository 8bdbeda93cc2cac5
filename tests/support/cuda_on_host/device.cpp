// The emulated device's memory and launches (cuda_runtime.h beside this).
#include <link.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <deque>
#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/cuda_on_host/block.h"
#include "tests/support/cuda_on_host/cuda_on_host.h"
#include "tests/support/cuda_on_host/cuda_runtime.h"

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

namespace cuda_on_host {
namespace {

constexpr int kGarbage = 0xff;  // NaN in every format, -1 in every integer

#ifdef __SANITIZE_ADDRESS__
constexpr std::size_t kGuard = 0;  // the sanitizer has its own
#else
constexpr std::size_t kGuard = 256;  // bytes of garbage on either side
#endif
constexpr std::size_t kAlignment = 256;

thread_local cudaError_t last_error = cudaSuccess;

struct Span {
  char* begin;
  std::size_t size;
};

// The calling thread's thread-local segment of the library that holds this address.
Span shared_memory_of(const void* kernel) {
  struct Search {
    ElfW(Addr) address;
    Span found;
  } search = {reinterpret_cast<ElfW(Addr)>(kernel), {}};
  const auto visit = [](dl_phdr_info* library, std::size_t, void* data) {
    auto& wanted = *static_cast<Search*>(data);
    bool holds = false;
    std::size_t size = 0;
    for (int i = 0; i < library->dlpi_phnum; ++i) {
      const ElfW(Phdr)& segment = library->dlpi_phdr[i];
      const ElfW(Addr) begin = library->dlpi_addr + segment.p_vaddr;
      if (segment.p_type == PT_TLS) size = segment.p_memsz;
      if (segment.p_type == PT_LOAD) {
        holds = holds || wanted.address - begin < segment.p_memsz;
      }
    }
    if (holds && library->dlpi_tls_data) {
      wanted.found = {static_cast<char*>(library->dlpi_tls_data), size};
    }
    return holds ? 1 : 0;
  };
  dl_iterate_phdr(visit, &search);
  return search.found;
}

class Device {
 public:
  static Device& get() {
    static Device device;
    return device;
  }

  std::mutex mutex;
  Order order = Order::kForward;
  Algorithms algorithms = Algorithms::kOne;
  std::atomic<int> takers = 0;
  std::atomic<std::int64_t> launches = 0, products = 0, refusals = 0;
  Block block;

  cudaError_t fails(cudaError_t error) { return last_error = error; }

  const char* text_of_fault() const { return faults_.empty() ? "" : faults_.back().c_str(); }

  void* allocate(std::size_t bytes) {
    void* got = nullptr;
    if (posix_memalign(&got, kAlignment, bytes + 2 * kGuard) != 0) return nullptr;
    char* const memory = static_cast<char*>(got);
    std::fill_n(memory, bytes + 2 * kGuard, static_cast<char>(kGarbage));
    allocations_[memory + kGuard] = bytes;
    return memory + kGuard;
  }

  bool release(void* data) {
    const auto at = allocations_.find(static_cast<char*>(data));
    if (at == allocations_.end()) return false;
    std::free(at->first - kGuard);
    allocations_.erase(at);
    return true;
  }

  bool holds(const void* data, std::size_t bytes) const {
    const auto* const from = static_cast<const char*>(data);
    const auto after = allocations_.upper_bound(const_cast<char*>(from));
    if (after == allocations_.begin()) return false;
    const auto& [begin, size] = *std::prev(after);
    return static_cast<std::size_t>(from - begin) + bytes <= size;
  }

  cudaError_t launch(const cudaLaunchConfig_t& config, const void* kernel,
                     const std::function<void()>& thread) {
    const dim3 grid = config.gridDim, size = config.blockDim;
    if (grid.x < 1 || grid.y < 1 || grid.z < 1 || size.x < 1 || size.y < 1 || size.z < 1 ||
        grid.x >> 31 != 0 || grid.y > 65535 || grid.z > 65535 || size.x > 1024 || size.y > 1024 ||
        size.z > 64 || std::uint64_t{size.x} * size.y * size.z > 1024) {
      return fails(cudaErrorInvalidConfiguration);
    }
    gridDim = grid;
    blockDim = size;
    std::vector<uint3> threads;
    for (uint3 t = {}; t.z < size.z; ++t.z) {
      for (t.y = 0; t.y < size.y; ++t.y) {
        for (t.x = 0; t.x < size.x; ++t.x) threads.push_back(t);
      }
    }
    const auto place = [&](unsigned t) { threadIdx = threads[t]; };
    const Span shared = shared_memory_of(kernel);
    const std::uint64_t blocks = std::uint64_t{grid.x} * grid.y * grid.z;
    for (std::uint64_t i = 0; i < blocks; ++i) {
      const std::uint64_t at = order == Order::kForward ? i : blocks - 1 - i;
      blockIdx = {static_cast<unsigned>(at % grid.x), static_cast<unsigned>(at / grid.x % grid.y),
                  static_cast<unsigned>(at / grid.x / grid.y)};
      std::fill_n(shared.begin, shared.size, static_cast<char>(kGarbage));
      if (const auto fault =
              block.run(static_cast<unsigned>(threads.size()), order, place, thread)) {
        return faults("in block (" + std::to_string(blockIdx.x) + ", " +
                      std::to_string(blockIdx.y) + ", " + std::to_string(blockIdx.z) + ") " +
                      *fault);
      }
    }
    for (const auto& [data, bytes] : allocations_) {
      const auto is_garbage = [](char byte) { return byte == static_cast<char>(kGarbage); };
      if (!std::all_of(data - kGuard, data, is_garbage) ||
          !std::all_of(data + bytes, data + bytes + kGuard, is_garbage)) {
        std::fill_n(data - kGuard, kGuard, static_cast<char>(kGarbage));
        std::fill_n(data + bytes, kGuard, static_cast<char>(kGarbage));
        return faults("beside an allocation of " + std::to_string(bytes) + " bytes was written");
      }
    }
    return cudaSuccess;
  }

 private:
  cudaError_t faults(const std::string& text) {
    faults_.push_back("the kernel failed: " + text);
    return fails(cudaErrorLaunchFailure);
  }

  std::map<char*, std::size_t> allocations_;
  std::deque<std::string> faults_;  // texts of errors live for ever
};

}  // namespace

void set_order(Order order) { Device::get().order = order; }

void set_algorithms(Algorithms algorithms) { Device::get().algorithms = algorithms; }
Algorithms algorithms() { return Device::get().algorithms; }

TakesHostMemory::TakesHostMemory() { ++Device::get().takers; }
TakesHostMemory::~TakesHostMemory() { --Device::get().takers; }
bool takes_host_memory() { return Device::get().takers > 0; }

Counts counts() {
  const Device& device = Device::get();
  return {device.launches, device.products, device.refusals};
}
void count_product(bool refused) { ++(refused ? Device::get().refusals : Device::get().products); }

cudaError_t launch(const cudaLaunchConfig_t& config, const void* kernel,
                   const std::function<void()>& thread) {
  Device& device = Device::get();
  const std::lock_guard lock(device.mutex);
  ++device.launches;
  return device.launch(config, kernel, thread);
}

std::uint64_t shuffle_down(unsigned mask, std::uint64_t bits, unsigned offset,
                           const std::source_location& at) {
  return Device::get().block.shuffle_down(mask, bits, offset, at);
}

}  // namespace cuda_on_host

using cuda_on_host::Device;

void __syncthreads(const std::source_location& at) { Device::get().block.wait(at); }

cudaError_t cudaGetLastError() { return std::exchange(cuda_on_host::last_error, cudaSuccess); }

const char* cudaGetErrorString(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return "no error";
    case cudaErrorInvalidValue:
      return "invalid argument";
    case cudaErrorMemoryAllocation:
      return "out of memory";
    case cudaErrorInvalidConfiguration:
      return "invalid configuration argument";
    case cudaErrorInvalidDevice:
      return "invalid device ordinal";
    case cudaErrorLaunchFailure:
      break;
  }
  return Device::get().text_of_fault();
}

cudaError_t cudaGetDeviceCount(int* count) {
  *count = 1;
  return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  if (device != 0) return Device::get().fails(cudaErrorInvalidDevice);
  std::strcpy(properties->name, "the host");
  return cudaSuccess;
}

cudaError_t cudaMalloc(void** data, std::size_t bytes) {
  *data = bytes > 0 ? Device::get().allocate(bytes) : nullptr;
  if (bytes > 0 && !*data) return Device::get().fails(cudaErrorMemoryAllocation);
  return cudaSuccess;
}

cudaError_t cudaFree(void* data) {
  if (!data || Device::get().release(data)) return cudaSuccess;
  return Device::get().fails(cudaErrorInvalidValue);
}

cudaError_t cudaMemcpy(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind) {
  if (bytes == 0) return cudaSuccess;
  if (!Device::get().holds(kind == cudaMemcpyHostToDevice ? to : from, bytes)) {
    return Device::get().fails(cudaErrorInvalidValue);
  }
  std::memcpy(to, from, bytes);
  return cudaSuccess;
}
