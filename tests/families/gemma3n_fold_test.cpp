// Gemma 3n over its variants: siblings against each alone, whole against token by token, nested
// against sliced, and all of it against transformers, in one Python process.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <ATen/record_function.h>
#include <gtest/gtest.h>

#include <iterator>
#include <map>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "export/huggingface.h"
#include "export/onnx_writer.h"
#include "families/gemma3n/attention_fold.h"
#include "families/gemma3n/config.h"
#include "families/open_model.h"
#include "fold/fold.h"
#include "fold/layer_step.h"
#include "fold/product.h"
#include "tests/support/python.h"
#include "tests/support/tiny_gemma3n.h"

namespace mnm {
namespace {

namespace fs = std::filesystem;
using test::TempDir;
using test::TestTensor;
using test::TinyGemma3n;

constexpr std::int64_t kTokens = 24;  // past every window but one

// A model with its weights in a type: whole, in shared passes, by chunks.
class LoadedGemma3n {
 public:
  LoadedGemma3n(const NestedModel& model, const std::vector<TestTensor>& tensors,
                at::ScalarType type)
      : model_(model) {
    for (const TestTensor& tensor : tensors) {
      weights_[tensor.name] = at::tensor(tensor.values).view(tensor.shape).to(type);
    }
    fold_ = make_fold({model_, [this](const std::string& name) { return weights_.at(name); }});
  }
  LoadedGemma3n(const OpenedModel& opened, at::ScalarType type) : model_(opened.model) {
    for (const TensorSpec& spec : model_.table.tensors) {
      const std::vector<float> values =
          test::values_of(opened.checkpoint, opened.checkpoint.at(spec.name));
      weights_[spec.name] = at::tensor(values).view(spec.shape).to(type);
    }
    fold_ = make_fold({model_, [this](const std::string& name) { return weights_.at(name); }});
  }

  Fold& fold() { return *fold_; }

  // [tokens, vocab] of a state of one node.
  at::Tensor logits(const State& state) {
    return fold_->logits(fold_->readout(state).flatten(0, 2)).to(at::kDouble);
  }
  at::Tensor whole(const at::Tensor& tokens, const Widths& widths) {
    return logits(step_layers(*fold_, fold_->embed({tokens}), widths));
  }
  // Two candidates in one pass, through a tree that they leave apart at the first layer: each level
  // has two parents, and a sibling at the full width.
  at::Tensor shared(const at::Tensor& tokens, const Widths& widths) {
    auto [state, givens] = fold_->embed({tokens});
    const Widths full = model_.space.full();
    for (std::size_t layer = 0; layer < widths.size(); ++layer) {
      Children children;
      for (std::int64_t parent = 0; parent < state.nodes(); ++parent) {
        children.add(parent, widths[layer]);
        if (widths[layer] != full[layer]) children.add(parent, full[layer]);
      }
      const std::int32_t last = static_cast<std::int32_t>(children.nodes()) - 1;
      state = step_layer(*fold_, layer, givens, state, children).select(std::vector{0, last});
    }
    return logits(state.narrow(0, 1));
  }
  at::Tensor by_chunks(const at::Tensor& tokens, const Widths& widths, std::int64_t chunk) {
    std::vector<LayerCache> caches(widths.size());
    std::vector<at::Tensor> all;
    for (std::int64_t position = 0; position < tokens.size(1); position += chunk) {
      const std::int64_t count = std::min(chunk, tokens.size(1) - position);
      auto [state, givens] = fold_->embed({tokens.narrow(1, position, count)});
      for (std::size_t layer = 0; layer < widths.size(); ++layer) {
        state = extend_layer(*fold_, layer, givens, state, widths[layer], position, caches);
      }
      all.push_back(logits(state));
    }
    return at::cat(all);
  }

 private:
  const NestedModel& model_;
  std::map<std::string, at::Tensor> weights_;
  std::unique_ptr<Fold> fold_;
};

// All words, and among them those past the per-layer table.
at::Tensor tokens_of(const NestedModel& model) {
  return at::arange(kTokens, at::kLong)
      .mul(7)
      .add(45)
      .remainder(model.vocab_size)
      .view({1, kTokens});
}

double worst(const at::Tensor& a, const at::Tensor& b) {
  return (a - b).abs().max().item<double>() / b.abs().max().item<double>();
}

// Full, mixed, narrow to width 1 in a dense layer, and without some layers.
std::vector<Widths> submodels_of(const NestedModel& model) {
  const Widths full = model.space.full();
  std::vector<Widths> all = {full, full, full, full};
  for (std::size_t layer = 0; layer < full.size(); ++layer) {
    all[1][layer] = layer % 2 == 0 ? full[layer] / 2 : full[layer];
    all[2][layer] = model.space.layers[layer].granularities.front();
    if (model.space.layers[layer].may_skip && layer != 2) all[2][layer] = kSkip;
    all[3][layer] = full[layer] - static_cast<Width>(7 * layer);
    if (model.space.layers[layer].may_skip) all[3][layer] = kSkip;
  }
  all[1][4] = 1;
  return all;
}

// The terms of all products on a path, each off by an epsilon, with what clipping and unscaled
// scores amplify: tiny models of this family are ill-conditioned, a hundredfold at least.
constexpr double kRoundings = 9 * (4 * 32 + 96 + kTokens + 64) * 100;

std::vector<double> numbers(const at::Tensor& logits) {
  const at::Tensor flat = logits.contiguous();
  const double* const data = flat.const_data_ptr<double>();
  return {data, data + flat.numel()};
}

void write_logits(const fs::path& file, const at::Tensor& logits) {
  test::spew(file, nlohmann::json(numbers(logits)).dump());
}

fs::path write_sliced(const OpenedModel& opened, const Widths& widths, const fs::path& directory) {
  const nlohmann::json config =
      opened.family->huggingface_config(opened.model, widths, Dtype::kF32);
  HuggingFaceOptions options;
  options.dtype = Dtype::kF32;
  fs::create_directories(directory);
  write_huggingface(plan_huggingface(opened.model, opened.checkpoint, widths,
                                     {{"config.json", config.dump()}}, options),
                    opened.checkpoint, directory);
  return directory;
}

void write_onnx(const OpenedModel& opened, const Widths& widths, const fs::path& directory) {
  const Family& family = *opened.family;
  const FormatModel stated = family.in_format("onnx", opened.model, widths, Dtype::kF32);
  fs::create_directories(directory);
  const auto plan =
      plan_onnx(opened.model, opened.checkpoint, widths, std::get<OnnxModel>(stated),
                family.huggingface_config(opened.model, widths, Dtype::kF32), {Dtype::kF32, {}});
  plan->write(opened.checkpoint, directory);
  plan->check_layout(directory);
  // The per-layer table is written as one table for each layer, and read as one.
  const Checkpoint again = plan->reopen(directory);
  for (const TensorSlice& slice : plan->slices().tensors) {
    if (slice.spec->layer >= 0 || slice.spec->cut_dim != 1) continue;
    const StoredTensor& stored = opened.checkpoint.at(slice.spec->name);
    const at::Tensor full =
        at::tensor(test::values_of(opened.checkpoint, stored)).view(stored.shape);
    std::vector<at::Tensor> kept = {full};
    if (slice.dim == 1) kept.clear();
    for (const Range& range : slice.ranges) {
      kept.push_back(full.narrow(1, range.begin, range.end - range.begin));
    }
    const at::Tensor read = at::tensor(test::values_of(again, again.at(slice.name)));
    EXPECT_TRUE(at::equal(read, at::cat(kept, 1).flatten()));
  }
}

// Every way to compute a submodel, and the judge's files.
void check(const OpenedModel& opened, const std::vector<TestTensor>& tensors, const Widths& widths,
           const fs::path& place, bool with_onnx) {
  const at::Tensor tokens = tokens_of(opened.model);
  LoadedGemma3n exact(opened.model, tensors, at::kDouble),
      single(opened.model, tensors, at::kFloat);
  const at::Tensor alone = exact.whole(tokens, widths);  // gradients are on
  const at::NoGradGuard no_grad;
  const double in_double = kRoundings * 0x1p-53;
  EXPECT_LE(worst(exact.whole(tokens, widths), alone), in_double);
  EXPECT_LE(worst(exact.shared(tokens, widths), alone), in_double);
  for (const std::int64_t chunk : {1, 5, 23}) {
    EXPECT_LE(worst(exact.by_chunks(tokens, widths, chunk), alone), in_double) << chunk;
  }
  const at::Tensor rounded = single.whole(tokens, widths);
  EXPECT_LE(worst(rounded, alone), kRoundings * 0x1p-24);
  // The same arithmetic on the same numbers.
  const OpenedModel sliced = open_model(write_sliced(opened, widths, place));
  LoadedGemma3n small(sliced, at::kFloat);
  EXPECT_TRUE(at::equal(small.whole(tokens, sliced.model.space.full()), rounded));
  if (with_onnx) write_onnx(opened, widths, place / "onnx");
  if (widths == opened.model.space.full()) {  // as llama.cpp clips
    nlohmann::json config = opened.model.config;
    (opened.model.config.contains("text_config") ? config["text_config"]
                                                 : config)[kSampleDeviationKey] = true;
    const NestedModel sample = opened.family->describe(config, {});
    write_logits(place / "sample.json",
                 LoadedGemma3n(sample, tensors, at::kDouble).whole(tokens, widths));
  }
  write_logits(place / "logits.json", alone);
  test::spew(place / "case.json",
             nlohmann::json({{"widths", widths}, {"noise", worst(rounded, alone)}}).dump());
}

// Those that transformers judges in bf16 as well: with and without layers that share keys and
// values, clipped gates, and windows.
bool is_judged_in_bf16(const std::string& name) {
  for (const char* const judged : {"base", "no_sharing", "one_type_shared", "no_sparsity",
                                   "sparse_late", "all_full", "all_sliding", "wide_window"}) {
    if (name == judged) return true;
  }
  return false;
}

// Whole, and token by token with a cache.
void write_bf16(const OpenedModel& opened, const std::vector<TestTensor>& tensors,
                const Widths& widths, const fs::path& file) {
  const at::NoGradGuard no_grad;
  LoadedGemma3n narrow(opened.model, tensors, at::kBFloat16);
  const at::Tensor tokens = tokens_of(opened.model);
  const bool in_f32 = arithmetic_type(at::kCPU, at::kBFloat16) == at::kFloat;
  test::spew(file, nlohmann::json({{"in_f32", in_f32},
                                   {"scoring", numbers(narrow.whole(tokens, widths))},
                                   {"decoding", numbers(narrow.by_chunks(tokens, widths, 1))}})
                       .dump());
}

// What nodes hold becomes one batch: of one ancestor it is a view where a view can be.
TEST(Gemma3nFold, WhatNodesHoldIsCopiedOnlyWhereNoViewCanBe) {
  for (const std::int64_t sequences : {1, 3}) {
    const at::Tensor a = at::randn({sequences, 5, 2, 4}), b = at::randn({sequences, 5, 2, 4});
    for (const Held& held : {Held{a}, Held{a, a, a}, Held{a, a, b}, Held{a, b}}) {
      const at::Tensor all = for_nodes(held);
      EXPECT_TRUE(at::equal(all, at::cat(held)));
      const bool one_ancestor = held.back().is_same(a);
      const bool view = one_ancestor && (held.size() == 1 || sequences == 1);
      EXPECT_EQ(all.is_alias_of(a), view) << sequences << " sequences, " << held.size() << " nodes";
    }
  }
}

// Bytes of keys or values, by their heads, that operators copy.
class CopiedHeads {
 public:
  explicit CopiedHeads(const Gemma3nConfig& config) {
    kv_heads = config.kv_heads;
    head_dim = config.head_dim;
    bytes = 0;
    handle_ = at::addThreadLocalCallback(at::RecordFunctionCallback(&count).needsInputs(true));
  }
  CopiedHeads(const CopiedHeads&) = delete;
  CopiedHeads& operator=(const CopiedHeads&) = delete;
  ~CopiedHeads() { at::removeCallback(handle_); }

  inline static std::int64_t kv_heads, head_dim, bytes;

 private:
  static void add(const at::Tensor& from) {
    const std::int64_t dims = from.defined() ? from.dim() : 0;
    if (dims < 4 || from.size(dims - 1) != head_dim || from.size(dims - 2) != kv_heads) return;
    bytes += from.numel() * from.element_size();
  }
  static std::unique_ptr<at::ObserverContext> count(const at::RecordFunction& function) {
    const std::string name = function.name();
    const c10::ArrayRef<const c10::IValue> inputs = function.inputs();
    if (name == "aten::copy_") {
      add(inputs[1].toTensor());
    } else if (name == "aten::index_select" || name == "aten::repeat_interleave") {
      add(inputs[0].toTensor());
    } else if (name == "aten::cat") {
      for (const at::Tensor& each : inputs[0].toTensorVector()) add(each);
    }
    return nullptr;
  }

  at::CallbackHandle handle_;
};

// Below one ancestor a walk copies no keys and values: neither for siblings that are skipped or
// stepped, nor to attend to them, with one node at a time or with one sequence.
TEST(Gemma3nFold, AWalkBelowAnAncestorCopiesNoKeysAndValues) {
  at::set_num_threads(1);
  const at::NoGradGuard no_grad;
  const TinyGemma3n tiny = test::tiny_gemma3n("base");
  const NestedModel model = family_of(tiny.config).describe(tiny.config, {});
  const Gemma3nConfig config = parse_gemma3n_config(tiny.config, {});
  LoadedGemma3n loaded(model, tiny.tensors(), at::kFloat);
  {
    const CopiedHeads counted(config);
    at::randn({2, 3, config.kv_heads, config.head_dim}).clone();
    EXPECT_EQ(CopiedHeads::bytes, 2 * 3 * 2 * 16 * 4) << "the counter counts";
  }
  for (const std::int64_t sequences : {1, 3}) {
    auto [state, givens] = loaded.fold().embed({tokens_of(model).repeat({sequences, 1})});
    for (std::size_t layer = 0; layer < model.layers(); ++layer) {
      const bool consumes = !config.has_own_kv(layer);
      if (!consumes || sequences > 1) state = state.narrow(state.nodes() - 1, 1);
      Children children;
      for (std::int64_t parent = 0; parent < state.nodes(); ++parent) {
        if (model.space.layers[layer].may_skip) children.add(parent, kSkip);
        children.add(parent, 48);
        children.add(parent, 96);
      }
      const CopiedHeads counted(config);
      state = step_layer(loaded.fold(), layer, givens, state, children);
      if (consumes) EXPECT_EQ(CopiedHeads::bytes, 0) << sequences << " sequences, layer " << layer;
    }
    ASSERT_EQ(state.held.size(), 4u);
    for (const Held& nodes : state.held) {
      EXPECT_EQ(std::ssize(nodes), state.nodes());
      EXPECT_TRUE(nodes.front().is_same(nodes.back()));
    }
  }
}

TEST(Gemma3nFold, ComputesWhatTransformersComputes) {
  at::set_num_threads(1);  // the tensors are tiny
  if (!test::python_has("transformers")) GTEST_SKIP() << test::kNoPython;
  const TempDir scratch;
  const fs::path cases = scratch / "cases";
  for (const TinyGemma3n& tiny : test::tiny_gemma3ns()) {
    const OpenedModel opened = open_model(tiny.write(cases / tiny.name / "full"));
    const std::vector<Widths> all = submodels_of(opened.model);
    for (std::size_t i = 0; i < all.size(); ++i) {
      SCOPED_TRACE(tiny.name + " " + to_string(all[i]));
      const fs::path place = cases / tiny.name / std::to_string(i);
      check(opened, tiny.tensors(), all[i], place, i % 2 == 1);
      if (i == 1 && is_judged_in_bf16(tiny.name)) {
        write_bf16(opened, tiny.tensors(), all[i], place / "bf16.json");
      }
    }
  }
  EXPECT_EQ(test::python_failure("families/gemma3n_check.py", {cases}, scratch), "");
}

}  // namespace
}  // namespace mnm
