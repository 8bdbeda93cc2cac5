#include "export/onnx_writer.h"

#include <algorithm>
#include <utility>

#include "export/companion_files.h"
#include "export/probe.h"
#include "export/shards.h"
#include "extract/extract.h"
#include "model/error.h"
#include "model/files.h"

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

class OnnxExport final : public PlannedExport {
 public:
  OnnxExport(SlicePlan slices, const Checkpoint& checkpoint, const OnnxModel& onnx,
             nlohmann::json config, const OnnxOptions& options, const NestedModel& model)
      : PlannedExport(std::move(slices)), dtype_(options.dtype), config_(std::move(config)) {
    for (const TensorSlice& slice : this->slices().tensors) {
      weights_.push_back({slice.name, dtype_, slice.shape, data_bytes_});
      data_bytes_ += aligned(weights_.back().bytes());
    }
    add_graph(kOnnxScorer, onnx.scorer, options.metadata);
    if (onnx.decoder) {
      add_graph(kOnnxDecoder, onnx.decoder->graph, options.metadata);
      const std::size_t layers = kept_widths(this->slices().widths).size();
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
    extractor.read_ahead(slices_of(slices()));
    for (std::size_t i = 0; i < weights_.size(); ++i) {
      extractor.append(slices().tensors[i], dtype_, out, &meter);
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
      for (const OnnxWeight& planned : weights_) {
        const auto found = std::ranges::find(parsed.weights, planned.name, &OnnxWeight::name);
        if (found == parsed.weights.end()) {
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
    for (const OnnxWeight& weight : weights_) {
      StoredTensor& tensor = tensors.emplace_back();
      tensor.name = weight.name;
      tensor.dtype = weight.dtype;
      tensor.shape = weight.shape;
      tensor.decode = [data, offset = weight.offset](std::uint64_t begin,
                                                     std::span<std::byte> into) {
        data->read(offset + begin, into);
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
  void add_graph(const char* file, const OnnxGraph& graph, const OnnxMetadata& metadata) {
    for (const OnnxWeight& weight : weights_) {
      const auto uses = std::ranges::count(graph.weights, weight.name);
      if (uses != 1)
        fail("the graph '{}' names the tensor {} {} times", graph.name, weight.name, uses);
    }
    texts_[file] = encode_onnx(graph, weights_, kOnnxData, metadata);
    graphs_.push_back(file);
  }

  Dtype dtype_;
  nlohmann::json config_;
  std::vector<OnnxWeight> weights_;  // as the slices of the plan
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
  return std::make_unique<OnnxExport>(plan_slices(model.table, widths), checkpoint, onnx,
                                      std::move(config), options, model);
}

}  // namespace mnm
