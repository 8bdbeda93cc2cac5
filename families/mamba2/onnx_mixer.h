// A Mamba-2 mixer as nodes of an ONNX graph, for the models that have such layers.
#pragma once

#include <cstdint>
#include <string>

#include "export/onnx_builder.h"
#include "families/mamba2/config.h"

namespace mnm {

class Mamba2OnnxMixer {
 public:
  // shape [2]: batch and positions, which the whole graph has. Both arguments outlive the mixer.
  Mamba2OnnxMixer(const Mamba2Config& config, OnnxBuilder& graph, const OnnxValue& shape);

  // x [batch * positions, hidden], which the norm before the block gives, in the builder's type;
  // the result likewise. base: "backbone.layers.3.mixer.".
  OnnxValue mix(const OnnxValue& x, const std::string& base, Width width);

 private:
  OnnxValue with_size(std::int64_t size);
  OnnxValue convolve(const OnnxValue& x, const std::string& base, std::int64_t channels);
  OnnxValue in_chunks(const OnnxValue& x, std::int64_t size);
  OnnxValue time_steps(const OnnxValue& dt, const std::string& base, std::int64_t heads);
  OnnxValue scan(const OnnxValue& convolved, const OnnxValue& steps, const std::string& base,
                 Width width);
  OnnxAttribute chunk_step(std::int64_t g, std::int64_t r, std::int64_t p, std::int64_t n);
  OnnxValue gated_norm(const OnnxValue& y, const OnnxValue& z, const std::string& base,
                       std::int64_t inner);

  const Mamba2Config& config_;
  OnnxBuilder& graph_;
  int bodies_ = 0;
  OnnxValue shape_, sequence_;  // [2]: batch, sequence; [1]
  OnnxValue pads_;              // [6]: of [batch, sequence, size] to whole chunks
  OnnxValue after_, never_;     // [Q, Q]
};

}  // namespace mnm
