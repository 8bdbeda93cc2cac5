#include "export/onnx_writer.h"

#include <algorithm>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "export/by_name.h"
#include "export/companion_files.h"
#include "export/probe.h"
#include "export/shards.h"
#include "extract/extract.h"

namespace mnm {
namespace {

namespace fs = std::filesystem;

std::uint64_t aligned(std::uint64_t bytes) {
  return (bytes + kOnnxAlignment - 1) / kOnnxAlignment * kOnnxAlignment;
}

// Reference: onnxruntime-genai, src/config.cpp. Its own cache buffers would need operators outside
// of ONNX, so past and present do not share one.
nlohmann::json genai_config(const NestedModel& model, std::size_t layers,
                            const OnnxDecoder& decoder) {
  nlohmann::json json;
  nlohmann::json& part = json["model"];
  part["type"] = decoder.genai_type;
  part["context_length"] = model.max_context;
  part["vocab_size"] = model.vocab_size;
  for (const char* key : {"bos_token_id", "eos_token_id", "pad_token_id"}) {
    const auto found = model.config.find(key);
    if (found != model.config.end() && !found->is_null()) part[key] = *found;
  }
  part["decoder"] = {
      {"filename", kOnnxDecoder},
      {"hidden_size", model.hidden_size},
      {"num_hidden_layers", layers},
      {"num_attention_heads", decoder.heads},
      {"num_key_value_heads", decoder.kv_heads},
      {"head_size", decoder.head_size},
      {"session_options", {{"provider_options", nlohmann::json::array()}}},
      {"inputs",
       {{"input_ids", "input_ids"},
        {"attention_mask", "attention_mask"},
        {"position_ids", "position_ids"},
        {"past_key_names", "past_key_values.%d.key"},
        {"past_value_names", "past_key_values.%d.value"}}},
      {"outputs",
       {{"logits", "logits"},
        {"present_key_names", "present.%d.key"},
        {"present_value_names", "present.%d.value"}}},
  };
  json["search"] = {{"do_sample", false},
                    {"max_length", model.max_context},
                    {"past_present_share_buffer", false}};
  return json;
}

// A matrix that is cut along its columns, or whole, as matrices of so many columns each.
std::vector<TensorSlice> parts_of(const TensorSlice& slice, std::int64_t columns) {
  std::vector<Range> kept = slice.ranges;
  if (slice.dim < 0) kept = {{0, slice.shape.back()}};
  std::vector<TensorSlice> parts;
  for (const Range& range : kept) {
    for (std::int64_t begin = range.begin; begin < range.end; begin += columns) {
      TensorSlice& part = parts.emplace_back(slice);
      part.dim = 1;
      part.ranges = {{begin, begin + columns}};
      part.shape.back() = columns;
    }
  }
  return parts;
}

// Bytes [begin, begin + into.size()) of the matrix whose columns these weights are, side by side.
void read_parts(const MappedFile& data, const std::vector<OnnxWeight>& parts, std::uint64_t begin,
                std::span<std::byte> into) {
  if (parts.size() == 1) return data.read(parts.front().offset + begin, into);
  const auto columns = static_cast<std::uint64_t>(parts.front().shape.back());
  const std::uint64_t part = columns * size_of(parts.front().dtype), row = part * parts.size();
  while (!into.empty()) {
    const std::uint64_t at = begin % row;
    const std::size_t count = std::min<std::uint64_t>(into.size(), part - at % part);
    data.read(parts[at / part].offset + begin / row * part + at % part, into.first(count));
    begin += count;
    into = into.subspan(count);
  }
}

class OnnxExport final : public PlannedExport {
 public:
  OnnxExport(SlicePlan slices, const Checkpoint& checkpoint, const OnnxModel& onnx,
             nlohmann::json config, const OnnxOptions& options, const NestedModel& model)
      : PlannedExport(std::move(slices)), dtype_(options.dtype), config_(std::move(config)) {
    for (const TensorSlice& slice : this->slices().tensors) {
      first_.push_back(weights_.size());
      const auto columns = onnx.columns.find(slice.name);
      if (columns == onnx.columns.end()) {
        add_weight(slice.name, slice);
        continue;
      }
      const std::vector<TensorSlice> parts = parts_of(slice, columns->second);
      for (std::size_t i = 0; i < parts.size(); ++i) {
        add_weight(onnx_part_name(slice.name, i), parts[i]);
      }
    }
    first_.push_back(weights_.size());
    add_graph(kOnnxScorer, onnx.scorer, options.metadata);
    if (onnx.decoder) {
      add_graph(kOnnxDecoder, onnx.decoder->graph, options.metadata);
      const std::size_t layers = onnx.decoder->cached_layers > 0
                                     ? static_cast<std::size_t>(onnx.decoder->cached_layers)
                                     : kept_widths(this->slices().widths).size();
      texts_[kGenaiConfig] = genai_config(model, layers, *onnx.decoder).dump(2) + "\n";
    }
    for (CarriedFile& file : carried_files(checkpoint.directory())) {
      if (!texts_.contains(file.name)) carried_.push_back(std::move(file));
    }
  }

  std::string_view format() const override { return "onnx"; }
  std::string_view dtype() const override { return to_string(dtype_); }

  std::map<std::string, std::uint64_t> files() const override {
    std::map<std::string, std::uint64_t> files = {{kOnnxData, data_bytes_}};
    for (const auto& [name, content] : texts_) files[name] = content.size();
    for (const CarriedFile& file : carried_) files[file.name] = file.bytes;
    return files;
  }

  void write(const Checkpoint& checkpoint, const fs::path& directory, const ProgressSink& progress,
             Flush flush) const override {
    require_space(bytes(), directory);
    Meter meter(progress, static_cast<double>(bytes()), kEveryStep);
    write_texts(texts_, directory, meter, flush);
    copy_carried(carried_, checkpoint.directory(), directory, meter, flush);
    OutputFile out(directory / kOnnxData);
    Extractor extractor(checkpoint);
    std::vector<const TensorSlice*> all;
    for (const TensorSlice& slice : written_) all.push_back(&slice);
    extractor.read_ahead(all);
    for (std::size_t i = 0; i < weights_.size(); ++i) {
      extractor.append(written_[i], dtype_, out, &meter);
      const std::uint64_t bytes = weights_[i].bytes();
      const std::string padding(aligned(bytes) - bytes, '\0');
      out.write(padding);
      if (!padding.empty()) meter.add(static_cast<double>(padding.size()));
    }
    if (out.position() != data_bytes_) {
      fail("cannot write '{}': {} bytes came out, where {} were planned", out.path().string(),
           out.position(), data_bytes_);
    }
    out.close(flush);
    extractor.check_unchanged();
    for (const std::string& graph : graphs_) check_onnx(directory / graph);
  }

  Checkpoint reopen(const fs::path& directory) const override {
    const auto data = std::make_shared<const MappedFile>(directory / kOnnxData);
    std::vector<StoredTensor> tensors;
    for (const std::string& graph : graphs_) {
      const MappedFile file(directory / graph);
      const std::string path = file.path().string();
      const OnnxFile parsed = parse_onnx(file.bytes(), path, kOnnxData, data->bytes().size());
      const ByName by_name(parsed.weights);
      for (const OnnxWeight& planned : weights_) {
        const OnnxWeight* found = by_name.find(planned.name);
        if (found == nullptr) {
          fail("cannot read '{}': it has no tensor '{}'", path, planned.name);
        }
        if (*found != planned) {
          fail("cannot read '{}': tensor '{}' has another type, shape or place than planned", path,
               planned.name);
        }
      }
      if (parsed.weights.size() != weights_.size()) {
        fail("cannot read '{}': it has {} tensors, expected {}", path, parsed.weights.size(),
             weights_.size());
      }
    }
    for (std::size_t i = 0; i < slices().tensors.size(); ++i) {
      const TensorSlice& slice = slices().tensors[i];
      StoredTensor& tensor = tensors.emplace_back();
      tensor.name = slice.name;
      tensor.dtype = dtype_;
      tensor.shape = slice.shape;
      const std::vector<OnnxWeight> parts(
          weights_.begin() + static_cast<std::ptrdiff_t>(first_[i]),
          weights_.begin() + static_cast<std::ptrdiff_t>(first_[i + 1]));
      tensor.decode = [data, parts](std::uint64_t begin, std::span<std::byte> into) {
        read_parts(*data, parts, begin, into);
      };
    }
    return Checkpoint::assemble(directory, config_, std::move(tensors), nullptr);
  }

  void check_layout(const fs::path& directory) const override {
    PlannedExport::check_layout(directory);
    reopen(directory);
  }

  void round(const TensorSlice& slice, std::span<float> values) const override {
    check_range(values, dtype_, slice.name);
    std::vector<std::byte> bytes(values.size() * size_of(dtype_));
    from_f32(values, dtype_, bytes);
    to_f32(bytes, dtype_, values);
  }

  bool rounds(const Checkpoint& checkpoint) const override {
    return std::ranges::any_of(slices().tensors, [&](const TensorSlice& slice) {
      return roundoff(checkpoint.at(slice.spec->name).dtype, dtype_) > 0;
    });
  }
  // bf16 is stored and cast; f16 is what the graph computes in.
  Dtype arithmetic() const override { return dtype_ == Dtype::kF16 ? dtype_ : Dtype::kF32; }

  std::string loading(const fs::path& directory) const override {
    return fmt::format(
        "import onnxruntime\n"
        "model = onnxruntime.InferenceSession({})\n"
        "print([output.name for output in model.get_outputs()])\n",
        python_literal(directory / kOnnxScorer));
  }

 private:
  void add_weight(std::string name, TensorSlice slice) {
    weights_.push_back({std::move(name), dtype_, slice.shape, data_bytes_});
    data_bytes_ += aligned(weights_.back().bytes());
    written_.push_back(std::move(slice));
  }

  void add_graph(const char* file, const OnnxGraph& graph, const OnnxMetadata& metadata) {
    std::unordered_map<std::string_view, std::int64_t> uses;
    for (const auto& name : graph.weights) ++uses[name];
    for (const OnnxWeight& weight : weights_) {
      if (uses[weight.name] != 1) {
        fail("the graph '{}' names the tensor {} {} times", graph.name, weight.name,
             uses[weight.name]);
      }
    }
    texts_[file] = encode_onnx(graph, weights_, kOnnxData, metadata);
    graphs_.push_back(file);
  }

  Dtype dtype_;
  nlohmann::json config_;
  std::vector<OnnxWeight> weights_;
  std::vector<TensorSlice> written_;  // what each weight holds: a slice of the plan, or a part
  std::vector<std::size_t> first_;    // [slices + 1]: each slice's first weight
  std::uint64_t data_bytes_ = 0;
  std::vector<std::string> graphs_;           // files
  std::map<std::string, std::string> texts_;  // of those and of the settings: name -> content
  std::vector<CarriedFile> carried_;
};

}  // namespace

std::unique_ptr<PlannedExport> plan_onnx(const NestedModel& model, const Checkpoint& checkpoint,
                                         const Widths& widths, const OnnxModel& onnx,
                                         nlohmann::json config, const OnnxOptions& options) {
  model.space.require(widths);
  SlicePlan slices = plan_slices(model.table, widths);
  std::erase_if(slices.tensors, [&](const TensorSlice& slice) {
    return std::ranges::find(onnx.unread, slice.name) != onnx.unread.end();
  });
  config.merge_patch(onnx.without_unread);
  return std::make_unique<OnnxExport>(std::move(slices), checkpoint, onnx, std::move(config),
                                      options, model);
}

}  // namespace mnm
