#include "engine/weight_reader.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <algorithm>
#include <vector>

#include "base/error.h"
#include "fold/device_error.h"
#include "model/shapes.h"

namespace mnm {
namespace {

constexpr std::int64_t kCpuBuffer = 4 << 20, kDeviceBuffer = 64 << 20;  // bytes

// Bytes that one thread reads on their way to a device: one alone copies them out of the system's
// cache more slowly than a bus takes them.
constexpr std::int64_t kDevicePiece = 4 << 20;

// Elements converted at once on the CPU: fewer than LibTorch gives to several threads, which the
// work that this runs beside needs more.
constexpr std::int64_t kCpuPiece = 16384;

}  // namespace

at::ScalarType scalar_type(Dtype dtype) {
  switch (dtype) {
    case Dtype::kF32:
      return at::kFloat;
    case Dtype::kF16:
      return at::kHalf;
    case Dtype::kBF16:
      return at::kBFloat16;
    case Dtype::kF64:
      return at::kDouble;
  }
  fail("dtype without a LibTorch type");
}

WeightReader::WeightReader(const Checkpoint& checkpoint, const at::Device& device, Dtype dtype)
    : checkpoint_(checkpoint), device_(device), dtype_(dtype) {}

// Freeing pinned memory records an event, and what that throws on a lost device nobody can catch:
// there the buffers stay until the process ends.
WeightReader::~WeightReader() {
  if (!loss_of(device_)) return;
  static auto& left = *new std::vector<Buffer>;
  for (Buffer& buffer : buffers_) left.push_back(std::move(buffer));
}

at::Tensor WeightReader::read(const std::string& name) {
  const StoredTensor& stored = checkpoint_.at(name);
  const at::Tensor tensor =
      at::empty(stored.shape, at::TensorOptions(device_).dtype(scalar_type(dtype_)));
  read(stored, 0, tensor);
  return tensor;
}

at::Tensor WeightReader::read_rows(const std::string& name, std::int64_t first, std::int64_t count,
                                   at::Tensor& room) {
  const StoredTensor& stored = checkpoint_.at(name);
  if (!room.defined() || room.size(0) < count) {
    std::vector<std::int64_t> shape = stored.shape;
    shape.front() = count;
    room = at::empty(shape, at::TensorOptions(device_).dtype(scalar_type(dtype_)));
  }
  const at::Tensor tensor = room.narrow(0, 0, count);
  const std::int64_t row = stored.elements() / std::max<std::int64_t>(1, stored.shape.front());
  read(stored, first * row, tensor);
  return tensor;
}

void WeightReader::read(const StoredTensor& stored, std::int64_t first, const at::Tensor& tensor) {
  if (device_.is_cpu() && stored.dtype == dtype_) {
    checkpoint_.read(stored, static_cast<std::uint64_t>(first) * size_of(dtype_),
                     {static_cast<std::byte*>(tensor.data_ptr()), tensor.nbytes()});
  } else {
    read_through_buffers(stored, first, tensor.view({-1}));
  }
}

void WeightReader::read_through_buffers(const StoredTensor& stored, std::int64_t first,
                                        const at::Tensor& flat) {
  const std::lock_guard lock(mutex_);
  const auto size = static_cast<std::int64_t>(size_of(stored.dtype));
  const std::int64_t most = (device_.is_cpu() ? kCpuBuffer : kDeviceBuffer) / size;
  int turn = 0;
  for (std::int64_t at = 0; at < flat.numel(); at += most, turn ^= 1) {
    const std::int64_t n = std::min(most, flat.numel() - at);
    Buffer& buffer = buffers_[turn];
    if (!buffer.bytes.defined()) {
      buffer.bytes = at::empty(
          {most * size}, at::TensorOptions().dtype(at::kByte).pinned_memory(!device_.is_cpu()));
    }
    if (buffer.free) buffer.free->synchronize();
    const at::Tensor bytes = buffer.bytes.narrow(0, 0, n * size);
    const auto read = [&](std::int64_t begin, std::int64_t end) {
      checkpoint_.read(stored, static_cast<std::uint64_t>((first + at) * size + begin),
                       {static_cast<std::byte*>(bytes.data_ptr()) + begin,
                        static_cast<std::size_t>(end - begin)});
    };
    if (device_.is_cpu()) {
      read(0, n * size);
    } else {
      at::parallel_for(0, n * size, kDevicePiece, read);
    }
    const at::Tensor from = bytes.view(scalar_type(stored.dtype));
    const at::Tensor to = flat.narrow(0, at, n);
    if (device_.is_cpu()) {
      for (std::int64_t i = 0; i < n; i += kCpuPiece) {
        const std::int64_t piece = std::min(kCpuPiece, n - i);
        to.narrow(0, i, piece).copy_(from.narrow(0, i, piece));
      }
      continue;
    }
    if (from.scalar_type() == to.scalar_type()) {
      to.copy_(from, /*non_blocking=*/true);
    } else {  // converted there, so that no more than what is stored crosses the bus
      to.copy_(from.to(device_, /*non_blocking=*/true));
    }
    if (!buffer.free) buffer.free.emplace(device_.type());
    buffer.free->record(c10::impl::VirtualGuardImpl(device_.type()).getStream(device_));
  }
}

}  // namespace mnm
