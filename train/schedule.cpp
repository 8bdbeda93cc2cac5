#include "train/schedule.h"

#include <cmath>
#include <numbers>
#include <numeric>
#include <span>

#include "base/error.h"
#include "base/random.h"

namespace mnm {
namespace {

// A number for each small key.
std::uint64_t mix(std::uint64_t a, std::uint64_t b, std::uint64_t c) {
  std::uint64_t x = a;
  for (const std::uint64_t part : {b, c}) {
    x = mix_bits(x + 0x9e3779b97f4a7c15u + part * 0xd1342543de82ef95u);
  }
  return x;
}

double unit(std::uint64_t x) { return static_cast<double>(x >> 11) * 0x1p-53; }

// Streams of random numbers, one per use.
enum : std::uint64_t {
  kLevelStream = 1,
  kOrderStream = 2,
  kOffsetStream = 3,
  kMirrorStream = 4,
  kDownStream = 5,
  kRightStream = 6,
  kEraseStream = 7,
  kMixStream = 8
};

// The first example of a micro-batch, counted from the first of the training.
std::uint64_t first_of(const TrainSettings& settings, std::int64_t step, std::int64_t micro_batch) {
  return (static_cast<std::uint64_t>(step) * static_cast<std::uint64_t>(settings.accumulate) +
          static_cast<std::uint64_t>(micro_batch)) *
         static_cast<std::uint64_t>(settings.batch);
}

// A permutation of [0, n) that needs no table: a Feistel network over the next even number of
// bits, walked until it lands inside.
std::uint64_t permuted(std::uint64_t index, std::uint64_t n, std::uint64_t key) {
  int half = 1;
  while ((std::uint64_t{1} << (2 * half)) < n) ++half;
  const std::uint64_t mask = (std::uint64_t{1} << half) - 1;
  do {
    std::uint64_t left = index >> half, right = index & mask;
    for (std::uint64_t round = 0; round < 4; ++round) {
      const std::uint64_t next = left ^ (mix(key, round, right) & mask);
      left = right;
      right = next;
    }
    index = left << half | right;
  } while (index >= n);
  return index;
}

}  // namespace

double learning_rate(const TrainSettings& settings, std::int64_t step) {
  if (step < settings.warmup) {
    return settings.learning_rate * static_cast<double>(step + 1) /
           static_cast<double>(settings.warmup);
  }
  const double left =
      static_cast<double>(std::max<std::int64_t>(1, settings.steps - settings.warmup));
  const double done = static_cast<double>(step - settings.warmup) / left;
  const double cosine = 0.5 * (1 + std::cos(std::numbers::pi * done));
  return settings.learning_rate * (settings.min_rate + (1 - settings.min_rate) * cosine);
}

namespace {

// One of the levels [first, last), drawn with probabilities in the ratio of the weights.
std::size_t draw_level(const TrainSettings& settings, std::size_t first, std::size_t last,
                       std::int64_t step) {
  const double u = unit(mix(settings.seed, kLevelStream, static_cast<std::uint64_t>(step)));
  const std::span<const double> weights(settings.weights);
  const double total =
      weights.empty() ? 0 : std::accumulate(weights.begin() + first, weights.begin() + last, 0.0);
  if (total == 0) return first + static_cast<std::size_t>(u * static_cast<double>(last - first));
  double below = 0;
  std::size_t drawn = first;
  for (std::size_t k = first; k < last; ++k) {
    below += weights[k] / total;
    if (weights[k] > 0) drawn = k;
    if (u < below) return k;
  }
  return drawn;
}

}  // namespace

std::string_view to_string(Schedule schedule) {
  if (schedule == Schedule::kSandwich) return "sandwich";
  return schedule == Schedule::kJoint ? "joint" : "sampled";
}

Schedule parse_schedule(std::string_view name) {
  for (const Schedule schedule : {Schedule::kSampled, Schedule::kJoint, Schedule::kSandwich}) {
    if (name == to_string(schedule)) return schedule;
  }
  if (name == "one") return Schedule::kSampled;  // its earlier name
  fail_usage("there is no schedule '{}': expected 'sampled', 'joint' or 'sandwich'", name);
}

std::vector<Share> shares_of_step(const TrainSettings& settings, std::size_t levels,
                                  std::int64_t step) {
  if (settings.schedule == Schedule::kSampled) return {{draw_level(settings, 0, levels, step), 1}};
  std::vector<Share> shares;
  if (settings.schedule == Schedule::kSandwich) {
    shares.push_back({0, 1});
    if (levels > 2) shares.push_back({draw_level(settings, 1, levels - 1, step), 1});
    if (levels > 1) shares.push_back({levels - 1, 1});
    for (Share& share : shares) share.weight = 1 / static_cast<double>(shares.size());
    return shares;
  }
  for (std::size_t k = 0; k < levels; ++k) {
    const double weight =
        settings.weights.empty() ? 1 / static_cast<double>(levels) : settings.weights[k];
    if (weight > 0) shares.push_back({k, weight});
  }
  return shares;
}

std::vector<std::uint64_t> draw_starts(const TrainSettings& settings, std::uint64_t tokens,
                                       std::int64_t step, std::int64_t micro_batch) {
  const auto context = static_cast<std::uint64_t>(settings.context);
  const auto batch = static_cast<std::uint64_t>(settings.batch);
  // One sequence fewer than fit leaves room for a pass's own offset in [0, context).
  const std::uint64_t fit = (tokens - 1) / context;
  const std::uint64_t pass_length = fit > 1 ? fit - 1 : 1;
  const std::uint64_t first = first_of(settings, step, micro_batch);
  std::vector<std::uint64_t> starts;
  for (std::uint64_t i = first; i < first + batch; ++i) {
    const std::uint64_t pass = i / pass_length;
    const std::uint64_t offset = fit > 1 ? mix(settings.seed, kOffsetStream, pass) % context : 0;
    const std::uint64_t key = mix(settings.seed, kOrderStream, pass);
    starts.push_back(offset + context * permuted(i % pass_length, pass_length, key));
  }
  return starts;
}

namespace {

void erase(const TrainSettings& settings, std::uint64_t image, DrawnImage& drawn) {
  constexpr double kLeast = 0.02, kMost = 1.0 / 3, kAspect = 10.0 / 3;
  Random random(mix(settings.seed, kEraseStream, image));
  if (!random.chance(settings.erase)) return;
  for (int attempt = 0; attempt < 10; ++attempt) {
    const double area = kLeast + (kMost - kLeast) * random.uniform();
    const double aspect = std::pow(kAspect, 2 * random.uniform() - 1);
    const double height = std::sqrt(area * aspect), width = std::sqrt(area / aspect);
    if (height > 1 || width > 1) continue;
    drawn.height = height, drawn.width = width;
    drawn.top = (1 - height) * random.uniform(), drawn.left = (1 - width) * random.uniform();
    return;
  }
}

}  // namespace

std::vector<DrawnImage> draw_images(const TrainSettings& settings, std::int64_t images,
                                    std::int64_t step, std::int64_t micro_batch) {
  const auto count = static_cast<std::uint64_t>(images);
  const auto span = static_cast<std::uint64_t>(2 * settings.shift + 1);
  const std::uint64_t first = first_of(settings, step, micro_batch);
  std::vector<DrawnImage> drawn;
  for (std::uint64_t i = first; i < first + static_cast<std::uint64_t>(settings.batch); ++i) {
    const std::uint64_t key = mix(settings.seed, kOrderStream, i / count);
    const auto moved = [&](std::uint64_t stream) {
      return static_cast<std::int64_t>(mix(settings.seed, stream, i) % span) - settings.shift;
    };
    drawn.push_back({static_cast<std::int64_t>(permuted(i % count, count, key)),
                     settings.flip && mix(settings.seed, kMirrorStream, i) % 2 == 1,
                     moved(kDownStream), moved(kRightStream)});
    if (settings.erase > 0) erase(settings, i, drawn.back());
  }
  return drawn;
}

// Beta(a, a) by Joehnk's method: of u^(1/a) and v^(1/a), the first's share of both if they sum up
// to at most 1. For a small a both powers are too small for a double, so their ratio is taken by
// logarithms.
double own_share(const TrainSettings& settings, std::int64_t step, std::int64_t micro_batch) {
  if (settings.mixup == 0) return 1;
  Random random(mix(settings.seed, kMixStream, first_of(settings, step, micro_batch)));
  for (;;) {
    const double x = std::log(random.uniform()), y = std::log(random.uniform());
    if (std::exp(x / settings.mixup) + std::exp(y / settings.mixup) > 1) continue;
    const double share = 1 / (1 + std::exp((y - x) / settings.mixup));
    if (share > 0) return share;
  }
}

TargetLoss parse_target_loss(std::string_view name) {
  if (name == kTargetLosses[0]) return TargetLoss::kSoftmax;
  if (name == kTargetLosses[1]) return TargetLoss::kSigmoid;
  fail_usage("there is no loss '{}': expected softmax or sigmoid", name);
}

void check_settings(const TrainSettings& s, std::size_t levels) {
  const auto require = [](bool holds, const char* option, double value, const char* expected) {
    if (!holds) fail_usage("{} is {}, expected {}", option, value, expected);
  };
  const auto positive = [&](const char* option, double value) {
    require(value > 0, option, value, "more than 0");
  };
  const auto not_negative = [&](const char* option, double value) {
    require(value >= 0, option, value, "0 or more");
  };
  const auto share = [&](const char* option, double value) {
    require(value >= 0 && value <= 1, option, value, "0 to 1");
  };
  const auto below_one = [&](const char* option, double value) {
    require(value >= 0 && value < 1, option, value, "0 or more, and less than 1");
  };
  positive("--steps", static_cast<double>(s.steps));
  positive("--batch", static_cast<double>(s.batch));
  positive("--accumulate", static_cast<double>(s.accumulate));
  positive("--context", static_cast<double>(s.context));
  positive("--learning-rate", s.learning_rate);
  positive("epsilon", s.epsilon);
  positive("--clip", s.clip);
  positive("--report-every", static_cast<double>(s.report_every));
  positive("--checkpoint-every", static_cast<double>(s.checkpoint_every));
  positive("--temperature", s.temperature);
  below_one("--beta1", s.beta1);
  below_one("--beta2", s.beta2);
  below_one("--label-smoothing", s.label_smoothing);
  share("--min-rate", s.min_rate);
  share("--distil", s.distil);
  share("--erase", s.erase);
  not_negative("--weight-decay", s.weight_decay);
  not_negative("--shift", static_cast<double>(s.shift));
  not_negative("--warmup", static_cast<double>(s.warmup));
  require(s.mixup >= 0 && s.mixup <= 8, "--mixup", s.mixup, "0 to 8");
  if (s.mixup > 0 && s.batch < 2) {
    fail_usage("--mixup mixes pairs of a micro-batch, and --batch {} has none: expected 2 or more",
               s.batch);
  }
  if (s.loss == TargetLoss::kSigmoid && s.distil > 0) {
    fail_usage("--loss sigmoid has no softmax that --distil could compare: give one of the two");
  }
  if (s.weights.empty()) return;
  double total = 0;
  for (const double weight : s.weights) {
    not_negative("--weights", weight);
    total += weight;
  }
  if (s.weights.size() != levels || !(total > 0) || !std::isfinite(total)) {
    fail_usage("--weights has {} for {} granularities: give one for each, not all 0",
               s.weights.size(), levels);
  }
}

void require_a_sequence(const TrainSettings& s, std::uint64_t tokens) {
  if (tokens < static_cast<std::uint64_t>(s.context) + 1) {
    fail_usage("{} holds {} tokens: a sequence of --context {} needs {}", s.data.string(), tokens,
               s.context, s.context + 1);
  }
}

}  // namespace mnm
