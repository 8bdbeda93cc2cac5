#include <ATen/ATen.h>
#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/GradMode.h>
#include <c10/util/Logging.h>
#include <malloc.h>
#include <torch/version.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <map>
#include <mutex>

#include "base/error.h"
#include "base/file.h"
#include "base/plugin.h"
#include "base/quantity.h"
#include "engine/engine.h"
#include "engine/torch_error.h"
#include "engine/torch_sequences.h"
#include "engine/torch_timer.h"
#include "engine/weight_reader.h"
#include "eval/memory.h"
#include "eval/row_tables.h"
#include "fold/batch.h"
#include "fold/calibrate.h"
#include "fold/evaluator.h"
#include "fold/fold.h"
#include "fold/layer_step.h"
#include "fold/nearest.h"
#include "fold/product.h"
#include "kernels/cuda/device.h"
#include "kernels/sum_of.h"
#include "model/cost.h"
#include "model/shapes.h"
#include "train/trainer.h"

namespace mnm {
namespace {

// Memory that could be had on the device now, in bytes: what CUDA calls free, or what the system
// could hand out.
std::uint64_t free_memory(const at::Device& device) {
  if (device.is_cuda()) {
    return c10::getDeviceAllocator(device.type())->getMemoryInfo(device.index()).first;
  }
  return available_memory().value_or(0);
}

at::Device device_of(const DeviceOptions& options) {
  at::Device device(at::kCPU);
  try {
    device = at::Device(options.device);
  } catch (const c10::Error&) {
    fail_usage("no device '{}': there are cpu, cuda and cuda:N", options.device);
  }
  if (device.is_cuda()) {
    const int count = at::hasCUDA() ? at::detail::getCUDAHooks().deviceCount() : 0;
    const int index = device.has_index() ? device.index() : options.local_rank % std::max(count, 1);
    if (index >= count) {
      fail("cannot use {}: LibTorch finds {} CUDA devices here; use --device cpu", options.device,
           count);
    }
    device = at::Device(at::kCUDA, static_cast<at::DeviceIndex>(index));
  }
  return device;
}

void use_threads(const DeviceOptions& options) {
  if (options.threads < 0) fail_usage("threads must be positive, not {}", options.threads);
  if (options.threads > 0) at::set_num_threads(options.threads);
}

// What of the device's memory is whose.
struct MemoryPlan {
  bool stream = false;
  bool hold_ends = true;     // embedding and head; else they are read in parts whenever used
  std::uint64_t states = 0;  // bytes for states and work space
  std::string note;          // where it streams: that, and why
};

// What is left for states where weights are held, or streamed as eval/memory.h counts it.
MemoryPlan plan_memory(const WeightBytes& weights, const DeviceOptions& options,
                       const at::Device& device) {
  const std::uint64_t free = free_memory(device);
  const auto text = [](std::uint64_t bytes) { return quantity(static_cast<double>(bytes)); };
  // Weights fit where they leave room to work.
  const bool fit =
      options.memory > 0 ? weights.all <= options.memory / 4 * 3 : weights.all <= free / 2;
  MemoryPlan plan;
  plan.stream = options.stream || options.single_pass || !fit;
  if (!plan.stream) {
    plan.states = options.memory > 0 ? options.memory - weights.all : free / 4;
    return plan;
  }
  const std::uint64_t limit = options.memory > 0 ? options.memory : free / 2;
  Streaming streaming{.single_pass = options.single_pass, .hold_ends = true};
  plan.hold_ends = !options.single_pass && streamed_bytes(weights, streaming) <= limit / 8 * 7;
  streaming.hold_ends = plan.hold_ends;
  const std::uint64_t held = streamed_bytes(weights, streaming);
  if (held >= limit) {
    fail(
        "cannot stream the weights within {} bytes of memory: {} of the largest layers and a part "
        "of the head take {}, and states come on top; allow more memory",
        text(limit), options.single_pass ? "one and a half" : "two and a half", text(held));
  }
  plan.states = limit - held;
  plan.note = fmt::format(
      "weights of {} bytes are streamed{}: read once per pass, two layers held at a time{}, {} "
      "left for states and work",
      text(weights.all),
      fit ? "" : fmt::format(", since they do not fit {} of memory", text(limit)),
      plan.hold_ends ? "" : ", embedding and head read anew for each use", text(plan.states));
  return plan;
}

// Reads every word of a float tensor, and waits for it.
void read_once(const at::Tensor& memory) {
  if (!memory.is_cpu()) {
    memory.sum().item<float>();
    return;
  }
  const float* const words = memory.const_data_ptr<float>();
  const std::int64_t part = memory.numel() / at::get_num_threads() + 1;
  std::atomic<float> sum = 0;
  at::parallel_for(0, memory.numel(), part, [&](std::int64_t begin, std::int64_t end) {
    float mine = 0;
    sum_of(words + begin, end - begin, &mine);
    sum = sum + mine;
  });
}

class TorchSession final : public ModelSession {
 public:
  TorchSession(const NestedModel& model, const Checkpoint& checkpoint, const DeviceOptions& options)
      : model_(model),
        device_(device_of(options)),
        reader_(checkpoint, device_, options.dtype),
        memory_(plan_memory(weight_bytes(model, options.dtype), options, device_)) {
    limits_.memory = memory_.states;
    const at::ScalarType stored = scalar_type(options.dtype);
    if (arithmetic_type(device_, stored) != stored) {
      for (const TensorSpec& spec : model.table.tensors) {
        const auto elements = static_cast<std::uint64_t>(element_count(spec.shape));
        limits_.product_bytes =
            std::max(limits_.product_bytes, std::min(4 * elements, kWidenedBytes));
      }
    }
    if (memory_.stream && !options.single_pass) {
      const std::filesystem::path spill = std::filesystem::temp_directory_path();
      limits_.stream = StreamLimits{device_.is_cpu() ? 0 : free_memory(at::kCPU) / 2, spill,
                                    free_bytes(spill) / 2};
    }
    RowSource rows;
    // On the CPU every thread may score sequences of its own (eval/division.h).
    const bool share = device_.is_cpu() && !options.single_pass;
    const std::uint64_t row_bytes =
        kEndPiece / static_cast<std::uint64_t>(share ? at::get_num_threads() : 1);
    const bool by_rows = std::ranges::any_of(model.table.tensors, is_read_by_rows);
    if (!memory_.hold_ends || (memory_.stream && by_rows)) {
      rows = [this](const std::string& name, std::int64_t first, std::int64_t count,
                    at::Tensor& room) { return rows_of(name, first, count, room); };
    }
    fold_ = make_fold({model_, [this](const std::string& name) { return reader_.read(name); },
                       /*resident=*/!memory_.stream, std::move(rows), row_bytes});
  }

  std::string streaming() const override { return memory_.note; }

  std::vector<CandidateScores> score(std::span<const Widths> candidates, const Examples& dataset,
                                     const ScoreOptions& options,
                                     const ProgressSink& progress) override {
    const c10::AutoGradMode no_grad(false);
    return guarded("scoring", device_, [&] {
      return score_candidates(*fold_, model_, device_, candidates, dataset, options, limits_,
                              progress);
    });
  }

  void calibrate(const Examples& dataset, const CalibrationOptions& options,
                 const StatisticsSink& sink, const ProgressSink& progress) override {
    if (options.saliency) require_resident("take gradients");
    const c10::AutoGradMode no_grad(false);
    guarded("calibrating", device_, [&] {
      const std::filesystem::path spill = std::filesystem::temp_directory_path();
      StateRoom room(device_, limits_.memory / 2, device_.is_cpu() ? 0 : free_memory(at::kCPU) / 2,
                     spill);
      const WeightSource weight = [this](const std::string& name) { return reader_.read(name); };
      mnm::calibrate({*fold_, model_, dataset, room, weight, memory_.stream}, options, sink,
                     progress);
    });
  }

  std::vector<float> features(const Widths& widths, const Examples& dataset,
                              const ProgressSink& progress) override {
    const c10::AutoGradMode no_grad(false);
    return guarded("encoding examples", device_, [&] {
      return encode_examples(*fold_, model_, device_, widths, dataset, limits_, progress);
    });
  }

  std::vector<float> logits(const Widths& widths, const ExampleInputs& inputs) override {
    const c10::AutoGradMode no_grad(false);
    return guarded("computing logits", device_, [&] {
      const Embedded start = fold_->embed({upload(inputs, device_)});
      State state = start.state;
      for (std::size_t l = 0; l < widths.size(); ++l) {
        const bool load = memory_.stream && widths[l] != kSkip;
        if (load) fold_->load(l);
        state = step_layer(*fold_, l, start.givens, state, widths[l]);
        if (load) fold_->unload(l);
      }
      const at::Tensor out =
          fold_->logits(fold_->readout(state).flatten(0, 2)).to(at::kCPU, at::kFloat).contiguous();
      const float* data = out.const_data_ptr<float>();
      return std::vector<float>(data, data + out.numel());
    });
  }

  std::unique_ptr<Sequences> sequences() override {
    require_resident("generate");
    if (model_.one_output) fail("cannot generate with a model that only says an example's class");
    return make_sequences(*fold_, device_, model_);
  }

  std::unique_ptr<PassTimer> timer(const Workload& workload) override {
    require_resident("measure latencies");
    return make_timer(*fold_, device_, model_, workload);
  }

 private:
  void require_resident(const char* attempt) const {
    if (memory_.stream) fail("cannot {} while {}; allow more memory", attempt, memory_.note);
  }

  // As RowSource. Embedding and head are held from their first use on if the plan holds them.
  at::Tensor rows_of(const std::string& name, std::int64_t first, std::int64_t count,
                     at::Tensor& room) {
    if (!memory_.hold_ends || is_read_by_rows(*model_.table.find(name))) {
      return reader_.read_rows(name, first, count, room);
    }
    const std::lock_guard lock(held_mutex_);
    at::Tensor& held = held_[name];
    if (!held.defined()) held = reader_.read(name);
    return held.narrow(0, first, count);
  }

  const NestedModel& model_;
  at::Device device_;
  WeightReader reader_;
  MemoryPlan memory_;
  std::map<std::string, at::Tensor> held_;  // read by rows, but held
  std::mutex held_mutex_;
  std::unique_ptr<Fold> fold_;
  EvaluatorLimits limits_;
};

class TorchEngine final : public Engine {
 public:
  std::string version() const override {
    return fmt::format("LibTorch {}, {}", TORCH_VERSION, at::get_cpu_capability());
  }

  std::string device_name(const DeviceOptions& options) const override {
    const at::Device device = device_of(options);
    if (device.is_cuda()) return fmt::format("cuda, {}", device_name_cuda(device.index()));
    // What load() will set, which has not happened yet where a run is recorded before it measures.
    const int threads = options.threads > 0 ? options.threads : at::get_num_threads();
    return fmt::format("cpu, {} threads, {}", threads, at::get_cpu_capability());
  }

  std::unique_ptr<ModelSession> load(const NestedModel& model, const Checkpoint& checkpoint,
                                     const DeviceOptions& options) override {
    use_threads(options);
    return guarded("loading the model", device_of(options),
                   [&] { return std::make_unique<TorchSession>(model, checkpoint, options); });
  }

  void train(const NestedModel& model, const TrainSettings& settings, const DeviceOptions& options,
             const TrainSink& sink) override {
    use_threads(options);
    guarded("training", device_of(options), [&] { train_nested(model, settings, options, sink); });
  }

  double read_rate(std::uint64_t bytes, const DeviceOptions& options) override {
    use_threads(options);
    const c10::AutoGradMode no_grad(false);
    const at::Device device = device_of(options);
    return guarded("timing memory", device, [&] {
      constexpr std::uint64_t kMost = 1 << 30;
      constexpr double kEach = 0.02;  // seconds that one of the rounds takes at least
      const auto words = static_cast<std::int64_t>(std::min(bytes, kMost) / 4 + 1);
      const at::Tensor memory = at::ones({words}, at::TensorOptions(device).dtype(at::kFloat));
      double best = 0;
      std::int64_t passes = 1;
      for (int round = 0; round < 7;) {
        const auto start = std::chrono::steady_clock::now();
        for (std::int64_t i = 0; i < passes; ++i) read_once(memory);
        const double seconds =
            std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
        if (seconds < kEach) {
          passes *= 2;
          continue;
        }
        best = std::max(best, static_cast<double>(4 * words * passes) / seconds);
        ++round;
      }
      return best;
    });
  }

  std::vector<std::int32_t> nearest(const FeatureDatabase& database, std::span<const float> queries,
                                    const DeviceOptions& options) override {
    use_threads(options);
    const c10::AutoGradMode no_grad(false);
    const at::Device device = device_of(options);
    return guarded("searching", device, [&] {
      const at::Tensor rows = at::from_blob(
          const_cast<float*>(queries.data()),  // only read
          {static_cast<std::int64_t>(queries.size()) / database.dimension(), database.dimension()},
          at::kFloat);
      const at::Tensor found = nearest_items({database, device}, rows.to(device));
      const std::int32_t* const ids = found.const_data_ptr<std::int32_t>();
      return std::vector<std::int32_t>(ids, ids + found.numel());
    });
  }

  double matmul_rate(std::int64_t n, const DeviceOptions& options) override {
    use_threads(options);
    const c10::AutoGradMode no_grad(false);
    const at::Device device = device_of(options);
    return guarded("timing a product", device, [&] {
      const auto type = at::TensorOptions(device).dtype(scalar_type(options.dtype));
      const at::Tensor weights = at::randn({n, n}, type);
      const at::Tensor rows = in_arithmetic_type(at::randn({n, n}, type));
      const at::Tensor out = product(rows, weights);
      std::vector<double> seconds;
      for (int i = 0; i < 7; ++i) {
        const auto start = std::chrono::steady_clock::now();
        product_into(out, rows, weights);
        out[0][0].item<float>();  // waits for the device
        seconds.push_back(
            std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
      }
      std::nth_element(seconds.begin(), seconds.begin() + 3, seconds.end());
      const auto side = static_cast<double>(n);
      return 2 * side * side * side / seconds[3];
    });
  }
};

}  // namespace
}  // namespace mnm

MNM_PLUGIN_VERSION

extern "C" mnm::Engine* mnm_make_engine() {
  // Work space comes and goes by the megabyte. Left to itself, glibc gives it back to the kernel
  // and gets it zeroed, page by page, each time: a tenth of a training step.
  mallopt(M_MMAP_THRESHOLD, 32 << 20);
  mallopt(M_TRIM_THRESHOLD, 1 << 30);
  mallopt(M_TOP_PAD, 64 << 20);
  // LibTorch's warnings speak of its own interface to whoever programs it, and any thread may print
  // them. What a user must know is an error or a note of ours.
  FLAGS_caffe2_log_level = c10::GLOG_ERROR;
  static mnm::TorchEngine engine;
  return &engine;
}
