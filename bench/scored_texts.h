// Texts of a token file with what follows each of their tokens, and their losses: what the benches
// of elastic generation share.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "dataset/tokens.h"
#include "engine/engine.h"
#include "eval/paired.h"
#include "families/open_model.h"
#include "model/nested_model.h"

namespace mnm {

struct Text {
  std::vector<std::int64_t> inputs, targets;  // [tokens]
};

// The first `count` sequences of `context` tokens.
inline std::vector<Text> read_texts(const std::string& data, const NestedModel& model,
                                    std::int64_t count, std::int64_t context) {
  const TokenExamples examples =
      load_token_examples({.path = data, .context = context, .max_tokens = context * count + 1},
                          model.vocab_size, model.max_context);
  const auto length = static_cast<std::size_t>(context);
  std::vector<Text> texts;
  for (std::int64_t i = 0; i < examples.count; ++i) {
    Text text{std::vector<std::int64_t>(length), std::vector<std::int64_t>(length)};
    examples.read_inputs(i, 1, std::as_writable_bytes(std::span(text.inputs)));
    examples.read_targets(i, 1, text.targets);
    texts.push_back(std::move(text));
  }
  return texts;
}

// Of -log softmax(row)[target].
inline double loss_of(std::span<const float> row, std::int64_t target) {
  double most = static_cast<double>(row[0]), sum = 0;
  for (const float x : row) most = std::max(most, static_cast<double>(x));
  for (const float x : row) sum += std::exp(static_cast<double>(x) - most);
  return most + std::log(sum) - static_cast<double>(row[static_cast<std::size_t>(target)]);
}

// The mean over the rows of `logits`, [targets, vocab].
inline float mean_loss(std::span<const float> logits, std::span<const std::int64_t> targets) {
  const std::size_t vocab = logits.size() / targets.size();
  double sum = 0;
  for (std::size_t i = 0; i < targets.size(); ++i) {
    sum += loss_of(logits.subspan(i * vocab, vocab), targets[i]);
  }
  return static_cast<float>(sum / static_cast<double>(targets.size()));
}

// A model on the CPU, in f32, and texts that it is scored on.
struct ScoredTexts {
  ScoredTexts(const std::string& directory, const std::string& data, std::int64_t count,
              std::int64_t context)
      : opened(open_model(directory)),
        session(open_engine("cpu").load(opened.model, opened.checkpoint, options)),
        sequences(session->sequences()),
        texts(read_texts(data, opened.model, count, context)) {}

  OpenedModel opened;
  DeviceOptions options = {.dtype = Dtype::kF32};
  std::unique_ptr<ModelSession> session;
  std::unique_ptr<Sequences> sequences;
  std::vector<Text> texts;
};

}  // namespace mnm
