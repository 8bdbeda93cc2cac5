#include "train/trainer.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/autocast_mode.h>
#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/autograd.h>

#include <chrono>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>
#include <optional>

#include "base/error.h"
#include "base/file.h"
#include "dataset/examples.h"
#include "eval/standard_error.h"
#include "fold/evaluator.h"
#include "fold/fold.h"
#include "fold/layer_step.h"
#include "fold/product.h"
#include "train/optimizer.h"
#include "train/schedule.h"
#include "train/state.h"
#include "train/training_data.h"

namespace mnm {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr std::int64_t kNone = -100;  // LibTorch's number of a target that does not count

std::string granularities_text(const NestedModel& model) {
  std::string text;
  for (std::size_t k = 0; k < model.space.levels(); ++k) {
    text += to_string(model.space.uniform(k)) + " ";
  }
  return text;
}

// Settings that a resumed run must share with the one it continues.
std::vector<RunSetting> identity(const TrainSettings& s, const NestedModel& model,
                                 const TrainingData& data, Dtype dtype) {
  const auto if_used = [](double value) { return value > 0 ? fmt::format("{}", value) : ""; };
  std::string distil;
  if (s.distil > 0) {
    distil = fmt::format("{} {} {}", s.distil, s.temperature,
                         s.teacher ? s.teacher->checkpoint.fingerprint() : "its own full width");
  }
  return {{"config", "config", model.config.dump()},
          {data.kind(), fmt::format("--{} of the fingerprint", data.kind()), data.fingerprint()},
          {"steps", "--steps", std::to_string(s.steps)},
          {"batch", "--accumulate x --batch x --context",
           fmt::format("{}x{}x{}", s.accumulate, s.batch, s.context)},
          {"rate", "--learning-rate, --min-rate and --warmup",
           fmt::format("{} {} {}", s.learning_rate, s.min_rate, s.warmup)},
          {"adam", "--beta1, --beta2, epsilon, --weight-decay and --clip",
           fmt::format("{} {} {} {} {}", s.beta1, s.beta2, s.epsilon, s.weight_decay, s.clip)},
          {"schedule", "--schedule and --weights",
           fmt::format("{} {}", to_string(s.schedule), fmt::join(s.weights, ","))},
          {"granularities", "granularities", granularities_text(model)},
          {"arithmetic", "--dtype", std::string(to_string(dtype))},
          {"seed", "--seed", std::to_string(s.seed)},
          {"moved", "--flip and --shift",
           s.flip || s.shift > 0 ? fmt::format("{} {}", s.flip, s.shift) : ""},
          {"erase", "--erase", if_used(s.erase)},
          {"mixup", "--mixup", if_used(s.mixup)},
          {"loss", "--loss", s.loss == TargetLoss::kSigmoid ? "sigmoid" : ""},
          {"label smoothing", "--label-smoothing", if_used(s.label_smoothing)},
          {"from", "--from of the fingerprint", s.start ? s.start->fingerprint() : ""},
          {"widths", "--widths", to_string(s.widths)},
          {"freeze", "--freeze", s.freeze ? "all but what widths cut" : ""},
          {"distil", "--distil, --temperature and --teacher", distil}};
}

// Checks that go beyond single numbers.
void check_together(const TrainSettings& s, const NestedModel& model) {
  if (!s.widths.empty()) model.space.require(s.widths);
  if (model.reads_tokens() &&
      (s.flip || s.shift > 0 || s.erase > 0 || s.mixup > 0 || s.loss == TargetLoss::kSigmoid)) {
    fail_usage(
        "--flip, --shift, --erase, --mixup and --loss sigmoid are of images, and the model reads "
        "tokens");
  }
  if (s.freeze && !s.start) {
    fail_usage("--freeze cannot keep fresh weights: name a checkpoint to begin with, --from");
  }
  if (!s.teacher) return;
  if (s.distil == 0) fail_usage("--teacher names a teacher, but --distil 0 does not listen to it");
  const std::string teacher = s.teacher->checkpoint.directory().string();
  if (s.teacher->model.input != model.input) {
    fail("cannot learn from the teacher '{}': it reads other inputs than the model that is trained",
         teacher);
  }
  if (s.teacher->model.vocab_size != model.vocab_size) {
    fail(
        "cannot learn from the teacher '{}': it has {} {}, the model that is trained has {}; both "
        "must have the same",
        teacher, s.teacher->model.vocab_size, model.reads_tokens() ? "words" : "classes",
        model.vocab_size);
  }
  if (model.reads_tokens() && s.context > s.teacher->model.max_context) {
    fail_usage("--context {} is longer than the teacher's {}", s.context,
               s.teacher->model.max_context);
  }
}

TrainState fresh_state(const NestedModel& model, std::uint64_t seed, const at::Device& device) {
  TrainState state;
  at::Generator generator = at::detail::createCPUGenerator(seed);
  for (const TensorSpec& spec : model.table.tensors) {
    at::Tensor weight = at::empty(spec.shape, at::kFloat);
    switch (spec.init) {
      case Init::kZero:
        weight.zero_();
        break;
      case Init::kOne:
        weight.fill_(1);
        break;
      case Init::kNormal:
        weight.normal_(0, spec.init_std, generator);
        break;
      case Init::kUniform:
        weight.uniform_(spec.init_low, spec.init_high, generator);
        break;
      case Init::kLogOfUniform:
        weight.uniform_(spec.init_low, spec.init_high, generator).log_();
        break;
      case Init::kInverseSoftplus:
        // log(exp(y) - 1) = y + log(1 - exp(-y)), without loss for small y.
        weight.uniform_(std::log(spec.init_low), std::log(spec.init_high), generator).exp_();
        weight.add_(at::log(-at::expm1(-weight)));
        break;
    }
    state.names.push_back(spec.name);
    state.weights.push_back(weight.to(device));
    state.first.push_back(at::zeros_like(state.weights.back()));
    state.second.push_back(at::zeros_like(state.weights.back()));
  }
  return state;
}

// bf16 arithmetic where the dtype asks for it and the device has it, for the lifetime of the
// object.
class Autocast {
 public:
  Autocast(const at::Device& device, Dtype dtype) : type_(device.type()) {
    const at::ScalarType asked = dtype == Dtype::kBF16 ? at::kBFloat16 : at::kHalf;
    on_ = dtype != Dtype::kF32 && arithmetic_type(device, asked) == asked;
    if (!on_) return;
    at::autocast::set_autocast_dtype(type_, asked);
    at::autocast::set_autocast_enabled(type_, true);
  }
  Autocast(const Autocast&) = delete;
  Autocast& operator=(const Autocast&) = delete;
  ~Autocast() {
    if (!on_) return;
    at::autocast::clear_cache();
    at::autocast::set_autocast_enabled(type_, false);
  }

 private:
  at::DeviceType type_;
  bool on_ = false;
};

// What a run writes: a state beside the one before it, then the model in bf16.
std::uint64_t bytes_to_come(const NestedModel& model) {
  std::uint64_t weights = 0;
  for (const TensorSpec& spec : model.table.tensors) {
    weights += static_cast<std::uint64_t>(std::accumulate(spec.shape.begin(), spec.shape.end(),
                                                          std::int64_t{1}, std::multiplies<>()));
  }
  return weights * (3 * size_of(Dtype::kF32) + size_of(Dtype::kBF16));
}

class Trainer {
 public:
  Trainer(const NestedModel& model, const TrainSettings& settings, const DeviceOptions& options)
      : model_(model),
        settings_(settings),
        device_(options.device),
        dtype_(options.dtype),
        context_(model.positions(settings.context)) {
    const std::size_t levels = settings_.widths.empty() ? model_.space.levels() : 1;
    check_settings(settings_, levels);
    check_together(settings_, model_);
    data_ = training_data(settings_, model_);
    if (!settings_.validation.empty()) {
      validation_ = load_examples({settings_.validation,
                                   context_,
                                   settings_.validation_tokens,
                                   {},
                                   settings_.format,
                                   settings_.text,
                                   settings_.pixels},
                                  model_);
    }
    for (std::size_t k = 0; k < levels; ++k) levels_.push_back(model_.space.uniform(k));
    if (!settings_.widths.empty()) levels_ = {settings_.widths};
    fs::create_directories(settings_.directory);
    require_space(bytes_to_come(model_), state_path());
    const auto same = identity(settings_, model_, *data_, dtype_);
    state_ = first_state(same);
    state_.settings = same;
    for (std::size_t i = 0; i < state_.names.size(); ++i) {
      index_[state_.names[i]] = i;
      // Of a tensor that settings.widths keep in part, the rest has a gradient of 0 and must stay.
      const bool in_part = !settings_.widths.empty() && model_.table.tensors[i].cut_dim >= 0;
      decayed_.push_back(model_.table.tensors[i].decays() && !in_part);
      if (settings_.freeze && model_.table.tensors[i].cut_dim < 0) continue;
      state_.weights[i].requires_grad_(true);
      trained_.push_back(i);
    }
    clamp_weights();
    if (settings_.teacher) load_teacher();
  }

  void run(const TrainSink& sink) {
    started_ = Clock::now();
    first_step_ = state_.step;
    reset_sums();
    while (state_.step < settings_.steps) {
      step();
      const bool last = state_.step == settings_.steps;
      if (last || state_.step % settings_.checkpoint_every == 0) save();
      if (last || state_.step % settings_.report_every == 0) {
        sink.report(report());
        reset_sums();
      }
      if (!last && sink.progress &&
          !sink.progress(
              {static_cast<double>(state_.step), static_cast<double>(settings_.steps)})) {
        save();
        throw Stopped();
      }
    }
    write_model(model_, state_, Dtype::kBF16, settings_.companions, settings_.directory / "model",
                settings_.replaceable);
  }

 private:
  fs::path state_path() const { return settings_.directory / "state.safetensors"; }

  // What no run goes on from is never written.
  void save() {
    for (std::size_t i = 0; i < state_.names.size(); ++i) {
      if (at::isfinite(state_.weights[i].detach()).all().item<bool>()) continue;
      fail_at(state_.step, state_.names[i] + " got a weight that is no finite number");
    }
    write_state(state_, state_path());
    saved_step_ = state_.step;
  }

  [[noreturn]] void fail_at(std::int64_t step, const std::string& what) const {
    fail("{} at step {}: give a lower --learning-rate; {}", what, step,
         saved_step_
             ? fmt::format("the state of step {} is in {}", *saved_step_, state_path().string())
             : "no state was written yet");
  }

  TrainState first_state(const std::vector<RunSetting>& same) {
    if (fs::exists(state_path())) {
      TrainState state = read_state(model_, same, state_path(), device_);
      saved_step_ = state.step;
      return state;
    }
    if (settings_.start) return state_from(model_, *settings_.start, device_);
    return fresh_state(model_, settings_.seed, device_);
  }

  void load_teacher() {
    const c10::AutoGradMode no_grad(false);
    const Teacher& teacher = *settings_.teacher;
    teacher_ = make_fold({teacher.model, [&](const std::string& name) {
                            return stored_tensor(teacher.checkpoint, name, device_);
                          }});
  }

  // To where the model's table says that its elements stay. What is frozen stays as it is.
  void clamp_weights() {
    const c10::AutoGradMode no_grad(false);
    for (const std::size_t i : trained_) {
      const double largest = model_.table.tensors[i].largest;
      if (largest > 0) state_.weights[i].clamp_(-largest, largest);
    }
  }

  std::unique_ptr<Fold> fold() const {
    return make_fold(
        {model_, [this](const std::string& name) { return state_.weights[index_.at(name)]; }});
  }

  void step() {
    const std::vector<Share> shares = shares_of_step(settings_, levels_.size(), state_.step);
    std::vector<double> losses(levels_.size(), 0);
    std::vector<at::Tensor> gradients(state_.weights.size());
    for (std::int64_t micro = 0; micro < settings_.accumulate; ++micro) {
      const at::Tensor loss = forward(micro, shares, losses);
      std::vector<at::Tensor> trained;
      for (const std::size_t i : trained_) trained.push_back(state_.weights[i]);
      const auto grads = torch::autograd::grad({loss}, trained, {}, {}, false, true);
      for (std::size_t t = 0; t < grads.size(); ++t) {
        if (!grads[t].defined()) continue;
        at::Tensor& sum = gradients[trained_[t]];
        sum = sum.defined() ? sum + grads[t] : grads[t];
      }
    }
    for (const Share& share : shares) {
      const double loss = losses[share.level];
      if (std::isfinite(loss)) continue;
      fail_at(state_.step + 1,
              fmt::format("the loss of {} became {}", to_string(levels_[share.level]), loss));
    }
    gradient_norm_ = update_weights(state_, settings_, gradients, decayed_);
    if (!std::isfinite(gradient_norm_)) {
      fail_at(state_.step + 1, fmt::format("the gradient's norm became {}", gradient_norm_));
    }
    clamp_weights();
    ++state_.step;
    for (const Share& share : shares) {
      sums_[share.level] += losses[share.level];
      ++counts_[share.level];
    }
  }

  // Rows of logits of one submodel: [batch * outputs, vocab], f32.
  static at::Tensor logits_of(Fold& model, const Embedded& start, const Widths& widths) {
    const State state = step_layers(model, start, widths);
    return model.logits(model.readout(state).flatten(0, 2)).to(at::kFloat);
  }

  // The teacher's words at the temperature, as logarithms. Nothing flows back into it.
  at::Tensor teacher_words(const at::Tensor& input, Fold& model, const Embedded& start) const {
    const c10::AutoGradMode no_grad(false);
    const at::Tensor logits = teacher_ ? logits_of(*teacher_, teacher_->embed({input}),
                                                   settings_.teacher->model.space.full())
                                       : logits_of(model, start, model_.space.full());
    return at::log_softmax(logits / settings_.temperature, 1);
  }

  // The mean loss to these targets.
  at::Tensor loss_to(const at::Tensor& logits, const at::Tensor& targets) const {
    const at::Tensor target = targets.to(device_);
    const double smoothing = settings_.label_smoothing;
    if (settings_.loss == TargetLoss::kSoftmax) {
      return at::cross_entropy_loss(logits, target, {}, at::Reduction::Mean, kNone, smoothing);
    }
    const auto classes = static_cast<double>(logits.size(1));
    const at::Tensor one =
        at::one_hot(target, logits.size(1)).to(logits.scalar_type()) * (1 - smoothing) +
        smoothing / classes;
    return at::binary_cross_entropy_with_logits(logits, one, {}, {}, at::Reduction::Sum) /
           static_cast<double>(logits.size(0));
  }
  at::Tensor loss_of(const at::Tensor& logits, const TrainingBatch& batch) const {
    const at::Tensor own = loss_to(logits, batch.targets);
    if (!batch.partners.defined()) return own;
    return own * batch.own + loss_to(logits, batch.partners) * (1 - batch.own);
  }

  // The loss to the targets. With knowledge distillation it is joined to the distance to the
  // teacher's words.
  at::Tensor joined(const at::Tensor& loss, const at::Tensor& logits,
                    const at::Tensor& words) const {
    if (!words.defined()) return loss;
    const double t = settings_.temperature;
    const at::Tensor own = at::log_softmax(logits / t, 1);
    const at::Tensor distance =
        at::kl_div(own, words, at::Reduction::Sum, /*log_target=*/true) *
        (t * t / static_cast<double>(logits.size(0)) / static_cast<double>(settings_.accumulate));
    return loss * (1 - settings_.distil) + distance * settings_.distil;
  }

  // A micro-batch's part of the step's loss. Adds to `losses` what each granularity's own is.
  at::Tensor forward(std::int64_t micro, std::span<const Share> shares,
                     std::vector<double>& losses) const {
    const TrainingBatch batch = data_->batch(state_.step, micro);
    const at::Tensor input = batch.inputs.to(device_);
    const auto accumulate = static_cast<double>(settings_.accumulate);
    const Autocast autocast(device_, dtype_);
    const std::unique_ptr<Fold> model = fold();
    const Embedded start = model->embed({input});
    at::Tensor sum, words;
    if (settings_.distil > 0) words = teacher_words(input, *model, start);
    for (const Share& share : shares) {
      const Widths& widths = levels_[share.level];
      const at::Tensor logits = logits_of(*model, start, widths);
      const at::Tensor loss = loss_of(logits, batch) / accumulate;
      losses[share.level] += loss.item<double>();
      // The full width is its own teacher, if there is no other.
      const bool taught = teacher_ || widths != model_.space.full();
      const at::Tensor whole = joined(loss, logits, taught ? words : at::Tensor());
      const at::Tensor part = share.weight == 1 ? whole : whole * share.weight;
      sum = sum.defined() ? sum + part : part;
    }
    return sum;
  }

  TrainReport report() const {
    TrainReport report;
    report.step = state_.step;
    report.steps = settings_.steps;
    report.learning_rate = learning_rate(settings_, state_.step - 1);
    report.gradient_norm = gradient_norm_;
    for (std::size_t k = 0; k < levels_.size(); ++k) {
      report.train_loss.push_back(counts_[k] > 0 ? sums_[k] / static_cast<double>(counts_[k])
                                                 : std::numeric_limits<double>::quiet_NaN());
    }
    const double seconds = std::chrono::duration<double>(Clock::now() - started_).count();
    const auto taken = static_cast<double>(state_.step - first_step_);
    const std::int64_t each =
        settings_.accumulate * settings_.batch * model_.outputs(settings_.context);
    report.outputs_per_second = taken * static_cast<double>(each) / seconds;
    report.seconds_left = seconds / taken * static_cast<double>(settings_.steps - state_.step);
    if (validation_) report.validation_loss = validate();
    return report;
  }

  std::vector<double> validate() const {
    const c10::AutoGradMode no_grad(false);
    const std::unique_ptr<Fold> model = fold();
    std::vector<double> losses;
    for (const CandidateScores& scores :
         score_candidates(*model, model_, device_, levels_, *validation_, {}, {},
                          [](const Progress&) { return true; })) {
      losses.push_back(mean_of(scores[Metric::kLoss]).value);
    }
    return losses;
  }

  void reset_sums() {
    sums_.assign(levels_.size(), 0);
    counts_.assign(levels_.size(), 0);
  }

  const NestedModel& model_;
  const TrainSettings& settings_;
  at::Device device_;
  Dtype dtype_;
  std::int64_t context_;  // positions of an example
  std::unique_ptr<TrainingData> data_;
  std::unique_ptr<Examples> validation_;  // null: none
  std::vector<Widths> levels_;
  TrainState state_;
  std::optional<std::int64_t> saved_step_;  // of the state on disk, if there is one
  std::map<std::string, std::size_t> index_;
  std::vector<std::size_t> trained_;  // which of the tensors are
  std::vector<bool> decayed_;         // the same as a flag for each, of weight decay
  std::unique_ptr<Fold> teacher_;     // null: none, or the model's own full width
  std::vector<double> sums_;
  std::vector<std::int64_t> counts_;
  double gradient_norm_ = 0;
  Clock::time_point started_;
  std::int64_t first_step_ = 0;
};

}  // namespace

void train_nested(const NestedModel& model, const TrainSettings& settings,
                  const DeviceOptions& device, const TrainSink& sink) {
  Trainer(model, settings, device).run(sink);
}

}  // namespace mnm
