#include "fold/level_states.h"

#include <ATen/ops/empty.h>
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <span>
#include <system_error>
#include <utility>

#include "base/error.h"
#include "base/file.h"

namespace mnm {
namespace {

std::uint64_t bytes_of(const at::Tensor& tensor) {
  return static_cast<std::uint64_t>(tensor.numel()) * tensor.element_size();
}

std::span<std::byte> bytes_in(const at::Tensor& tensor) {
  return {static_cast<std::byte*>(tensor.data_ptr()), bytes_of(tensor)};
}

std::vector<std::int64_t> with_nodes(std::int64_t nodes, const at::Tensor& like) {
  std::vector<std::int64_t> shape = like.sizes().vec();
  shape.front() = nodes;
  return shape;
}

// Undefined where nobody else holds it any more.
at::Tensor tensor_of(const std::optional<c10::weak_intrusive_ptr<c10::TensorImpl>>& weak) {
  auto held = weak ? weak->lock() : c10::intrusive_ptr<c10::TensorImpl>();
  return held.defined() ? at::Tensor(std::move(held)) : at::Tensor();
}

}  // namespace

StateRoom::StateRoom(const at::Device& device, std::uint64_t device_bytes, std::uint64_t host_bytes,
                     std::filesystem::path spill)
    : device_(device),
      spill_(std::move(spill)),
      device_left_(device_bytes),
      host_left_(device.is_cpu() ? 0 : host_bytes) {}

StateRoom::Place StateRoom::take(std::uint64_t bytes) {
  const std::lock_guard lock(mutex_);
  if (bytes <= device_left_) {
    device_left_ -= bytes;
    return Place::kDevice;
  }
  if (bytes <= host_left_) {
    host_left_ -= bytes;
    return Place::kHost;
  }
  spilled_ += bytes;
  return Place::kDisk;
}

void StateRoom::give_back(Place place, std::uint64_t bytes) {
  const std::lock_guard lock(mutex_);
  if (place == Place::kDevice) device_left_ += bytes;
  if (place == Place::kHost) host_left_ += bytes;
}

std::uint64_t StateRoom::spilled() const {
  const std::lock_guard lock(mutex_);
  return spilled_;
}

// Has no name, so nothing of it outlives the process.
class LevelStates::SpillFile {
 public:
  explicit SpillFile(std::filesystem::path directory) : directory_(std::move(directory)) {
    descriptor_ = ::open(directory_.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (descriptor_ < 0 && (errno == EOPNOTSUPP || errno == EISDIR)) {  // not every file system has
      std::string name = (directory_ / "mixnmatch-XXXXXX").string();
      descriptor_ = ::mkostemp(name.data(), O_CLOEXEC);
      if (descriptor_ >= 0) ::unlink(name.c_str());
    }
    if (descriptor_ < 0) refuse("make a file");
  }
  SpillFile(const SpillFile&) = delete;
  SpillFile& operator=(const SpillFile&) = delete;
  ~SpillFile() { ::close(descriptor_); }

  std::uint64_t take(std::uint64_t bytes) { return std::exchange(end_, end_ + bytes); }

  void write(std::uint64_t offset, std::span<const std::byte> from) const {
    while (!from.empty()) {
      const ssize_t written =
          ::pwrite(descriptor_, from.data(), from.size(), static_cast<off_t>(offset));
      if (written < 0 && errno == EINTR) continue;
      if (written <= 0) refuse("write");
      from = from.subspan(static_cast<std::size_t>(written));
      offset += static_cast<std::uint64_t>(written);
    }
  }
  void read(std::uint64_t offset, std::span<std::byte> into) const {
    read_fully(descriptor_, directory_, offset, into);
  }

 private:
  [[noreturn]] void refuse(const char* what) const {
    fail(
        "cannot keep states that do not fit the memory: cannot {} in {}: {}; allow more memory, or "
        "name a directory with more room in TMPDIR",
        what, directory_.string(), std::generic_category().message(errno));
  }

  std::filesystem::path directory_;
  int descriptor_ = -1;
  std::uint64_t end_ = 0;
};

LevelStates::LevelStates(StateRoom& room, std::size_t batches)
    : room_(room), blocks_(batches), held_(batches) {}

LevelStates::~LevelStates() {
  for (std::size_t i = 0; i < blocks_.size(); ++i) close(i);
}

LevelStates::Block LevelStates::take_room(std::int64_t nodes,
                                          const std::vector<at::Tensor>& like) const {
  Block block;
  for (const at::Tensor& t : like) {
    block.bytes +=
        bytes_of(t) / static_cast<std::uint64_t>(t.size(0)) * static_cast<std::uint64_t>(nodes);
  }
  block.place = room_.take(block.bytes);
  return block;
}

// Its tensors, in the room that it has.
void LevelStates::make(Block& block, std::int64_t nodes, const std::vector<at::Tensor>& like) {
  if (block.place == StateRoom::Place::kDisk) {
    const std::lock_guard lock(mutex_);
    if (!file_) file_ = std::make_unique<SpillFile>(room_.spill());
    std::uint64_t at = file_->take(block.bytes);
    for (const at::Tensor& t : like) {
      const at::Tensor one = at::empty({1}, t.options().device(at::kCPU))
                                 .expand(with_nodes(1, t));  // a shape that takes no memory
      block.offset.push_back(at);
      at += bytes_of(one) * static_cast<std::uint64_t>(nodes);
      block.tensors.push_back(one);
    }
    return;
  }
  const at::Device device =
      block.place == StateRoom::Place::kHost ? at::Device(at::kCPU) : room_.device();
  for (const at::Tensor& t : like) {
    block.tensors.push_back(at::empty(with_nodes(nodes, t), t.options().device(device)));
  }
}

void LevelStates::open(std::size_t batch, std::int64_t nodes, const State& like) {
  Block& block = blocks_[batch];
  block = take_room(nodes, like.tensors);
  make(block, nodes, like.tensors);
  held_[batch].resize(like.held.size());
  for (HeldBlock& held : held_[batch]) held.ancestor.resize(static_cast<std::size_t>(nodes));
}

void LevelStates::close(std::size_t batch) {
  room_.give_back(blocks_[batch].place, blocks_[batch].bytes);
  blocks_[batch] = {};
  for (const HeldBlock& held : held_[batch]) {
    for (const Block& block : held.ancestors) room_.give_back(block.place, block.bytes);
  }
  held_[batch].clear();
}

void LevelStates::write(const Block& block, std::int64_t first,
                        const std::vector<at::Tensor>& tensors) const {
  for (std::size_t i = 0; i < block.tensors.size(); ++i) {
    const at::Tensor& from = tensors[i];
    if (block.place == StateRoom::Place::kDisk) {
      const at::Tensor host = from.to(at::kCPU).contiguous();
      file_->write(block.offset[i] + static_cast<std::uint64_t>(first) * bytes_of(block.tensors[i]),
                   bytes_in(host));
    } else {
      block.tensors[i].narrow(0, first, from.size(0)).copy_(from);
    }
  }
}

std::vector<at::Tensor> LevelStates::read(const Block& block, std::int64_t first,
                                          std::int64_t count) const {
  std::vector<at::Tensor> tensors;
  for (std::size_t i = 0; i < block.tensors.size(); ++i) {
    const at::Tensor& from = block.tensors[i];
    if (block.place == StateRoom::Place::kDisk) {
      const at::Tensor host = at::empty(with_nodes(count, from), from.options());
      file_->read(block.offset[i] + static_cast<std::uint64_t>(first) * bytes_of(from),
                  bytes_in(host));
      tensors.push_back(host.to(room_.device()));
    } else {
      tensors.push_back(from.narrow(0, first, count).to(room_.device()));
    }
  }
  return tensors;
}

void LevelStates::write_held(HeldBlock& held, std::int64_t first, const Held& nodes) {
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    if (!nodes[i].is_same(tensor_of(held.written))) {
      held.written.emplace(nodes[i].getIntrusivePtr());
      const std::vector<at::Tensor> one = {nodes[i].unsqueeze(0)};
      Block& block = held.ancestors.emplace_back(take_room(1, one));
      if (block.place == StateRoom::Place::kDevice) {
        block.tensors = {nodes[i]};
      } else {
        make(block, 1, one);
        write(block, 0, one);
      }
    }
    held.ancestor[static_cast<std::size_t>(first) + i] = held.ancestors.size() - 1;
  }
}

// Neighbours that have it from one ancestor get one tensor, also those that are read one by one.
Held LevelStates::read_held(HeldBlock& held, std::int64_t first, std::int64_t count) const {
  Held nodes;
  for (std::int64_t node = first; node < first + count; ++node) {
    const std::size_t ancestor = held.ancestor[static_cast<std::size_t>(node)];
    at::Tensor known = tensor_of(held.read_as);
    if (!known.defined() || held.read != ancestor) {
      const Block& block = held.ancestors[ancestor];
      known = block.place == StateRoom::Place::kDevice ? block.tensors.front()
                                                       : read(block, 0, 1).front().squeeze(0);
      held.read = ancestor;
      held.read_as.emplace(known.getIntrusivePtr());
    }
    nodes.push_back(std::move(known));
  }
  return nodes;
}

void LevelStates::write(std::size_t batch, std::int64_t first, const State& state) {
  write(blocks_[batch], first, state.tensors);
  for (std::size_t i = 0; i < state.held.size(); ++i) {
    write_held(held_[batch][i], first, state.held[i]);
  }
}

State LevelStates::read(std::size_t batch, std::int64_t first, std::int64_t count) const {
  State state{read(blocks_[batch], first, count)};
  for (HeldBlock& held : held_[batch]) state.held.push_back(read_held(held, first, count));
  return state;
}

}  // namespace mnm
