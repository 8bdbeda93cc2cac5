// The settings of training and its reports. Plain data.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"
#include "base/progress.h"
#include "dataset/pixel_scale.h"
#include "dataset/token_format.h"
#include "model/checkpoint.h"
#include "model/nested_model.h"
#include "model/widths.h"

namespace mnm {

// What a step does with the granularities.
enum class Schedule : std::uint8_t {
  kSampled,  // draws one for the whole model, with probabilities in the ratio of their weights
             // (MatFormer, Devvrit et al. 2023, section 3.2)
  kJoint,    // sums the losses of all, each times its weight, 1/g if none are given; one step along
             // that sum's gradient (MatMamba, Shukla et al. 2024, section 3.3)
  kSandwich,  // the widest, the narrowest and one drawn between them as kSampled draws it; the mean
              // of their losses (Yu and Huang, arXiv 1903.05134, section 3.2)
};
std::string_view to_string(Schedule schedule);   // "sampled", "joint", "sandwich"
Schedule parse_schedule(std::string_view name);  // UsageError names them

// What the loss is of an example's logits.
enum class TargetLoss : std::uint8_t {
  kSoftmax,  // cross-entropy of the softmax over all words or classes
  kSigmoid,  // the sum over the classes of each one's binary cross-entropy, as MatViT has it
};
inline constexpr std::string_view kTargetLosses[] = {"softmax", "sigmoid"};
TargetLoss parse_target_loss(std::string_view name);  // UsageError names them

// A model whose words are the targets.
struct Teacher {
  NestedModel model;
  Checkpoint checkpoint;
};

struct TrainSettings {
  std::filesystem::path data;        // any token file, or an image set, as the model reads them
  std::filesystem::path validation;  // the same, held out for the reports; may be empty
  TokenFormat format = TokenFormat::kRecognised;        // of token files without a header
  std::function<TextTokens()> text{};                   // of the tokenizer beside the config
  std::function<std::optional<PixelScale>()> pixels{};  // of the preprocessing beside the config
  std::map<std::string, std::string> companions{};      // files of model/: name -> content
  std::filesystem::path directory;  // state.safetensors while training; model/ at the end
  std::int64_t steps = 1000;
  std::int64_t batch = 8;       // examples per micro-batch
  std::int64_t accumulate = 1;  // micro-batches per step
  std::int64_t context = 256;   // tokens of a sequence
  // Of images. Half of them are mirrored, left to right, and each is moved by up to so many pixels
  // in both directions; its edge is repeated in what it leaves.
  bool flip = false;
  std::int64_t shift = 0;
  // The share of the images of which a rectangle becomes the mean (Zhong et al., arXiv 1708.04896).
  // It takes 2 % to a third of the image. Its sides are as 3:10 to 10:3.
  double erase = 0;
  // 0: nothing is mixed. Else each image of a micro-batch is mixed with another one of it, and so
  // are their targets (Zhang et al., arXiv 1710.09412). The first is mixed with the last, and so
  // on, but for one in the middle. The share of the other is drawn from Beta(mixup, mixup).
  double mixup = 0;
  TargetLoss loss = TargetLoss::kSoftmax;
  double label_smoothing = 0;   // this share of a target's probability is shared by all words
  double learning_rate = 1e-3;  // at its peak; see train/schedule.h
  double min_rate = 0.1;
  std::int64_t warmup = 100;  // steps
  double beta1 = 0.9, beta2 = 0.95, epsilon = 1e-8;
  double weight_decay = 0.1;  // of the tensors that decay (model/tensor_table.h)
  double clip = 1.0;          // global gradient norm
  Schedule schedule = Schedule::kSampled;
  std::vector<double> weights;  // of granularity k, narrowest first; empty: all the same
  std::uint64_t seed = 1;
  // The weights to begin with; null: fresh ones. Its tensors are those of the model's table.
  std::shared_ptr<const Checkpoint> start{};
  // The one submodel that is trained; empty: the uniform ones of all granularities. What it does
  // not keep of the weights stays as it is.
  Widths widths{};
  bool freeze = false;  // only tensors that a width cuts are trained, and all others stay
  // The loss is (1 - distil) * cross-entropy + distil * temperature^2 * KL(teacher || submodel),
  // with both distributions at the temperature (Hinton et al., arXiv 1503.02531, section 2).
  double distil = 0;
  double temperature = 1;
  // null: the full width of the model that is trained, as it is at the step. It learns from the
  // cross-entropy alone.
  std::shared_ptr<const Teacher> teacher{};
  std::int64_t report_every = 100;  // steps
  std::int64_t checkpoint_every = 500;
  AtomicDirectory::Replaceable replaceable{};  // whether directory/model is, where it is there
  std::int64_t validation_tokens = 16384;      // positions of the held-out data, per report
};

struct TrainReport {
  std::int64_t step = 0, steps = 0;
  double learning_rate = 0;
  double gradient_norm = 0;
  std::vector<double> train_loss;  // [granularities], mean since the last report; NaN: not drawn
  std::vector<double> validation_loss;  // [granularities]; empty when not validated
  double outputs_per_second = 0;        // tokens, or images
  double seconds_left = 0;
};
// What a caller of the trainer hears: reports, and after every step how many are done.
struct TrainSink {
  std::function<void(const TrainReport&)> report{};
  ProgressSink progress{};  // false: the state is written before Stopped is thrown
};

}  // namespace mnm
