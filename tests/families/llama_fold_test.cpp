// The Llama fold's two routes: every child alone with LibTorch's own operators, in double, against
// siblings from one pass, in double and, with the CPU kernels, in f32.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

#include "families/family.h"
#include "fold/fold.h"
#include "fold/layer_step.h"
#include "tests/support/tiny_llama.h"

namespace mnm {
namespace {

using test::TinyLlama;

// Every variant, and shapes for which the attention kernel is there (head_dim a multiple of 16).
std::vector<TinyLlama> variants() {
  std::vector<TinyLlama> all = test::tiny_llamas();
  const std::size_t small = all.size();
  for (const std::int64_t head_dim : {16, 32, 48}) {
    for (const std::int64_t kv_heads : {4, 2, 1}) {
      TinyLlama& llama = all.emplace_back(all[all.size() % small]);
      llama.name += " with heads of " + std::to_string(head_dim);
      llama.head_dim = head_dim;
      llama.kv_heads = kv_heads;
    }
  }
  for (const bool most : {false, true}) {
    TinyLlama& llama = all.emplace_back();
    llama.name = most ? "compensated beside biases" : "compensated";
    llama.compensated = true;
    llama.mlp_bias = llama.act_of_product = most;
  }
  return all;
}

// A model with its weights in a type.
class LoadedLlama {
 public:
  LoadedLlama(const TinyLlama& llama, at::ScalarType type)
      : model_(family_of(llama.config()).describe(llama.config(), {})) {
    for (const test::TestTensor& tensor : llama.tensors()) {
      weights_[tensor.name] = at::tensor(tensor.values).view(tensor.shape).to(type);
    }
    fold_ = make_fold({model_, [this](const std::string& name) { return weights_.at(name); }});
  }
  Fold& fold() { return *fold_; }
  const NestedModel& description() const { return model_; }

 private:
  NestedModel model_;
  std::map<std::string, at::Tensor> weights_;
  std::unique_ptr<Fold> fold_;
};

// Children of each of `parents` nodes: all widths, every other, or the widest alone.
Children children_of(std::int64_t parents, const LayerChoices& choices) {
  Children children;
  for (std::int64_t parent = 0; parent < parents; ++parent) {
    for (std::size_t i = 0; i < choices.granularities.size(); ++i) {
      const bool last = i + 1 == choices.granularities.size();
      if (last || parent % 3 == 0 || (parent % 3 == 1 && i % 2 == 0)) {
        children.add(parent, choices.granularities[i]);
      }
    }
  }
  return children;
}

// Logits of the whole tree: [leaves, sequences, tokens, vocab], in double.
at::Tensor run(LoadedLlama& model, const Batch& batch) {
  const auto [root, givens] = model.fold().embed(batch);
  State state = root;
  for (std::size_t layer = 0; layer < model.description().layers(); ++layer) {
    state = model.fold().step(layer, givens, state,
                              children_of(state.nodes(), model.description().space.layers[layer]));
  }
  const at::Tensor hidden = model.fold().readout(state);
  return model.fold().logits(hidden.flatten(0, 2)).to(at::kDouble);
}

// A product of length n is off by n epsilon of its terms; on a path there are, per layer, products
// over hidden (q k v, gate, up), head_dim, tokens, q and the width, and their errors enter the next
// layer at the scale of a normalised state.
double roundings(const TinyLlama& llama, std::int64_t tokens) {
  return static_cast<double>(llama.layers + 1) *
         static_cast<double>(3 * llama.hidden + llama.head_size() + tokens +
                             llama.heads * llama.head_size() + llama.full);
}

void expect_siblings_as_alone(const TinyLlama& llama, std::int64_t sequences, std::int64_t length) {
  const at::Tensor tokens = at::arange(sequences * length, at::kLong)
                                .mul(7919)
                                .remainder(llama.vocab)
                                .view({sequences, length});
  at::set_num_threads(1);  // the tensors are tiny; the kernels get two
  LoadedLlama exact(llama, at::kDouble), single(llama, at::kFloat);
  const at::Tensor alone = run(exact, {tokens});  // gradients are on: the differentiable form
  const at::NoGradGuard no_grad;
  const at::Tensor shared = run(exact, {tokens});
  at::set_num_threads(2);
  const at::Tensor kernels = run(single, {tokens});
  ASSERT_EQ(alone.sizes(), shared.sizes());
  const double size = alone.abs().max().item<double>();
  const double error = roundings(llama, length) * size;
  EXPECT_LE((shared - alone).abs().max().item<double>(), error * 0x1p-53) << llama.name;
  EXPECT_LE((kernels - alone).abs().max().item<double>(), error * 0x1p-24) << llama.name;
}

TEST(LlamaFold, SiblingsFromOnePassAreEachChildAlone) {
  for (const TinyLlama& llama : variants()) {
    expect_siblings_as_alone(llama, 1, 1);
    expect_siblings_as_alone(llama, 2, 21);
  }
}

// Of 256 rows where the activations stay in cache, of 1,024 in wider layers.
TEST(LlamaFold, SiblingsAreTheSameInBlocksOfRows) {
  TinyLlama llama;
  llama.name = "blocks";
  llama.layers = 2;
  llama.head_dim = 16;
  llama.positions = 600;
  for (const int full : {32, 520}) {
    llama.full = full;
    llama.granularities = {8, full};
    expect_siblings_as_alone(llama, 2, llama.positions);
  }
}

// Two examples: five tokens that three branches of 4, 0 and 9 share, and one sequence of 7 with
// filling behind it. Each branch's logits are those of its tokens as a sequence of its own.
TEST(LlamaFold, BranchesAreTheSequencesThatTheyStandFor) {
  const std::int64_t context = 18, longest = 14;
  const std::vector<std::vector<std::int64_t>> branches = {
      {0, 1, 2, 3, 4, 5, 6, 7, 8},
      {0, 1, 2, 3, 4},
      {0, 1, 2, 3, 4, 9, 10, 11, 12, 13, 14, 15, 16, 17},
      {18, 19, 20, 21, 22, 23, 24}};
  at::Tensor sequences = at::zeros({4, longest}, at::kLong), places = at::zeros({36}, at::kLong);
  for (std::int64_t b = 0; b < 4; ++b) {
    const std::vector<std::int64_t>& branch = branches[static_cast<std::size_t>(b)];
    for (std::int64_t i = 0; i < static_cast<std::int64_t>(branch.size()); ++i) {
      sequences[b][i] = branch[static_cast<std::size_t>(i)];
      places[branch[static_cast<std::size_t>(i)]] = b * longest + i;
    }
  }
  const at::NoGradGuard no_grad;
  at::set_num_threads(1);
  for (const TinyLlama& llama : variants()) {
    const at::Tensor tokens =
        at::arange(2 * context, at::kLong).mul(7919).remainder(llama.vocab).view({2, context});
    for (const auto& [type, epsilon] :
         {std::pair{at::kDouble, 0x1p-53}, std::pair{at::kFloat, 0x1p-24}}) {
      LoadedLlama model(llama, type);
      Batch batch{tokens};
      batch.sequences = sequences;
      batch.places = places;
      const at::Tensor together = run(model, batch).view({-1, 2 * context, llama.vocab});
      for (const std::vector<std::int64_t>& branch : branches) {
        const at::Tensor index = at::tensor(branch, at::kLong);
        const at::Tensor alone = run(model, {tokens.flatten().index_select(0, index).unsqueeze(0)})
                                     .view({-1, index.size(0), llama.vocab});
        const double error = roundings(llama, longest) * alone.abs().max().item<double>();
        EXPECT_LE((together.index_select(1, index) - alone).abs().max().item<double>(),
                  2 * error * epsilon)  // both are off
            << llama.name << ", a branch of " << branch.size();
      }
    }
  }
}

// Logits of one candidate, the tokens given in chunks of those lengths: [sequences, tokens, vocab].
at::Tensor extend(LoadedLlama& model, const Widths& widths, const at::Tensor& tokens,
                  const std::vector<std::int64_t>& chunks) {
  std::vector<LayerCache> caches(widths.size());
  std::vector<at::Tensor> logits;
  std::int64_t position = 0;
  for (const std::int64_t chunk : chunks) {
    const auto [root, givens] = model.fold().embed({tokens.narrow(1, position, chunk)});
    State state = root;
    for (std::size_t layer = 0; layer < widths.size(); ++layer) {
      state = extend_layer(model.fold(), layer, givens, state, widths[layer], position, caches);
    }
    const at::Tensor hidden = model.fold().readout(state);
    logits.push_back(model.fold()
                         .logits(hidden.flatten(0, 2))
                         .view({tokens.size(0), chunk, -1})
                         .to(at::kDouble));
    position += chunk;
  }
  return at::cat(logits, 1);
}

TEST(LlamaFold, ExtendingInAnyChunksIsSteppingOnTheWhole) {
  const std::int64_t length = 23;
  const std::vector<std::vector<std::int64_t>> ways = {
      {23}, {22, 1}, {1, 22}, {7, 1, 8, 1, 6}, std::vector<std::int64_t>(23, 1)};
  for (const TinyLlama& llama : variants()) {
    const at::NoGradGuard no_grad;
    at::set_num_threads(2);
    LoadedLlama exact(llama, at::kDouble), single(llama, at::kFloat);
    Widths widths;
    for (const LayerChoices& layer : exact.description().space.layers) {
      const std::size_t choices = layer.granularities.size();
      widths.push_back(layer.granularities[(widths.size() + 1) % choices]);
    }
    for (const std::int64_t sequences : {1, 3}) {
      const at::Tensor tokens = at::arange(sequences * length, at::kLong)
                                    .mul(7919)
                                    .remainder(llama.vocab)
                                    .view({sequences, length});
      const State state = step_layers(exact.fold(), exact.fold().embed({tokens}), widths);
      const at::Tensor whole = exact.fold()
                                   .logits(exact.fold().readout(state).flatten(0, 2))
                                   .view({sequences, length, -1});
      const double error = roundings(llama, length) * whole.abs().max().item<double>();
      for (const std::vector<std::int64_t>& chunks : ways) {
        EXPECT_LE((extend(exact, widths, tokens, chunks) - whole).abs().max().item<double>(),
                  error * 0x1p-53)
            << llama.name << ", " << chunks.size() << " chunks";
        EXPECT_LE((extend(single, widths, tokens, chunks) - whole).abs().max().item<double>(),
                  error * 0x1p-24)
            << llama.name << ", " << chunks.size() << " chunks";
      }
    }
  }
}

// A cache that were copied for every token would cost the square of the tokens. What is written
// stays where it is.
TEST(LlamaFold, ItsCacheGrowsByBlocks) {
  TinyLlama llama = test::tiny_llamas().front();
  llama.positions = 1 << 20;
  const at::NoGradGuard no_grad;
  LoadedLlama model(llama, at::kFloat);
  LayerCache cache;
  const void* keys = nullptr;
  const std::int64_t tokens = 700, block = 64;
  for (std::int64_t position = 0; position < tokens; ++position) {
    const auto [state, givens] =
        model.fold().embed({at::full({1, 1}, position % llama.vocab, at::kLong)});
    extend_layer(model.fold(), 0, givens, state, static_cast<Width>(llama.full), position,
                 {&cache, 1});
    const void* const now = cache.tensors.at(0).const_data_ptr();
    EXPECT_TRUE(keys == nullptr || now == keys) << position;
    keys = now;
    EXPECT_EQ(std::ssize(cache.tensors), 2 * (position / block + 1));
  }
  // A copy shares the full blocks, and gets the last one for itself when it goes on.
  LayerCache copy = cache;
  const auto [state, givens] = model.fold().embed({at::full({1, 1}, 1, at::kLong)});
  extend_layer(model.fold(), 0, givens, state, static_cast<Width>(llama.full), tokens, {&copy, 1});
  EXPECT_EQ(copy.tensors.front().const_data_ptr(), keys);
  EXPECT_NE(copy.tensors.back().const_data_ptr(), cache.tensors.back().const_data_ptr());
}

}  // namespace
}  // namespace mnm
