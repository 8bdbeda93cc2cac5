#include "neurons/nested_checkpoint.h"

#include <algorithm>
#include <map>
#include <utility>

#include "artifact/export_check.h"
#include "base/error.h"
#include "export/companion_files.h"
#include "export/shards.h"
#include "families/compensation.h"
#include "families/granularities.h"
#include "families/may_skip.h"
#include "model/safetensors.h"
#include "model/shapes.h"
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

// The tensors that compensation adds to a checkpoint, as a file.
struct CompensationFile {
  std::string head;                          // empty: there is none
  std::vector<std::vector<std::byte>> data;  // of its tensors

  std::uint64_t bytes() const {
    std::uint64_t sum = head.size();
    for (const auto& tensor : data) sum += tensor.size();
    return sum;
  }

  void write(const fs::path& path, Meter& meter, Flush flush) const {
    OutputFile out(path);
    out.write(head);
    for (const auto& tensor : data) out.write(std::span<const std::byte>(tensor));
    out.close(flush);
    meter.add(static_cast<double>(bytes()));
  }
};

// The layer's means in the order that its neurons get, as f32.
std::vector<std::byte> ordered_means(const LayerNeurons& neurons, const NeuronOrder& order,
                                     std::span<const float> means) {
  std::vector<float> values;
  for (const std::int32_t from : sources_of(neurons.down(), order)) {
    values.push_back(means[static_cast<std::size_t>(from)]);
  }
  const auto bytes = std::as_bytes(std::span(values));
  return {bytes.begin(), bytes.end()};
}

CompensationFile compensation_file(const OpenedModel& opened,
                                   const std::vector<NeuronOrder>& orders,
                                   const nlohmann::json& config, const InputMeans& means) {
  if (means.empty()) return {};
  CompensationFile file;
  std::vector<TensorEntry> entries;
  const NestedModel nested = opened.family->describe(config, {});
  for (const TensorSpec& spec : nested.table.tensors) {
    if (opened.model.table.find(spec.name) != nullptr) continue;
    const auto layer = static_cast<std::size_t>(spec.layer);
    const bool is_means = spec.name == nested.compensation.at(layer).means;
    const Dtype dtype = is_means ? Dtype::kF32 : opened.model.dtype;
    entries.push_back(
        {.name = spec.name, .dtype = dtype, .shape = spec.shape, .begin = 0, .end = 0});
    const auto elements = static_cast<std::size_t>(element_count(spec.shape));
    file.data.push_back(
        is_means ? ordered_means(neurons_of(opened.model, layer), orders[layer], means.at(layer))
                 : std::vector<std::byte>(elements * size_of(dtype)));
  }
  file.head = safetensors_head(entries, {{"format", "pt"}});
  return file;
}

class NestedExport final : public PlannedExport {
 public:
  NestedExport(const OpenedModel& opened, const std::vector<NeuronOrder>& orders,
               const nlohmann::json& config, const InputMeans& means)
      : PlannedExport(plan_slices(opened.model.table, opened.model.space.full())),
        dtype_(to_string(opened.model.dtype)),
        tensors_(permuted_tensors(opened, orders)),
        compensation_(compensation_file(opened, orders, config, means)) {
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
    if (!shards_.contains("model.safetensors")) {
      texts_[kShardIndex] = read_text(checkpoint.directory() / kShardIndex);
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
    if (!compensation_.head.empty()) all[kCompensationFile] = compensation_.bytes();
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
    if (!compensation_.head.empty()) {
      compensation_.write(directory / kCompensationFile, meter, flush);
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
  CompensationFile compensation_;
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

void require_not_compensated(const OpenedModel& opened) {
  if (opened.model.compensation.empty()) return;
  fail(
      "'{}' is compensated already: sort it anew without --compensate, which keeps its means, or "
      "begin with the checkpoint that it was made of",
      opened.checkpoint.directory().string());
}

// Error if the family finds no place for the biases in such a config.
void require_place_for_biases(const OpenedModel& opened, const nlohmann::json& config) {
  std::string why;
  try {
    if (opened.family->describe(config, {}).compensation.empty()) {
      why = fmt::format(
          "models of the family '{}' have no place for a bias that depends on the "
          "width",
          opened.family->name());
    }
  } catch (const Error& error) {
    why = error.what();
  }
  if (why.empty()) return;
  fail("cannot compensate '{}': {}; leave out --compensate", opened.checkpoint.directory().string(),
       why);
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
                             const nlohmann::json& note, bool compensate) {
  nlohmann::json config = opened.checkpoint.config();
  if (compensate) {
    require_not_compensated(opened);
    config[kCompensatedKey] = true;
    require_place_for_biases(opened, config);
  }
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
                                           const nlohmann::json& config, const InputMeans& means) {
  for (std::size_t layer = 0; layer < orders.size(); ++layer) {
    require_bijection(orders[layer], neurons_of(opened.model, layer).count);
  }
  return std::make_unique<NestedExport>(opened, orders, config, means);
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
