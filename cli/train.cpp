#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <memory>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "base/interrupt.h"
#include "base/json.h"
#include "base/output_place.h"
#include "base/quantity.h"
#include "cli/common_options.h"
#include "cli/example_readers.h"
#include "cli/options.h"
#include "cli/output_file.h"
#include "cli/print.h"
#include "engine/engine.h"
#include "export/companion_files.h"
#include "families/family.h"
#include "families/granularities.h"
#include "families/may_skip.h"
#include "families/open_model.h"
#include "text/tokenizer_json.h"

namespace mnm {
namespace {

struct Request {
  std::filesystem::path config, from, teacher, tokens, images;
  TrainSettings settings;
  std::string widths;
  Nesting nesting;
  std::string schedule{to_string(TrainSettings{}.schedule)}, weights;
  std::string loss{kTargetLosses[0]};
  DeviceOptions device;
  bool force = false;

  std::filesystem::path model() const { return settings.directory / "model"; }
  std::filesystem::path state() const { return settings.directory / "state.safetensors"; }
};

std::vector<double> parse_weights(const std::string& text) {
  std::vector<double> values;
  std::size_t begin = 0;
  while (begin < text.size()) {
    const std::size_t comma = std::min(text.find(',', begin), text.size());
    const std::string part = text.substr(begin, comma - begin);
    std::size_t used = 0;
    double value = 0;
    try {
      value = std::stod(part, &used);
    } catch (const std::exception&) {
      used = 0;
    }
    if (used == 0 || used != part.size()) {
      fail_usage("--weights takes numbers parted by commas, not '{}'", text);
    }
    values.push_back(value);
    begin = comma + 1;
  }
  return values;
}

std::string losses_text(const std::vector<double>& losses) {
  std::string text;
  for (const double loss : losses) {
    text += std::isnan(loss) ? "      -" : fmt::format(" {:.4f}", loss);
  }
  return text;
}

void add_optimisation_options(OptionTable& options, TrainSettings& settings, std::string& loss) {
  options.section("optimisation")
      .option("steps", count_value(settings.steps, 1, std::int64_t{1} << 40), "optimiser steps")
      .option("batch", count_value(settings.batch, 1, 1 << 20),
              "sequences or images per micro-batch")
      .option("accumulate", count_value(settings.accumulate, 1, 1 << 20), "micro-batches per step")
      .option("context", count_value(settings.context, 1, 1 << 24), "tokens per sequence")
      .option("learning-rate", real_value(settings.learning_rate, 0, 10),
              "the peak of the learning rate")
      .option("min-rate", real_value(settings.min_rate, 0, 1),
              "the share of the peak that the cosine ends at")
      .option("warmup", count_value(settings.warmup, 0, std::int64_t{1} << 40),
              "steps of linear warm-up")
      .option("beta1", real_value(settings.beta1, 0, 1), "decay rate of AdamW's first moment")
      .option("beta2", real_value(settings.beta2, 0, 1), "decay rate of AdamW's second moment")
      .option("weight-decay", real_value(settings.weight_decay, 0, 10),
              "weight decay of matrices; biases, norms, class tokens and positions have none")
      .option("clip", real_value(settings.clip, 0, 1e9), "the largest norm of the gradient")
      .option("label-smoothing", real_value(settings.label_smoothing, 0, 1),
              "the share of a target's probability that all words or classes share")
      .option("flip", flag_value(settings.flip), "mirror half of the images, left to right")
      .option("shift", count_value(settings.shift, 0, 1 << 16, "PIXELS"),
              "move each image by up to so many pixels in both directions; its edge is repeated")
      .option("erase", real_value(settings.erase, 0, 1),
              "the share of the images of which a rectangle is erased")
      .option("mixup", real_value(settings.mixup, 0, 8),
              "mix pairs of images and their targets, by a share of Beta(this, this); 0: do not")
      .option("loss", choice_value(loss, kTargetLosses),
              "of images: cross-entropy of the softmax, or the sum of binary ones of each class")
      .option("seed", count_value(settings.seed), "seed of weights, batches and granularities");
}

OptionTable option_table(Request& request) {
  auto& [config, from, teacher, tokens, images, settings, widths, nesting, schedule, weights, loss,
         device, force] = request;
  OptionTable options(
      "train",
      "Trains a nested model. Every step draws one granularity for the whole model, as MatFormer "
      "does, or sums the losses of all granularities. --from heals a checkpoint that 'nest' "
      "sorted. "
      "At the end it writes OUT/model, a Hugging Face directory in bf16, with the tokenizer and "
      "other files that lie beside the config. Until then "
      "OUT/state.safetensors holds the state: the same command "
      "goes on exactly where it stopped.");
  options
      .argument("CONFIG", path_value(config),
                "the model's config.json, for weights that begin at random; else --from")
      .option("from", path_value(from, "DIR"),
              "the checkpoint to go on from, ordinary or nested: its config and its weights")
      .section("data")
      .option("tokens", data_value(tokens), "the token file to train on")
      .option("images", path_value(images, "SET"),
              "the image set to train on, for a model that reads images")
      .option("token-format", token_format_value(settings.format),
              "format of token files without a header; else bytes or text, if the model reads them")
      .option("validation", data_value(settings.validation),
              "a held-out token file or image set, for the reports")
      .option("validation-tokens", quantity_value(settings.validation_tokens, "N"),
              "how many held-out tokens a report takes; of an image, each patch is one")
      .option("out", required(path_value(settings.directory, "OUT")), "the directory of the run")
      .option("force", flag_value(force),
              "replace OUT/model if it exists and this program wrote it")
      .section("granularities");
  add_nesting_options(options, nesting);
  options
      .option(
          "schedule", text_value(schedule, "sampled|joint|sandwich"),
          "sampled: a step draws one granularity; joint: it sums the losses of all; sandwich: the "
          "widest, the narrowest and one drawn between them")
      .option("weights", text_value(weights, "LIST"),
              "one weight per granularity, narrowest first: the odds of drawing it, or its factor "
              "in the sum; by default all are equal, and the factors add up to 1")
      .option("widths", text_value(widths, "WIDTHS"),
              "train this submodel alone: 512x4,256x4; what it does not keep stays as it is")
      .option("freeze", flag_value(settings.freeze),
              "with --from: train only what widths cut, such as FFNs; all else stays")
      .section("teacher")
      .option("distil", real_value(settings.distil, 0, 1),
              "the share of the loss that is the KL divergence from the teacher's words; the rest "
              "is the cross-entropy")
      .option(
          "teacher", path_value(teacher, "DIR"),
          "a checkpoint of the same vocabulary, at its full width; else the trained model's own "
          "full width, as it is at each step")
      .option("temperature", real_value(settings.temperature, 1e-3, 1e3),
              "of both distributions in that divergence");
  add_optimisation_options(options, settings, loss);
  options.section("run")
      .option("report-every", count_value(settings.report_every, 1, std::int64_t{1} << 40),
              "steps between reports")
      .option("checkpoint-every", count_value(settings.checkpoint_every, 1, std::int64_t{1} << 40),
              "steps between writes of the state")
      .option("device", text_value(device.device, "DEVICE"), "cpu, cuda or cuda:N")
      .option("dtype", dtype_value(device.dtype), "bf16: products run under autocast")
      .option("threads", threads_value(device.threads), "CPU threads; 0: one per core");
  return options;
}

// Said before hours of training, not after.
void require_target_of(const Request& request) {
  const std::filesystem::path inputs[] = {request.config, request.from, request.teacher,
                                          request.settings.data, request.settings.validation};
  for (const auto& input : inputs) require_apart(request.model(), input);
  require_no_store(request.settings.directory);
  require_target(request.model(), request.force);
}

// Error if the files beside both models say that one of them gives its words other numbers, or
// normalises pixels in another way. What a file does not say is taken to be alike.
void require_same_inputs(const std::filesystem::path& beside, const TrainSettings& settings,
                         const NestedModel& model) {
  const std::filesystem::path teacher = settings.teacher->checkpoint.directory();
  const auto refuse = [&](std::string_view why) {
    fail("cannot learn from the teacher '{}': {} than the model that is trained", teacher.string(),
         why);
  };
  if (!model.reads_tokens()) {
    const auto theirs = pixel_scale(teacher)(), ours = settings.pixels();
    if (theirs && ours && *theirs != *ours) refuse("it normalises pixels otherwise");
    return;
  }
  std::optional<TokenizerJson> theirs, ours;
  try {
    theirs = find_tokenizer(teacher, settings.teacher->model.vocab_size);
    ours = find_tokenizer(beside, model.vocab_size);
  } catch (const Error&) {
    return;  // of a kind that is not read here
  }
  if (theirs && ours && theirs->tokens.size() == ours->tokens.size() &&
      !std::ranges::equal(theirs->tokens, ours->tokens, {}, &Token::text, &Token::text)) {
    refuse("its tokenizer gives words other numbers");
  }
}

// The data, which must be what the model reads, and what lies beside the config about them.
void take_data(Request& request, const NestedModel& model) {
  const bool of_tokens = model.reads_tokens();
  if ((of_tokens ? request.tokens : request.images).empty()) {
    fail_usage("train: the model reads {0}: give --{0}", words_of(model.input.type).kind);
  }
  const std::filesystem::path parent = request.config.parent_path();
  const std::filesystem::path beside = parent.empty() ? "." : parent;
  request.settings.text = text_tokens(beside, model.vocab_size);
  request.settings.pixels = pixel_scale(beside);
  if (request.settings.teacher) require_same_inputs(beside, request.settings, model);
  // What makes inputs of texts and images makes them for the trained model, too.
  const Carry what = request.from.empty() ? Carry::kRuntime : Carry::kAll;
  for (const CarriedFile& file : carried_files(beside, what)) {
    request.settings.companions[file.name] = read_text(beside / file.name, file.bytes);
  }
}

// Takes weights, tokenizer and teacher into the settings. The config is that of --from, if given.
void open_checkpoints(Request& request) {
  if (request.config.empty() == request.from.empty()) {
    fail_usage("train: give either CONFIG, a config.json, or --from, a checkpoint to go on from");
  }
  if (!request.from.empty()) {
    // Its tensors are held to its config; granularities may be added to it.
    OpenedModel opened = open_model(request.from);
    request.config = opened.checkpoint.directory() / "config.json";
    request.settings.start = std::make_shared<const Checkpoint>(std::move(opened.checkpoint));
  }
  if (!request.teacher.empty()) {
    OpenedModel opened = open_model(request.teacher);
    request.settings.teacher = std::make_shared<const Teacher>(
        Teacher{std::move(opened.model), std::move(opened.checkpoint)});
  }
}

NestedModel described_model(const Request& request) {
  nlohmann::json config = read_json(request.config);
  const Family& family = family_of(config);
  NestedModel model = family.describe(config, request.nesting);
  if (!request.nesting.granularities.empty() || !request.nesting.may_skip.empty()) {
    // The trained checkpoint says itself what it was trained for.
    const auto full = family.huggingface_config(model, model.space.full(), model.dtype);
    for (const char* key : {kGranularitiesKey, kMaySkipKey}) {
      if (full.contains(key)) config[key] = full[key];
    }
    model = family.describe(config, {});
  }
  // Its tensors have the names of the table, whatever those of --from are.
  config = family.config_of_table(model);
  return config == model.config ? model : family.describe(config, {});
}

// What stands before the losses. Held-out losses are of the softmax, whatever is trained.
struct LossLabels {
  std::string_view train, held_out;
};

LossLabels labels_of(TargetLoss loss) {
  if (loss == TargetLoss::kSigmoid) return {"train (sigmoid):", "held out (softmax):"};
  return {"train:", "held out:"};
}

void print_head(const NestedModel& model, const Widths& widths, TargetLoss loss,
                const OptionTable& options) {
  for (const auto& [name, value] : options.settings()) note("{:>18}  {}\n", name, value);
  if (model.space.levels() == 1 && widths.empty()) {
    note(
        "the config names no granularities: the full width alone is trained, --granularities adds "
        "others\n");
  }
  std::string header;
  if (!widths.empty()) header = fmt::format(" {:>6}", to_string(widths).substr(0, 6));
  for (std::size_t k = 0; widths.empty() && k < model.space.levels(); ++k) {
    header += fmt::format(" {:>6}", to_string(model.space.uniform(k)).substr(0, 6));
  }
  const LossLabels labels = labels_of(loss);
  print("{:>8} {:>9} {:>7}  {}{}  {}{}  {:>8}  left\n", "step", "rate", "norm", labels.train,
        header, labels.held_out, header, fmt::format("{}/s", words_of(model.input.type).kind));
  std::fflush(stdout);
}

void print_report(const TrainReport& report, TargetLoss loss) {
  const LossLabels labels = labels_of(loss);
  print("{:>8} {:>9.2e} {:>7.3f}  {:{}}{}  {:{}}{}  {:>8.0f}  {}\n", report.step,
        report.learning_rate, report.gradient_norm, "", labels.train.size(),
        losses_text(report.train_loss), "", labels.held_out.size(),
        losses_text(report.validation_loss), report.outputs_per_second,
        duration_text(report.seconds_left));
  std::fflush(stdout);
}

}  // namespace

int train_command(const Arguments& arguments) {
  Request request;
  OptionTable options = option_table(request);
  if (!options.parse(arguments)) return 0;
  TrainSettings& settings = request.settings;
  settings.schedule = parse_schedule(request.schedule);
  settings.weights = parse_weights(request.weights);
  settings.loss = parse_target_loss(request.loss);
  const InterruptGuard guard;
  if (request.tokens.empty() == request.images.empty()) {
    fail_usage("train: give either --tokens, a token file, or --images, an image set");
  }
  settings.data = request.tokens.empty() ? request.images : request.tokens;
  open_checkpoints(request);
  require_target_of(request);
  settings.replaceable = replaceable(request.force);
  const NestedModel model = described_model(request);
  if (!request.widths.empty()) settings.widths = parse_widths(request.widths, model.layers());
  take_data(request, model);
  print_head(model, settings.widths, settings.loss, options);

  const TrainSink sink{[&](const TrainReport& report) { print_report(report, settings.loss); },
                       [&](const Progress&) { return !guard.interrupted(); }};
  try {
    open_engine(request.device.device).train(model, settings, request.device, sink);
  } catch (const Stopped&) {
    note("stopped; the same command goes on from {}\n", request.state().string());
    return 1;
  } catch (const DeviceLost& error) {
    if (!std::filesystem::exists(request.state())) throw;
    fail("{}; the same command goes on from {}", error.what(), request.state().string());
  }
  print("{}\n", request.model().string());
  return 0;
}

}  // namespace mnm
