#include "fold/evaluator.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <functional>
#include <limits>
#include <memory>
#include <numeric>
#include <random>

#include "dataset/task_examples.h"
#include "dataset/tokens.h"
#include "eval/prefix_tree.h"
#include "eval/task_scores.h"
#include "fold/launch.h"
#include "kernels/failure.h"
#include "tests/fold/toy_fold.h"
#include "tests/support/error_of.h"
#include "tests/support/losing_device.h"
#include "tests/support/tasks.h"
#include "tests/support/temp_dir.h"

namespace mnm {
namespace {

using test::contains;
using test::error_of;
using test::toy_model;
using test::ToyFold;
using test::ToyShape;

constexpr double kEpsilon = 1.0 / (1 << 24);  // half a unit in the last place of f32 at 1

TokenExamples random_data(std::int64_t sequences, std::int64_t context, std::int64_t vocab) {
  TokenExamples data;
  data.count = sequences;
  data.context = context;
  std::mt19937 random(7);
  for (std::int64_t i = 0; i <= sequences * context; ++i) {
    data.tokens.push_back(static_cast<std::int32_t>(random() % static_cast<unsigned>(vocab)));
  }
  return data;
}

std::vector<Widths> grid(const WidthSpace& space) {
  std::vector<Widths> all = {{}};
  for (std::size_t layer = 0; layer < space.layers.size(); ++layer) {
    std::vector<Widths> longer;
    for (const Widths& widths : all) {
      for (const Width width : space.choices(layer)) {
        longer.push_back(widths);
        longer.back().push_back(width);
      }
    }
    all = std::move(longer);
  }
  return all;
}

std::vector<Widths> draw(const std::vector<Widths>& from, std::size_t n, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<Widths> drawn;
  for (std::size_t i = 0; i < n; ++i) drawn.push_back(from[random() % from.size()]);
  return drawn;
}

// log p of every word at every position of one sequence, without plan, batches or chunks; a layer
// that is skipped is left out.
at::Tensor log_p(Fold& fold, const Widths& widths, const std::vector<std::int64_t>& input) {
  const auto [root, givens] = fold.embed({at::tensor(input, at::kLong).unsqueeze(0)});
  State state = root;
  for (std::size_t l = 0; l < widths.size(); ++l) {
    if (widths[l] == kSkip) continue;
    Children child;
    child.add(0, widths[l]);
    state = fold.step(l, givens, state, child);
  }
  return at::log_softmax(fold.logits(fold.readout(state).flatten(0, 2)), 1);
}

CandidateScores plainly(Fold& fold, const NestedModel& model, const Widths& widths,
                        const TokenExamples& data) {
  CandidateScores scores;
  std::vector<std::int64_t> input(static_cast<std::size_t>(data.context)), target = input;
  for (std::int64_t s = 0; s < data.count; ++s) {
    data.read_inputs(s, 1, std::as_writable_bytes(std::span(input)));
    data.read_targets(s, 1, target);
    const at::Tensor mine = log_p(fold, widths, input);
    const at::Tensor full = log_p(fold, model.space.full(), input);
    const auto mean = [&](const at::Tensor& x) {
      at::Tensor scored = x.flatten();
      if (!data.scored.empty()) {
        const auto first = data.scored.begin() + s * data.targets();
        const std::vector<std::int64_t> drawn(first, first + data.targets());
        scored = scored.index_select(0, at::tensor(drawn, at::kLong));
      }
      return static_cast<float>(scored.mean().item<double>());
    };
    const at::Tensor targets = at::tensor(target, at::kLong);
    const auto add = [&](Metric metric, const at::Tensor& of_tokens) {
      scores[metric].push_back(mean(of_tokens.to(at::kDouble)));
    };
    add(Metric::kLoss, mine.gather(1, targets.unsqueeze(1)).neg());
    add(Metric::kAccuracy, mine.argmax(1).eq(targets));
    add(Metric::kKl, full.exp().mul(full - mine).sum(1));
    add(Metric::kAgreement, full.argmax(1).eq(mine.argmax(1)));
    add(Metric::kAcceptance, at::minimum(full, mine).exp().sum(1));
  }
  return scores;
}

// Everything up to the logits is double. Rounded to f32 they move by epsilon * |logit| each, the
// loss by at most twice that; its own sums and logarithm add a few epsilon of the values in them.
// |logit| <= 0.6 * 4 sigma * sqrt(9) * sqrt(9) of a normalised row < 32.
constexpr double kLossTolerance = (2 + 4) * 32 * kEpsilon;
// A Kullback-Leibler divergence is a mean of 13 such differences, each with two of them.
constexpr double kKlTolerance = 2 * kLossTolerance;

void expect_same(const std::vector<float>& a, const std::vector<float>& b, double tolerance,
                 const std::string& what) {
  ASSERT_EQ(a.size(), b.size()) << what;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (std::isnan(b[i])) {
      EXPECT_TRUE(std::isnan(a[i])) << what << ", sequence " << i << ": " << a[i];
    } else {
      EXPECT_NEAR(a[i], b[i], tolerance) << what << ", sequence " << i;
    }
  }
}

void expect_same(const std::vector<CandidateScores>& a, const std::vector<CandidateScores>& b,
                 const std::vector<Widths>& candidates) {
  ASSERT_EQ(a.size(), b.size());
  for (std::size_t i = 0; i < a.size(); ++i) {
    const std::string name = to_string(candidates[i]);
    for (const MetricRow& row : metric_table()) {
      // Acceptance: a sum of at most one of exponentials of differences as the loss is.
      const bool counted = row.metric == Metric::kAccuracy || row.metric == Metric::kAgreement;
      expect_same(a[i][row.metric], b[i][row.metric], counted ? 0 : kKlTolerance,
                  name + " " + std::string(row.name));
    }
  }
}

// One thread, but where threads are the question: the tensors are tiny.
class Evaluator : public ::testing::Test {
 protected:
  void SetUp() override { at::set_num_threads(1); }
};

struct Setting {
  ToyShape shape;
  std::int64_t sequences = 5, context = 7;
};

std::vector<Setting> settings() {
  return {{{}, 5, 7},               // several parents a step
          {{.widths = {3}}, 2, 4},  // nothing to choose
          {{.layers = 1}, 3, 5},
          {{.may_skip = true}, 4, 6},
          {{.hidden = 4, .vocab = 2}, 3, 9},
          {{.layers = 2}, 2, 600},                 // one sequence a step
          {{.layers = 2, .vocab = 1500}, 2, 200},  // a sequence longer than a chunk of logits

          {{}, 1, 1}};
}

TEST_F(Evaluator, AgreesWithThePlainLoopAndWithOneByOne) {
  for (const Setting& setting : settings()) {
    const NestedModel model = toy_model(setting.shape);
    ToyFold fold(model, 3);
    const TokenExamples data = random_data(setting.sequences, setting.context, setting.shape.vocab);
    const std::vector<Widths> all = grid(model.space);
    std::vector<std::vector<Widths>> sets = {
        {}, draw(all, 1, 1), {all.front(), all.front()}, draw(all, 2, 2), draw(all, 9, 3)};
    if (data.context * data.count < 100) sets.push_back(all);
    for (const std::vector<Widths>& candidates : sets) {
      std::vector<CandidateScores> plain;
      for (const Widths& widths : candidates) plain.push_back(plainly(fold, model, widths, data));
      for (const bool one_by_one : {false, true}) {
        expect_same(
            score_candidates(fold, model, at::kCPU, candidates, data,
                             {.metrics = {Metric::kAcceptance}, .one_by_one = one_by_one}, {}, {}),
            plain, candidates);
      }
      for (CandidateScores& scores : plain) {
        scores[Metric::kKl] = scores[Metric::kAgreement] = scores[Metric::kAcceptance] = {};
      }
      expect_same(score_candidates(fold, model, at::kCPU, candidates, data, {}, {}, {}), plain,
                  candidates);
    }
  }
}

TEST_F(Evaluator, ScoresTheDrawnPositionsAlone) {
  for (const Setting& setting : settings()) {
    const NestedModel model = toy_model(setting.shape);
    ToyFold fold(model, 3);
    TokenExamples data = random_data(setting.sequences, setting.context, setting.shape.vocab);
    for (std::int64_t s = 0; s < data.count; ++s) {
      const auto drawn = draw_positions({.denominator = 3}, data.context, s);
      data.scored.insert(data.scored.end(), drawn.begin(), drawn.end());
    }
    const std::vector<Widths> candidates = draw(grid(model.space), 6, 3);
    std::vector<CandidateScores> plain;
    for (const Widths& widths : candidates) {
      plain.push_back(plainly(fold, model, widths, data));
      plain.back()[Metric::kAcceptance].clear();  // not asked for: it takes a second pass
    }
    const StreamLimits stream = {0, std::filesystem::temp_directory_path(), 1u << 30};
    for (const bool streamed : {false, true}) {
      EvaluatorLimits limits;
      if (streamed) limits.stream = stream;
      fold.loaded.assign(model.layers(), !streamed);
      double total = 0;
      expect_same(score_candidates(fold, model, at::kCPU, candidates, data,
                                   {.metrics = {Metric::kKl}}, limits,
                                   [&](const Progress& progress) {
                                     total = progress.total;
                                     return true;
                                   }),
                  plain, candidates);
      if (streamed) continue;
      const double share = static_cast<double>(data.targets()) / static_cast<double>(data.context);
      const PlanCost all = cost_of(make_prefix_tree(candidates), model, data.context);
      const std::vector<Widths> full = {model.space.full()};
      const PlanCost one = cost_of(make_prefix_tree(full), model, data.context);
      EXPECT_NEAR(total,
                  static_cast<double>(data.count * data.context) *
                      (all.shared + one.shared - (1 - share) * (all.readout + one.readout)),
                  1e-9 * total);
    }
  }
}

// Answers one by one, without rows, filling or sums of runs.
TEST_F(Evaluator, ScoresTheAnswersOfATask) {
  const test::TempDir directory;
  std::string questions, texts;
  for (int i = 0; i < 12; ++i) {
    const std::string context(static_cast<std::size_t>(7 * i % 11), static_cast<char>('a' + i));
    questions += R"({"context": ")" + context + R"(", "choices": ["y", "n", "a longer one"], )" +
                 R"("gold": )" + std::to_string(i % 3) + "}\n";
    texts += R"({"text": ")" + context + context + context + R"( and more"})" + "\n";
  }
  const NestedModel model = toy_model({.vocab = 258});
  ToyFold fold(model, 3);
  const std::vector<Widths> candidates = draw(grid(model.space), 6, 3);
  for (const std::string& lines : {questions, texts}) {
    write_task_file(directory / "q.task", test::letter_task(lines, {.window = 24, .prefix = 0}));
    ExampleOptions options{directory / "q.task"};
    options.may_be_task = true;
    const auto data = load_examples(options, model);
    const TaskFile& task = *dynamic_cast<const TaskExamples&>(*data).task;
    std::vector<CandidateScores> plain;
    fold.loaded.assign(model.layers(), true);
    for (const Widths& widths : candidates) {
      CandidateScores sums;
      for (std::int64_t answer = 0; answer < task.answers(); ++answer) {
        const auto tokens = task.tokens_of(answer);
        const std::vector<std::int64_t> input(tokens.begin(), tokens.end() - 1);
        const std::vector<std::int64_t> target(tokens.begin() + 1, tokens.end());
        const at::Tensor targets = at::tensor(target, at::kLong);
        const at::Tensor mine = log_p(fold, widths, input);
        const at::Tensor full = log_p(fold, model.space.full(), input);
        const auto add = [&](Metric metric, const at::Tensor& of_tokens) {
          const std::int64_t scored = task.scored[static_cast<std::size_t>(answer)];
          const at::Tensor last = of_tokens.flatten().to(at::kDouble);
          sums[metric].push_back(static_cast<float>(
              last.narrow(0, last.size(0) - scored, scored).sum().item<double>()));
        };
        add(Metric::kLoss, mine.gather(1, targets.unsqueeze(1)).neg());
        add(Metric::kAccuracy, mine.argmax(1).eq(targets));
        add(Metric::kKl, full.exp().mul(full - mine).sum(1));
        add(Metric::kAgreement, full.argmax(1).eq(mine.argmax(1)));
      }
      std::vector<std::int64_t> documents(static_cast<std::size_t>(task.documents()));
      std::iota(documents.begin(), documents.end(), 0);
      plain.push_back(document_scores(task, documents, sums));
    }
    for (const bool streamed : {false, true}) {
      EvaluatorLimits limits;
      if (streamed)
        limits.stream = StreamLimits{0, std::filesystem::temp_directory_path(), 1 << 30};
      fold.loaded.assign(model.layers(), !streamed);
      expect_same(score_candidates(fold, model, at::kCPU, candidates, *data,
                                   {.metrics = {Metric::kKl}}, limits, {}),
                  plain, candidates);
    }
  }
}

TEST_F(Evaluator, ComputesNothingTwice) {
  const NestedModel model = toy_model({});
  ToyFold fold(model, 3);
  const TokenExamples data = random_data(6, 300, 13);
  const std::vector<Widths> all = grid(model.space);
  score_candidates(fold, model, at::kCPU, all, data, {}, {}, {});
  EXPECT_EQ(fold.nodes_stepped, (1 + 4 + 16) * data.count);
}

TEST_F(Evaluator, AMemoryLimitChangesNothingButTheSpeed) {
  const NestedModel model = toy_model({.vocab = 700});
  ToyFold fold(model, 5);
  const TokenExamples data = random_data(9, 40, 700);
  const std::vector<Widths> candidates = draw(grid(model.space), 20, 1);
  const ScoreOptions options = {.metrics = {Metric::kKl}};
  const auto unsplit = score_candidates(fold, model, at::kCPU, candidates, data, options, {}, {});
  const std::int64_t steps = fold.nodes_stepped, rows = fold.widest_logits;

  // From ample to the least that one sequence of one candidate needs.
  std::uint64_t memory = 1u << 22;
  for (std::string refused; refused.empty(); memory = memory * 2 / 3) {
    fold.widest_logits = 0;
    refused = error_of([&] {
      expect_same(score_candidates(fold, model, at::kCPU, candidates, data, options, {memory}, {}),
                  unsplit, candidates);
    });
    EXPECT_TRUE(refused.empty() || contains(refused, "allow more memory")) << refused;
  }
  EXPECT_LT(memory, 1u << 18);
  EXPECT_GT(rows, 16);               // the limit did bite:
  EXPECT_EQ(fold.widest_logits, 0);  // the last was refused before any work
  EXPECT_GT(fold.nodes_stepped, 2 * steps);
}

TEST_F(Evaluator, ThreadsChangeNothingButTheSpeed) {
  const NestedModel model = toy_model({});
  ToyFold fold(model, 5);
  const ScoreOptions options = {.metrics = {Metric::kKl}};
  for (const std::int64_t sequences : {2, 7, 70}) {  // fewer than threads, a few, many
    const TokenExamples data = random_data(sequences, 30, 13);
    const std::vector<Widths> candidates = draw(grid(model.space), 5, 1);
    at::set_num_threads(1);
    fold.nodes_stepped = 0;
    const auto alone = score_candidates(fold, model, at::kCPU, candidates, data, options, {}, {});
    const std::int64_t steps = fold.nodes_stepped;
    // With the least memory, one walk at a time must do.
    for (const std::uint64_t memory : {1u << 30, 1u << 17, 1u << 16}) {
      at::set_num_threads(3);
      fold.nodes_stepped = 0;
      expect_same(score_candidates(fold, model, at::kCPU, candidates, data, options, {memory}, {}),
                  alone, candidates);
      if (memory == 1u << 30) {
        EXPECT_EQ(fold.nodes_stepped, steps) << "something was computed twice";
      }
    }
    EXPECT_THROW(score_candidates(fold, model, at::kCPU, candidates, data, options, {},
                                  [](const Progress&) { return false; }),
                 Stopped);
  }
}

TEST_F(Evaluator, NaNStaysWithItsCandidates) {
  const NestedModel model = toy_model({});
  ToyFold fold(model, 3);
  const TokenExamples data = random_data(3, 30, 13);
  const std::vector<Widths> all = grid(model.space);
  const auto sound = score_candidates(fold, model, at::kCPU, all, data, {}, {}, {});
  fold.weights["up.1"][9].fill_(std::numeric_limits<double>::quiet_NaN());
  const auto scores =
      score_candidates(fold, model, at::kCPU, all, data, {.metrics = {Metric::kKl}}, {}, {});
  for (std::size_t i = 0; i < all.size(); ++i) {
    for (std::size_t s = 0; s < 3; ++s) {
      EXPECT_EQ(std::isnan(scores[i][Metric::kLoss][s]), all[i][1] == 16) << to_string(all[i]);
      // The full model is among those: nothing can be compared with it.
      EXPECT_TRUE(std::isnan(scores[i][Metric::kKl][s])) << to_string(all[i]);
      EXPECT_TRUE(std::isnan(scores[i][Metric::kAgreement][s])) << to_string(all[i]);
      if (all[i][1] == 16) continue;
      EXPECT_NEAR(scores[i][Metric::kLoss][s], sound[i][Metric::kLoss][s], kLossTolerance);
    }
  }
}

// Where each submodel encodes its own database, one that computes NaN ends nothing.
TEST_F(Evaluator, ADatabaseThatIsNotFiniteIsItsSubmodelsOwnAffair) {
  NestedModel model = toy_model({});
  model.table.tensors.back().role = Role::kHead;
  ToyFold fold(model, 3);
  fold.weights["up.1"][9].fill_(std::numeric_limits<double>::quiet_NaN());
  ScoreOptions options;
  options.metrics = {Metric::kKnn};
  options.retrieval.emplace();
  options.retrieval->database = std::make_shared<const TokenExamples>(random_data(9, 1, 13));
  options.retrieval->encoder = DatabaseEncoder::kSubmodel;
  options.retrieval->depth = 2;
  const std::vector<Widths> candidates = {{2, 8, 2}, {2, 16, 2}, {4, 4, 4}};
  const auto scores =
      score_candidates(fold, model, at::kCPU, candidates, random_data(6, 1, 13), options, {}, {});
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    for (const MetricRow& row : metric_table()) {
      if (!row.needs_database) continue;
      ASSERT_EQ(scores[i][row.metric].size(), 6u) << row.name;
      for (const float value : scores[i][row.metric]) EXPECT_EQ(std::isnan(value), i == 1);
    }
  }
}

TEST_F(Evaluator, ReportsProgressInThePlansFlopsAndStopsWhenAsked) {
  const NestedModel model = toy_model({});
  ToyFold fold(model, 3);
  const TokenExamples data = random_data(4, 50, 13);
  const std::vector<Widths> all = grid(model.space);
  for (const bool one_by_one : {false, true}) {
    std::vector<Progress> seen;
    score_candidates(fold, model, at::kCPU, all, data, {.one_by_one = one_by_one}, {},
                     [&](const Progress& progress) {
                       seen.push_back(progress);
                       return true;
                     });
    const PlanCost cost = cost_of(make_prefix_tree(all), model, data.context);
    ASSERT_FALSE(seen.empty());
    EXPECT_EQ(seen.back().done, seen.back().total);
    EXPECT_DOUBLE_EQ(seen.back().total, 200 * (one_by_one ? cost.one_by_one : cost.shared));
    EXPECT_TRUE(std::ranges::is_sorted(seen, {}, &Progress::done));
  }
  EXPECT_THROW(score_candidates(fold, model, at::kCPU, all, data, {}, {},
                                [](const Progress&) { return false; }),
               Stopped);
}

// The ways in which a device says that it has no memory left.
struct Refusal {
  const char* what;
  std::function<void()> say;
};

std::vector<Refusal> refusals() {
  const c10::SourceLocation here = {__func__, __FILE__, __LINE__};
  return {{"LibTorch's allocator",
           [=] {
             throw c10::OutOfMemoryError(here, "CUDA out of memory. Tried to allocate 2.00 GiB");
           }},
          {"the driver, called by LibTorch",
           [=] { throw c10::AcceleratorError(here, 2, "CUDA error: out of memory"); }},
          {"the driver, called by a kernel's launcher",
           [] { launch(at::zeros({1}), "activate", [] { return kNoMemory; }); }},
          {"cuBLAS",
           [=] {
             throw c10::Error(
                 here, "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasSgemm( ...");
           }},
          {"cuBLAS, starting",
           [=] {
             throw c10::Error(
                 here,
                 "CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`");
           }},
          {"the host", [] { at::empty({std::int64_t{1} << 60}, at::kByte); }}};
}

// A device with room for so many rows of one step.
void limit_rows(ToyFold& fold, std::int64_t rows, const Refusal& refusal, std::atomic<int>& count) {
  fold.before_step = [rows, &refusal, &count](std::int64_t asked) {
    if (asked <= rows) return;
    ++count;
    refusal.say();
  };
}

class OutOfMemory : public Evaluator {
 protected:
  void SetUp() override {
    Evaluator::SetUp();
    expected_ = score(false);
  }
  std::vector<CandidateScores> score(bool streamed) {
    EvaluatorLimits limits;
    if (streamed) limits.stream = {0, std::filesystem::temp_directory_path(), 1u << 30};
    fold_.loaded.assign(3, !streamed);
    last_ = 0;
    return score_candidates(fold_, model_, at::kCPU, candidates_, data_, {.metrics = {Metric::kKl}},
                            limits, [&](const Progress& progress) {
                              last_ = progress.done / progress.total;
                              return true;
                            });
  }

  NestedModel model_ = toy_model({});
  ToyFold fold_{model_, 5};
  TokenExamples data_ = random_data(24, 100, 13);
  std::vector<Widths> candidates_ = draw(grid(model_.space), 20, 1);
  std::vector<CandidateScores> expected_;
  double last_ = 0;  // the share that was done when progress was told last
};

TEST_F(OutOfMemory, HalvesTheBatchAndGoesOn) {
  const std::vector<Refusal> all = refusals();
  for (const bool streamed : {false, true}) {
    for (const int threads : {1, 3}) {
      at::set_num_threads(threads);
      // From one refusal to a single child of a single sequence.
      for (const std::int64_t rows : {2000, 500, 100}) {
        std::atomic<int> count = 0;
        limit_rows(fold_, rows, all.front(), count);
        expect_same(score(streamed), expected_, candidates_);
        EXPECT_GT(count, 0);
        EXPECT_LT(count, 60) << "halving ends soon";
        EXPECT_EQ(last_, 1);
      }
      std::atomic<int> count = 0;
      limit_rows(fold_, 99, all.front(), count);
      EXPECT_THROW(score(streamed), c10::OutOfMemoryError) << "there is no half of the least";
    }
  }
}

TEST_F(OutOfMemory, DoesSoHoweverTheDeviceSaysIt) {
  for (const Refusal& refusal : refusals()) {
    for (const bool streamed : {false, true}) {
      std::atomic<int> count = 0;
      limit_rows(fold_, 500, refusal, count);
      try {
        expect_same(score(streamed), expected_, candidates_);
      } catch (const std::exception& error) {
        ADD_FAILURE() << refusal.what << ": " << error.what();
      }
      EXPECT_GT(count, 0) << refusal.what;
    }
  }
}

TEST_F(OutOfMemory, ALostDeviceIsNotTriedAgain) {
  for (const test::Failure& failure : test::failures()) {
    const Refusal lost = {"lost", [&] {
                            test::lose_device();
                            failure.say();
                          }};
    for (const bool streamed : {false, true}) {
      std::atomic<int> count = 0;
      limit_rows(fold_, 500, lost, count);
      EXPECT_THROW(score(streamed), c10::Error) << failure.what;
      EXPECT_EQ(count, 1) << failure.what;
      test::find_device();
    }
  }
}

}  // namespace
}  // namespace mnm
