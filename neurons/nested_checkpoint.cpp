#include "neurons/nested_checkpoint.h"

#include <algorithm>
#include <map>
#include <utility>

#include "artifact/export_check.h"
#include "base/error.h"
#include "export/companion_files.h"
#include "export/shards.h"
#include "families/granularities.h"
#include "families/may_skip.h"
#include "neurons/permuted_file.h"
#include "neurons/permuted_tensor.h"

namespace mnm {
namespace {

namespace fs = std::filesystem;

using PermutedTensors = std::map<std::string, PermutedTensor>;  // by the stored name

PermutedTensors permuted_tensors(const OpenedModel& opened,
                                 const std::vector<NeuronOrder>& orders) {
  PermutedTensors tensors;
  for (std::size_t layer = 0; layer < orders.size(); ++layer) {
    for (const NeuronTensor& tensor : neurons_of(opened.model, layer).tensors) {
      const StoredTensor& stored = opened.checkpoint.at(tensor.spec->name);
      const bool shared =
          !tensors
               .emplace(stored.name, permuted(stored.shape, tensor.spec->cut_dim, stored.dtype,
                                              sources_of(tensor, orders[layer])))
               .second;
      if (shared) {
        fail("cannot exchange the neurons of layer {}: {} is also another layer's tensor", layer,
             stored.name);
      }
    }
  }
  return tensors;
}

// Of a checkpoint, with tensors as they are before the reordering.
Checkpoint with_order_undone(Checkpoint checkpoint, const PermutedTensors& inverse) {
  const auto written = std::make_shared<Checkpoint>(std::move(checkpoint));
  std::vector<StoredTensor> tensors;
  for (const StoredTensor& stored : written->tensors()) {
    StoredTensor& tensor = tensors.emplace_back(stored);
    const auto found = inverse.find(stored.name);
    if (found == inverse.end()) continue;
    tensor.data = {};
    tensor.decode = [&stored, written, &order = found->second](std::uint64_t begin,
                                                               std::span<std::byte> into) {
      std::vector<std::byte> rows;
      read_permuted(
          order, begin, into,
          [&](std::uint64_t at, std::span<std::byte> part) { written->read(stored, at, part); },
          rows);
    };
  }
  return Checkpoint::assemble(written->directory(), written->config(), std::move(tensors), written);
}

class NestedExport final : public PlannedExport {
 public:
  NestedExport(const OpenedModel& opened, const std::vector<NeuronOrder>& orders,
               const nlohmann::json& config)
      : PlannedExport(plan_slices(opened.model.table, opened.model.space.full())),
        dtype_(to_string(opened.model.dtype)),
        tensors_(permuted_tensors(opened, orders)) {
    std::vector<NeuronOrder> inverse;
    for (const NeuronOrder& order : orders) inverse.push_back(inverse_of(order));
    inverse_ = permuted_tensors(opened, inverse);
    const Checkpoint& checkpoint = opened.checkpoint;
    for (std::size_t shard = 0; shard < checkpoint.shards().size(); ++shard) {
      PermutedFile file = plan_permuted_file(checkpoint, shard, tensors_);
      const std::string name = file.source.filename().string();
      if (!shards_.emplace(name, std::move(file)).second) {
        fail("cannot write {} twice: two shards of the checkpoint have this name", name);
      }
    }
    texts_ = opened.family->huggingface_bridge(opened.model, opened.model.space.full());
    texts_["config.json"] = config.dump(2) + "\n";
    const fs::path index = checkpoint.directory() / kShardIndex;
    if (shards_.size() > 1 || !shards_.contains("model.safetensors")) {
      texts_[kShardIndex] = read_text(index);
    }
    for (CarriedFile& file : carried_files(checkpoint.directory())) {
      if (!texts_.contains(file.name)) carried_.push_back(std::move(file));
    }
  }

  std::string_view format() const override { return "nested"; }
  std::string_view dtype() const override { return dtype_; }

  std::map<std::string, std::uint64_t> files() const override {
    std::map<std::string, std::uint64_t> all;
    for (const auto& [name, file] : shards_) all[name] = file.bytes;
    for (const auto& [name, content] : texts_) all[name] = content.size();
    for (const CarriedFile& file : carried_) all[file.name] = file.bytes;
    return all;
  }

  void write(const Checkpoint& checkpoint, const fs::path& directory, const ProgressSink& progress,
             Flush flush) const override {
    require_space(bytes(), directory);
    Meter meter(progress, static_cast<double>(bytes()), kEveryStep);
    write_texts(texts_, directory, meter, flush);
    copy_carried(carried_, checkpoint.directory(), directory, meter, flush);
    for (const auto& [name, file] : shards_) {
      write_permuted_file(file, directory / name, meter, flush);
    }
    checkpoint.check_unchanged();
  }

  Checkpoint reopen(const fs::path& directory) const override {
    return with_order_undone(Checkpoint::open(directory), inverse_);
  }

  void round(const TensorSlice&, std::span<float>) const override {}
  bool rounds(const Checkpoint&) const override { return false; }

  std::string loading(const fs::path& directory) const override {
    return fmt::format("mixnmatch eval {0} --data held_out.bin\n", directory.string());
  }

 private:
  std::string dtype_;
  PermutedTensors tensors_, inverse_;
  std::map<std::string, PermutedFile> shards_;  // by name
  std::map<std::string, std::string> texts_;
  std::vector<CarriedFile> carried_;
};

bool same_granularities(const WidthSpace& a, const WidthSpace& b) {
  return std::ranges::equal(a.layers, b.layers, {}, &LayerChoices::granularities,
                            &LayerChoices::granularities) &&
         std::ranges::equal(a.layers, b.layers, {}, &LayerChoices::may_skip,
                            &LayerChoices::may_skip);
}

}  // namespace

void require_not_nested(const OpenedModel& opened) {
  if (opened.model.space.levels() == 1) return;
  const nlohmann::json& config = opened.checkpoint.config();
  const auto note = config.find("mixnmatch");
  const bool sorted = note != config.end() && note->is_object() && note->contains("nested");
  fail("'{}' is nested already: its config names {} granularities, {}",
       opened.checkpoint.directory().string(), opened.model.space.levels(),
       sorted ? "and 'nest' sorted its neurons; use it as it is, or sort them anew with --force"
              : "whose neurons were trained in the order that they have; search it as it is, or "
                "sort it all the same with --force");
}

nlohmann::json nested_config(const OpenedModel& opened, const Nesting& nesting,
                             const nlohmann::json& note) {
  nlohmann::json config = opened.checkpoint.config();
  const NestedModel asked = opened.family->describe(config, nesting);
  write_granularities(asked.space, asked.space.full(), config);
  write_may_skip(asked.space, asked.space.full(), config);
  config["mixnmatch"] = note;
  if (!same_granularities(opened.family->describe(config, {}).space, asked.space)) {
    fail(
        "cannot name the granularities in the config of '{}': this kind of config.json has no "
        "place for them; export it with --format huggingface first",
        opened.checkpoint.directory().string());
  }
  return config;
}

std::unique_ptr<PlannedExport> plan_nested(const OpenedModel& opened,
                                           const std::vector<NeuronOrder>& orders,
                                           const nlohmann::json& config) {
  for (std::size_t layer = 0; layer < orders.size(); ++layer) {
    require_bijection(orders[layer], neurons_of(opened.model, layer).count);
  }
  return std::make_unique<NestedExport>(opened, orders, config);
}

CheckedExport write_nested(const OpenedModel& opened, const PlannedExport& plan,
                           const fs::path& target, const CheckOptions& options,
                           const AtomicDirectory::Replaceable& replaceable,
                           const ProgressSink& progress) {
  // Logits are of the files as every reader sees them, with the neurons in their new order.
  return write_checked(opened, plan, target, options, replaceable, progress,
                       [](const fs::path& directory) { return open_model(directory); });
}

}  // namespace mnm
