#include "families/mamba2/onnx.h"

#include <fmt/format.h>

#include <string>
#include <utility>
#include <vector>

#include "export/onnx_layers.h"
#include "families/mamba2/config.h"
#include "families/mamba2/onnx_mixer.h"

namespace mnm {
namespace {

constexpr const char *kBatch = "batch_size", *kSequence = "sequence_length";
constexpr OnnxType kF32 = OnnxType::kF32;

class Mamba2Graph {
 public:
  Mamba2Graph(const Mamba2Config& config, const Widths& widths, Dtype stored)
      : config_(config), widths_(widths), graph_("scorer", stored) {}

  OnnxGraph build() {
    const OnnxValue ids = graph_.input("input_ids", OnnxType::kI64, {kBatch, kSequence});
    ids_shape_ = graph_.op("Shape", {ids});
    Mamba2OnnxMixer mixer(config_, graph_, ids_shape_);
    OnnxValue x = embed(ids);
    for (std::size_t layer = 0; layer < widths_.size(); ++layer) {
      const auto scope = graph_.scope(fmt::format("layers.{}", layer));
      const std::string base = fmt::format("backbone.layers.{}.", layer);
      const OnnxValue h = norm(x, base + "norm");
      const auto in_mixer = graph_.scope("mixer");
      x = graph_.add(x, mixer.mix(h, base + "mixer.", widths_[layer]));
    }
    readout(x);
    return graph_.finish();
  }

 private:
  void readout(const OnnxValue& x) {
    const OnnxValue h = norm(x, "backbone.norm_f");
    const auto scope = graph_.scope("lm_head");
    const OnnxValue rows =
        onnx_linear(graph_, h, config_.tied ? "backbone.embeddings" : "lm_head", false);
    const OnnxValue logits = graph_.reshape(rows, with_size(config_.vocab_size));
    graph_.output_f32("logits", logits, {kBatch, kSequence, config_.vocab_size});
  }

  OnnxValue with_size(std::int64_t size) {  // the shape [batch, sequence, size]
    return graph_.concat({ids_shape_, graph_.integers({size})}, 0);
  }

  OnnxValue embed(const OnnxValue& ids) {
    const auto scope = graph_.scope("embeddings");
    const OnnxValue rows = graph_.reshape(ids, {-1});
    const OnnxValue x = graph_.op("Gather", {graph_.as_stored("backbone.embeddings.weight"), rows},
                                  {{"axis", std::int64_t{0}}});
    return graph_.cast(x, graph_.stored(), graph_.type());
  }

  OnnxValue norm(const OnnxValue& x, const std::string& name) {
    const auto scope = graph_.scope("norm");
    return onnx_rms_norm(graph_, x, name + ".weight", config_.norm_eps);
  }

  const Mamba2Config& config_;
  const Widths& widths_;
  OnnxBuilder graph_;
  OnnxValue ids_shape_;  // [2]: batch, sequence
};

}  // namespace

OnnxModel mamba2_onnx(const NestedModel& submodel, Dtype stored) {
  const Mamba2Config config = parse_mamba2_config(submodel.config, {});
  const Widths widths = submodel.space.full();
  OnnxModel onnx;
  onnx.scorer = Mamba2Graph(config, widths, stored).build();
  return onnx;
}

}  // namespace mnm
