// A Llama in double precision, the obvious way, one token after another: what an export's probe
// must hold, from the nested checkpoint's own tensors. No biases, plain RoPE, silu, act(gate) * up.
#pragma once

#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "tests/support/tiny_llama.h"

namespace mnm::test {

class ReferenceLlama {
 public:
  explicit ReferenceLlama(const TinyLlama& llama) : llama_(llama) {
    for (TestTensor& tensor : llama.tensors()) tensors_[tensor.name] = std::move(tensor);
  }

  // Logits [tokens * vocab] with the first widths[i] neurons of layer i's FFN.
  std::vector<float> logits(const std::vector<std::int64_t>& tokens,
                            const std::vector<int>& widths) const {
    const auto hidden = size(llama_.hidden), heads = size(llama_.heads);
    const auto d = size(llama_.head_size());
    const std::size_t per_kv = heads / size(llama_.kv_heads);
    std::vector<std::vector<Vector>> keys(widths.size()), values(widths.size());
    std::vector<float> all;
    for (std::size_t position = 0; position < tokens.size(); ++position) {
      Vector h(hidden);
      const TestTensor& embedding = tensors_.at("model.embed_tokens.weight");
      for (std::size_t i = 0; i < hidden; ++i) {
        h[i] = embedding.values[size(tokens[position]) * hidden + i];
      }
      for (std::size_t l = 0; l < widths.size(); ++l) {
        const std::string layer = "model.layers." + std::to_string(l) + ".";
        const Vector x = norm(h, layer + "input_layernorm");
        const Vector q = rotate(product(layer + "self_attn.q_proj", x, heads * d), position);
        const std::size_t kv = size(llama_.kv_heads) * d;
        keys[l].push_back(rotate(product(layer + "self_attn.k_proj", x, kv), position));
        values[l].push_back(product(layer + "self_attn.v_proj", x, kv));
        Vector mixed(heads * d);
        for (std::size_t head = 0; head < heads; ++head) {
          const std::size_t at = head * d, from = head / per_kv * d;
          Vector weights;
          double total = 0;
          for (const Vector& key : keys[l]) {
            double score = 0;
            for (std::size_t i = 0; i < d; ++i) score += q[at + i] * key[from + i];
            weights.push_back(std::exp(score / std::sqrt(static_cast<double>(d))));
            total += weights.back();
          }
          for (std::size_t t = 0; t < weights.size(); ++t) {
            for (std::size_t i = 0; i < d; ++i) {
              mixed[at + i] += weights[t] / total * values[l][t][from + i];
            }
          }
        }
        add(h, product(layer + "self_attn.o_proj", mixed, hidden));
        const Vector y = norm(h, layer + "post_attention_layernorm");
        const auto width = static_cast<std::size_t>(widths[l]);
        Vector gate = product(layer + "mlp.gate_proj", y, width);
        const Vector up = product(layer + "mlp.up_proj", y, width);
        for (std::size_t i = 0; i < width; ++i) gate[i] *= up[i] / (1 + std::exp(-gate[i]));
        add(h, product(layer + "mlp.down_proj", gate, hidden));
      }
      const std::string head = llama_.tied ? "model.embed_tokens" : "lm_head";
      for (double logit : product(head, norm(h, "model.norm"), size(llama_.vocab))) {
        all.push_back(static_cast<float>(logit));
      }
    }
    return all;
  }

 private:
  using Vector = std::vector<double>;

  static std::size_t size(std::int64_t n) { return static_cast<std::size_t>(n); }

  static void add(Vector& h, const Vector& x) {
    for (std::size_t i = 0; i < h.size(); ++i) h[i] += x[i];
  }

  // The first `rows` rows of the matrix, and its first x.size() columns.
  Vector product(const std::string& name, const Vector& x, std::size_t rows) const {
    const TestTensor& matrix = tensors_.at(name + ".weight");
    const std::size_t columns = size(matrix.shape[1]);
    Vector y(rows);
    for (std::size_t r = 0; r < rows; ++r) {
      for (std::size_t c = 0; c < x.size(); ++c) y[r] += matrix.values[r * columns + c] * x[c];
    }
    return y;
  }

  Vector norm(Vector x, const std::string& name) const {
    double sum = 0;
    for (double v : x) sum += v * v;
    const double scale = 1 / std::sqrt(sum / static_cast<double>(x.size()) + 1e-5);
    const TestTensor& weight = tensors_.at(name + ".weight");
    for (std::size_t i = 0; i < x.size(); ++i) x[i] *= scale * weight.values[i];
    return x;
  }

  // Hugging Face's layout: element i turns with element i + head_size / 2.
  Vector rotate(Vector x, std::size_t position) const {
    const std::size_t d = size(llama_.head_size()), half = d / 2;
    for (std::size_t head = 0; head < x.size(); head += d) {
      for (std::size_t i = 0; i < half; ++i) {
        const double turns =
            std::pow(llama_.rope_theta, -2 * static_cast<double>(i) / static_cast<double>(d));
        const double angle = static_cast<double>(position) * turns;
        const double a = x[head + i], b = x[head + half + i];
        x[head + i] = a * std::cos(angle) - b * std::sin(angle);
        x[head + half + i] = b * std::cos(angle) + a * std::sin(angle);
      }
    }
    return x;
  }

  TinyLlama llama_;
  std::map<std::string, TestTensor> tensors_;
};

}  // namespace mnm::test
