#include "train/trainer.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>
#include <memory>
#include <string>

#include "base/error.h"
#include "base/file.h"
#include "families/family.h"
#include "families/open_model.h"
#include "model/safetensors.h"
#include "tests/support/python.h"
#include "tests/support/temp_dir.h"
#include "tests/support/tensors.h"
#include "train/optimizer.h"

namespace mnm {
namespace {

namespace fs = std::filesystem;

nlohmann::json tiny_config() {
  return {{"model_type", "llama"},
          {"architectures", {"LlamaForCausalLM"}},
          {"vocab_size", 16},
          {"hidden_size", 16},
          {"num_hidden_layers", 2},
          {"num_attention_heads", 2},
          {"num_key_value_heads", 1},
          {"intermediate_size", 32},
          {"hidden_act", "silu"},
          {"rms_norm_eps", 1e-5},
          {"max_position_embeddings", 64},
          {"tie_word_embeddings", false},
          {"initializer_range", 0.05},
          {"dtype", "bfloat16"},
          {"matformer_granularities", {8, 16, 32}}};
}

nlohmann::json tiny_mamba_config() {
  return {{"model_type", "mamba2"},
          {"architectures", {"Mamba2ForCausalLM"}},
          {"vocab_size", 16},
          {"hidden_size", 16},
          {"num_hidden_layers", 2},
          {"num_heads", 4},
          {"head_dim", 8},
          {"state_size", 8},
          {"n_groups", 1},
          {"expand", 2},
          {"conv_kernel", 3},
          {"chunk_size", 8},
          {"use_bias", false},
          {"use_conv_bias", true},
          {"layer_norm_epsilon", 1e-5},
          {"tie_word_embeddings", true},
          {"initializer_range", 0.5},
          {"dtype", "bfloat16"},
          {"matformer_granularities", {4, 8, 16}}};
}

class TrainerTest : public ::testing::Test {
 protected:
  TrainerTest() {
    // A sequence that a model can learn: token t + 1 is a fixed function of token t and t - 1.
    std::string tokens;
    unsigned a = 1, b = 3;
    for (int i = 0; i < 4000; ++i) {
      tokens += static_cast<char>(a);
      const unsigned next = (5 * a + 3 * b + 1) % 16;
      b = a;
      a = next;
    }
    std::ofstream(dir_.path() / "tokens.bin", std::ios::binary) << tokens;
    model_ = family_of(tiny_config()).describe(tiny_config(), {});
    settings_.data = dir_.path() / "tokens.bin";
    settings_.validation = settings_.data;
    settings_.validation_tokens = 256;
    settings_.steps = 60;
    settings_.batch = 4;
    settings_.context = 32;
    settings_.learning_rate = 1e-2;
    settings_.warmup = 5;
    settings_.report_every = 20;
    settings_.checkpoint_every = 10;
    at::set_num_threads(1);  // train_nested() leaves threads to the engine
  }

  // Trains in `name`, stopping at the report of step `stop_at` (0: never); the reports.
  std::vector<TrainReport> train(const std::string& name, std::int64_t stop_at = 0) {
    TrainSettings settings = settings_;
    settings.directory = dir_.path() / name;
    std::vector<TrainReport> reports;
    try {
      TrainSink sink;
      sink.report = [&](const TrainReport& report) { reports.push_back(report); };
      sink.progress = [&](const Progress& progress) {
        return static_cast<std::int64_t>(progress.done) != stop_at;
      };
      train_nested(model_, settings, device_, sink);
      EXPECT_EQ(stop_at, 0);
    } catch (const Stopped&) {
      EXPECT_NE(stop_at, 0);
    }
    return reports;
  }

  std::string weights(const std::string& name) const {
    return read_text(dir_.path() / name / "model" / "model.safetensors");
  }

  std::string error(const std::string& name) {
    try {
      train(name);
    } catch (const Error& e) {
      return e.what();
    }
    return "";
  }

  test::TempDir dir_;
  NestedModel model_;
  TrainSettings settings_;
  DeviceOptions device_;
};

TEST_F(TrainerTest, EveryGranularityLearns) {
  const auto reports = train("run");
  ASSERT_EQ(reports.size(), 3u);
  for (std::size_t level = 0; level < 3; ++level) {
    EXPECT_LT(reports.back().validation_loss[level], 0.7 * std::log(16.0)) << level;
    EXPECT_LT(reports.back().validation_loss[level], reports.front().validation_loss[level]);
  }
  EXPECT_EQ(reports.back().step, 60);
  EXPECT_EQ(reports.back().seconds_left, 0);
}

TEST_F(TrainerTest, EveryFamilyLearnsByEverySchedule) {
  for (const nlohmann::json& config : {tiny_config(), tiny_mamba_config()}) {
    model_ = family_of(config).describe(config, {});
    for (const Schedule schedule : {Schedule::kSampled, Schedule::kJoint, Schedule::kSandwich}) {
      settings_.schedule = schedule;
      const std::string name = model_.family + " " + std::string(to_string(schedule));
      const TrainReport last = train(name).back();
      for (std::size_t level = 0; level < 3; ++level) {
        EXPECT_LT(last.validation_loss[level], 0.7 * std::log(16.0)) << name << " " << level;
      }
    }
  }
}

TEST_F(TrainerTest, AJointStepReportsEveryGranularity) {
  settings_.schedule = Schedule::kJoint;
  settings_.steps = settings_.report_every = 1;
  const TrainReport joint = train("joint").back();
  settings_.schedule = Schedule::kSampled;
  for (std::size_t level = 0; level < 3; ++level) {
    settings_.weights = {0, 0, 0};
    settings_.weights[level] = 1;
    const TrainReport one = train("one" + std::to_string(level)).back();
    EXPECT_EQ(joint.train_loss[level], one.train_loss[level]);  // of the same first weights
  }
}

TEST_F(TrainerTest, AJointStepOfOneGranularityIsAStepOfThatOne) {
  settings_.weights = {0, 1, 0};
  train("one");
  settings_.schedule = Schedule::kJoint;
  train("joint");
  EXPECT_EQ(weights("joint"), weights("one"));
}

TEST_F(TrainerTest, AJointStepGoesAlongTheWeightedSum) {
  // Adam's first step tells only a gradient's sign; its norm is reported before clipping.
  settings_.schedule = Schedule::kJoint;
  settings_.steps = settings_.report_every = 1;
  std::vector<double> norms;
  for (const double factor : {1.0, 2.0}) {
    settings_.weights = {factor, 0.5 * factor, 3 * factor};
    norms.push_back(train("by" + std::to_string(norms.size())).back().gradient_norm);
  }
  EXPECT_NEAR(norms[1], 2 * norms[0], 1e-5 * norms[0]);
  settings_.weights = {};  // one over their number
  const double alike = train("alike").back().gradient_norm;
  settings_.weights = {1, 1, 1};
  EXPECT_NEAR(train("ones").back().gradient_norm, 3 * alike, 1e-5 * alike);
}

TEST_F(TrainerTest, TheResultIsACheckpointThatOpens) {
  train("run");
  const OpenedModel opened = open_model(dir_.path() / "run" / "model");
  EXPECT_EQ(opened.model.dtype, Dtype::kBF16);
  EXPECT_EQ(opened.model.space.submodels(), 9);
}

TEST_F(TrainerTest, ResumingGivesTheSameBitsAsNeverStopping) {
  settings_.steps = 12;
  settings_.warmup = 3;
  settings_.report_every = 4;
  settings_.checkpoint_every = 2;
  for (const nlohmann::json& config : {tiny_config(), tiny_mamba_config()}) {
    model_ = family_of(config).describe(config, {});
    for (const Schedule schedule : {Schedule::kSampled, Schedule::kJoint, Schedule::kSandwich}) {
      settings_.schedule = schedule;
      const std::string run = model_.family + std::string(to_string(schedule));
      train(run);
      for (const std::int64_t stop : {4, 8}) {
        const std::string name = run + std::to_string(stop);
        train(name, stop);
        EXPECT_FALSE(fs::exists(dir_.path() / name / "model"));
        train(name);
        EXPECT_EQ(weights(name), weights(run)) << name;
      }
    }
  }
}

TEST_F(TrainerTest, AnotherSeedGivesOtherWeights) {
  train("one");
  settings_.seed = 2;
  train("two");
  EXPECT_NE(weights("one"), weights("two"));
}

TEST_F(TrainerTest, AccumulationIsOneLargerBatchUpToRounding) {
  const auto one = train("one");
  settings_.batch = 2;
  settings_.accumulate = 2;
  const auto two = train("two");
  // f32 sums in another order, over 20 steps of a rate of 1e-2.
  for (std::size_t level = 0; level < 3; ++level) {
    EXPECT_NEAR(one[0].validation_loss[level], two[0].validation_loss[level], 1e-3);
  }
}

TEST_F(TrainerTest, AGranularityOfWeightZeroIsNeverDrawn) {
  settings_.weights = {0, 1, 1};
  for (const TrainReport& report : train("run")) {
    EXPECT_TRUE(std::isnan(report.train_loss[0]));
    EXPECT_FALSE(std::isnan(report.train_loss[1]));
  }
}

TEST_F(TrainerTest, Bf16ProductsLearnToo) {
  device_.dtype = Dtype::kBF16;
  EXPECT_LT(train("run").back().validation_loss[2], 0.7 * std::log(16.0));
}

TEST_F(TrainerTest, RefusesToResumeWithOtherSettings) {
  train("run", 20);
  const auto expect_named = [&](const std::string& run, const char* says) {
    const std::string found = error(run);
    EXPECT_NE(found.find(says), std::string::npos) << found;
  };
  const TrainSettings made = settings_;
  settings_.learning_rate = 2e-2;
  expect_named("run", "--warmup '0.01 0.1 5', this run has '0.02 0.1 5'");
  settings_ = made;
  settings_.schedule = Schedule::kJoint;
  expect_named("run", "--schedule");
  settings_ = made;
  settings_.label_smoothing = 0.1;
  expect_named("run", "--label-smoothing nothing, this run has '0.1'");
  train("smoothed", 20);
  settings_ = made;
  expect_named("smoothed", "--label-smoothing '0.1', this run has nothing");
  settings_.data = dir_.path() / "others.bin";
  test::spew(settings_.data, std::string(4000, 1));
  expect_named("run", "--tokens of the fingerprint '");
  settings_ = made;
  model_.config["rope_theta"] = 1234;
  expect_named("run", "made with another config;");
}

TEST_F(TrainerTest, ImagesAloneAreFlippedAndMixed) {
  const TrainSettings fine = settings_;
  settings_.flip = true;
  EXPECT_NE(error("run").find("--flip"), std::string::npos) << error("run");
  settings_ = fine;
  settings_.shift = 1;
  EXPECT_NE(error("run").find("--shift"), std::string::npos) << error("run");
}

TEST_F(TrainerTest, RefusesAStateThatIsCutOff) {
  train("run", 20);
  const fs::path state = dir_.path() / "run" / "state.safetensors";
  const auto size = fs::file_size(state);
  for (const double share : {0.0, 0.001, 0.5, 0.999}) {
    fs::resize_file(state, static_cast<std::uintmax_t>(static_cast<double>(size) * share));
    EXPECT_NE(error("run").find("state.safetensors"), std::string::npos) << share;
    EXPECT_FALSE(fs::exists(dir_.path() / "run" / "model"));
  }
}

TEST_F(TrainerTest, ALossThatIsNoNumberEndsTheRun) {
  for (TensorSpec& tensor : model_.table.tensors) tensor.init_std = 1e30;
  const std::string found = error("run");
  EXPECT_NE(found.find("at step 1: give a lower --learning-rate; no state was written yet"),
            std::string::npos)
      << found;
  EXPECT_FALSE(fs::exists(dir_.path() / "run" / "model"));
}

// The state that is named is the last one, and it still goes on: it has no weight that is no
// number.
TEST_F(TrainerTest, TheStateBeforeALossThatIsNoNumberIsKept) {
  settings_.learning_rate = 1e30;
  settings_.warmup = 8;
  settings_.checkpoint_every = 1;
  const std::string found = error("run");
  const auto at = found.find("the state of step ");
  ASSERT_NE(at, std::string::npos) << found;
  const MappedFile file(dir_.path() / "run" / "state.safetensors");
  const auto bytes = file.bytes();
  const SafetensorsHeader header = parse_safetensors(bytes, bytes.size(), "the state");
  std::vector<float> values((bytes.size() - header.data_offset) / sizeof(float));
  std::memcpy(values.data(), bytes.data() + header.data_offset, values.size() * sizeof(float));
  EXPECT_TRUE(std::ranges::all_of(values, [](float value) { return std::isfinite(value); }));
  EXPECT_FALSE(fs::exists(dir_.path() / "run" / "model"));
}

TEST(UpdateWeights, LeavesThemWhereAGradientIsNoNumber) {
  for (const float bad : {HUGE_VALF, NAN, 3e38f}) {  // the square of the last overflows
    TrainState state;
    state.names = {"w"};
    state.weights = {at::ones({2})};
    state.first = {at::zeros({2})};
    state.second = {at::zeros({2})};
    EXPECT_FALSE(std::isfinite(update_weights(state, {}, {at::full({2}, bad)}, {true})));
    for (const at::Tensor& tensor : {state.weights[0] - 1, state.first[0], state.second[0]}) {
      EXPECT_EQ(tensor.abs().max().item<float>(), 0) << bad;
    }
  }
}

// One step without decay and one with: the tensors that decay differ, and no others.
TEST_F(TrainerTest, OnlyTensorsThatDecayAreShrunk) {
  settings_.steps = settings_.report_every = 1;
  TensorSpec& words = model_.table.tensors.front();
  ASSERT_TRUE(words.decays());
  words.is_vectors = true;
  settings_.weight_decay = 0;
  train("without");
  settings_.weight_decay = 10;
  train("with");
  const Checkpoint without = Checkpoint::open(dir_.path() / "without" / "model");
  const Checkpoint with = Checkpoint::open(dir_.path() / "with" / "model");
  for (const TensorSpec& spec : model_.table.tensors) {
    EXPECT_EQ(test::values_of(without, without.at(spec.name)) !=
                  test::values_of(with, with.at(spec.name)),
              spec.shape.size() > 1 && &spec != &words)
        << spec.name;
  }
}

TEST_F(TrainerTest, TokensOutsideTheVocabularyAreNamed) {
  std::ofstream(dir_.path() / "tokens.bin", std::ios::binary) << std::string(4000, '\x20');
  EXPECT_NE(error("run").find("tokens.bin"), std::string::npos) << error("run");
}

// What healing does to a checkpoint that was trained before.
class Healing : public TrainerTest {
 protected:
  Healing() {
    train("first");
    settings_.start = std::make_shared<const Checkpoint>(Checkpoint::open(first()));
    settings_.seed = 2;
  }

  fs::path first() const { return dir_.path() / "first" / "model"; }
  std::shared_ptr<const Teacher> teacher(const fs::path& directory) const {
    OpenedModel opened = open_model(directory);
    return std::make_shared<const Teacher>(
        Teacher{std::move(opened.model), std::move(opened.checkpoint)});
  }

  // Which rows of a matrix are not those of the first checkpoint.
  std::vector<bool> changed_rows(const std::string& name, const std::string& tensor) const {
    const Checkpoint before = Checkpoint::open(first());
    const Checkpoint after = Checkpoint::open(dir_.path() / name / "model");
    const std::vector<float> a = test::values_of(before, before.at(tensor)),
                             b = test::values_of(after, after.at(tensor));
    const auto rows = static_cast<std::size_t>(before.at(tensor).shape[0]);
    const std::size_t columns = a.size() / rows;
    std::vector<bool> changed(rows);
    for (std::size_t i = 0; i < a.size(); ++i) {
      if (a[i] != b[i]) changed[i / columns] = true;
    }
    return changed;
  }
  bool changed(const std::string& name, const std::string& tensor) const {
    const std::vector<bool> rows = changed_rows(name, tensor);
    return std::ranges::find(rows, true) != rows.end();
  }
};

TEST_F(Healing, BeginsWithTheWeightsOfTheCheckpoint) {
  settings_.steps = settings_.report_every = 1;
  settings_.learning_rate = 1e-12;
  train("healed");
  EXPECT_EQ(weights("healed"), weights("first"));
}

TEST_F(Healing, ResumesToTheSameBits) {
  settings_.schedule = Schedule::kSandwich;
  settings_.distil = 0.5;
  settings_.teacher = teacher(first());
  train("whole");
  train("parts", 20);
  train("parts");
  EXPECT_EQ(weights("parts"), weights("whole"));
  train("other", 20);
  settings_.temperature = 2;
  EXPECT_NE(error("other").find("distil"), std::string::npos);
}

TEST_F(Healing, FrozenTensorsStay) {
  settings_.freeze = true;
  train("healed");
  for (const TensorSpec& spec : model_.table.tensors) {
    EXPECT_EQ(changed("healed", spec.name), spec.cut_dim >= 0) << spec.name;
  }
}

TEST_F(Healing, OneSubmodelLeavesTheRestAsItWas) {
  settings_.widths = {8, 24};
  train("healed");
  for (const int layer : {0, 1}) {
    const std::vector<bool> rows =
        changed_rows("healed", fmt::format("model.layers.{}.mlp.gate_proj.weight", layer));
    const auto width = static_cast<std::size_t>(settings_.widths[static_cast<std::size_t>(layer)]);
    for (std::size_t row = 0; row < rows.size(); ++row) {
      EXPECT_EQ(rows[row], row < width) << "layer " << layer << ", row " << row;
    }
  }
  settings_.widths = {8, 33};
  EXPECT_NE(error("wider").find("33"), std::string::npos);
}

TEST_F(Healing, AModelHasNothingToLearnFromItself) {
  settings_.distil = 1;
  settings_.steps = settings_.report_every = 1;
  settings_.weights = {0, 0, 1};
  const double own = train("itself").back().gradient_norm;
  EXPECT_GT(own, 1e-2) << "without a teacher the full width learns from the text";
  settings_.teacher = teacher(first());
  EXPECT_LT(train("twin").back().gradient_norm, 1e-5 * own);
}

TEST_F(Healing, RefusesWhatDoesNotFit) {
  settings_.teacher = teacher(first());
  EXPECT_NE(error("deaf").find("--distil 0 does not listen"), std::string::npos);
  nlohmann::json other = tiny_config();
  other["vocab_size"] = 17;
  settings_.distil = 0.5;
  settings_.teacher = std::make_shared<const Teacher>(
      Teacher{family_of(other).describe(other, {}), Checkpoint::open(first())});
  EXPECT_NE(error("words").find("it has 17 words, the model that is trained has 16"),
            std::string::npos);
  settings_.teacher = nullptr;
  settings_.start = nullptr;
  settings_.freeze = true;
  EXPECT_NE(error("fresh").find("--freeze cannot keep fresh weights"), std::string::npos);
}

// Cross-entropy, divergence and the norm of their gradient against transformers.
TEST_F(Healing, LossAndGradientAreWhatTransformersComputes) {
  if (!test::python_has("transformers")) GTEST_SKIP() << test::kNoPython;
  settings_.seed = 3;
  train("teacher");  // another one, by other steps
  // One sequence alone, so that every step has the same.
  const std::string text = read_text(settings_.data).substr(0, 33);
  std::ofstream(dir_.path() / "one.bin", std::ios::binary) << text;
  settings_.data = dir_.path() / "one.bin";
  settings_.validation.clear();
  settings_.batch = settings_.steps = settings_.report_every = 1;
  nlohmann::json cases = nlohmann::json::array();
  for (const bool outside : {false, true}) {
    for (const double distil : {0.0, 0.3, 1.0}) {
      if (outside && distil == 0) continue;
      for (const Widths& widths : {Widths{8, 8}, Widths{16, 32}}) {
        settings_.widths = widths;
        settings_.distil = distil;
        settings_.temperature = 2.5;
        settings_.teacher =
            outside ? teacher(dir_.path() / "teacher" / "model") : std::shared_ptr<const Teacher>();
        const TrainReport report = train(fmt::format("case{}", cases.size())).back();
        cases.push_back({{"widths", widths},
                         {"distil", distil},
                         {"temperature", 2.5},
                         {"teacher", outside ? "teacher" : "first"},
                         {"loss", report.train_loss.front()},
                         {"gradient_norm", report.gradient_norm}});
      }
    }
  }
  test::spew(dir_.path() / "cases.json", cases.dump());
  EXPECT_EQ(test::python_failure("train/healing_check.py", {dir_.path()}, dir_), "");
}

}  // namespace
}  // namespace mnm
