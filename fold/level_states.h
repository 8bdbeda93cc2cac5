// The states of a whole level of the plan. They lie where they fit: on the device, in host memory,
// or in a hidden file. What neighbouring nodes hold of one ancestor lies there once, and what lies
// on the device is the ancestor's tensor itself. Compiled only into the engine.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/util/intrusive_ptr.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "fold/fold.h"

namespace mnm {

// The room that is left for states. Several threads may call its functions at once.
class StateRoom {
 public:
  // Room of so many bytes on `device` and, if that is not the CPU, in host memory. The rest goes to
  // `spill`, a directory.
  StateRoom(const at::Device& device, std::uint64_t device_bytes, std::uint64_t host_bytes,
            std::filesystem::path spill);

  enum class Place : std::uint8_t { kDevice, kHost, kDisk };
  Place take(std::uint64_t bytes);  // the nearest place with room; a disk is assumed to have room
  void give_back(Place place, std::uint64_t bytes);

  const at::Device& device() const { return device_; }
  const std::filesystem::path& spill() const { return spill_; }
  std::uint64_t spilled() const;  // bytes that went to disk so far

 private:
  const at::Device device_;
  const std::filesystem::path spill_;
  mutable std::mutex mutex_;
  std::uint64_t device_left_, host_left_, spilled_ = 0;
};

// Batches are independent: several threads may use different ones at once.
class LevelStates {
 public:
  // The room outlives it.
  LevelStates(StateRoom& room, std::size_t batches);
  LevelStates(const LevelStates&) = delete;
  LevelStates& operator=(const LevelStates&) = delete;
  ~LevelStates();

  // Makes room for `nodes` nodes, each like those of `like`. What they hold gets its room when it
  // is written. Called once per batch.
  void open(std::size_t batch, std::int64_t nodes, const State& like);
  void close(std::size_t batch);  // frees it

  // Writes nodes [first, first + state.nodes()). Error if the disk is full.
  void write(std::size_t batch, std::int64_t first, const State& state);
  State read(std::size_t batch, std::int64_t first, std::int64_t count) const;  // on the device

 private:
  struct Block {
    StateRoom::Place place = StateRoom::Place::kDevice;
    std::vector<at::Tensor> tensors;    // [nodes, ...]; on disk: one node each, without data
    std::vector<std::uint64_t> offset;  // on disk: of each tensor's first node
    std::uint64_t bytes = 0;
  };
  // A tensor as long as somebody else holds it.
  using WeakTensor = std::optional<c10::weak_intrusive_ptr<c10::TensorImpl>>;
  // What the nodes hold of ancestors, of one entry of State::held.
  struct HeldBlock {
    std::vector<Block> ancestors;       // of one tensor each, of one node
    std::vector<std::size_t> ancestor;  // [nodes], among `ancestors`
    // What the last of `ancestors` was written from; what was read last, and as which tensor. Both
    // tensors are others': this holds no memory besides the room's.
    WeakTensor written;
    std::size_t read = 0;
    WeakTensor read_as;
  };
  class SpillFile;

  Block take_room(std::int64_t nodes, const std::vector<at::Tensor>& like) const;
  void make(Block& block, std::int64_t nodes, const std::vector<at::Tensor>& like);
  void write(const Block& block, std::int64_t first, const std::vector<at::Tensor>& from) const;
  std::vector<at::Tensor> read(const Block& block, std::int64_t first, std::int64_t count) const;
  void write_held(HeldBlock& held, std::int64_t first, const Held& nodes);
  Held read_held(HeldBlock& held, std::int64_t first, std::int64_t count) const;

  StateRoom& room_;
  std::vector<Block> blocks_;                         // [batches]
  mutable std::vector<std::vector<HeldBlock>> held_;  // [batches]: of each entry of State::held
  std::mutex mutex_;
  std::unique_ptr<SpillFile> file_;  // made when first needed
};

}  // namespace mnm
