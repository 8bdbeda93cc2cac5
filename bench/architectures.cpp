// Whether a model is as fast per FLOP as another one: both are loaded, and take turns at the same
// work. bench/architectures.py makes the models, and says which pairs count.
//
// The work of a turn is short, on one thread, and timed by the processor time of this process: so
// what others do on the machine costs little of it, and hits both. The rates are FLOP/s of the cost
// model (model/cost.h). The ratio of a round is that of two turns which follow each other; the
// median of all rounds counts, with the least and the largest beside it.
//
//   build/release/bin/architectures BASE MODEL DATA [ROUNDS]
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <ctime>
#include <exception>
#include <string>
#include <vector>

#include "dataset/tokens.h"
#include "engine/engine.h"
#include "families/open_model.h"
#include "model/cost.h"

namespace mnm {
namespace {

constexpr std::int64_t kContext = 256, kPrompt = 128, kNew = 8;
constexpr const char* kMeasures[] = {"evaluation", "prompt", "generation"};
constexpr std::size_t kMeasureCount = std::size(kMeasures);

double processor_seconds() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

class Contender {
 public:
  Contender(const std::string& directory, const std::string& data)
      : opened_(open_model(directory)),
        widths_(opened_.model.space.full()),
        session_(open_engine("cpu").load(opened_.model, opened_.checkpoint, options_)),
        examples_(load_token_examples({.path = data,
                                       .context = kContext,
                                       .max_tokens = kContext + 1,
                                       .format = TokenFormat::kBytes},
                                      opened_.model.vocab_size, opened_.model.max_context)),
        prompt_(kPrompt, 1) {
    CostBasis basis{.dtype = Dtype::kF32, .context = kContext};
    flops_ = static_cast<double>(cost_of(opened_.model, widths_, basis).flops);
  }

  double flops_per_token() const { return flops_; }

  // FLOP/s at each measure, in one turn.
  std::array<double, kMeasureCount> rates() {
    const double begin = processor_seconds();
    session_->score({&widths_, 1}, examples_, {}, {});
    const double scored = processor_seconds();
    const std::unique_ptr<Sequences> sequences = session_->sequences();
    const SequenceId id = sequences->open({});
    feed(*sequences, id, prompt_);
    const double prompted = processor_seconds();
    for (std::int64_t i = 0; i < kNew; ++i) feed(*sequences, id, std::span(prompt_).first(1));
    const double generated = processor_seconds();
    return {kContext * flops_ / (scored - begin), kPrompt * flops_ / (prompted - scored),
            kNew * flops_ / (generated - prompted)};
  }

 private:
  void feed(Sequences& sequences, SequenceId id, std::span<const std::int64_t> tokens) {
    const Feed one{.sequence = id, .widths = widths_, .tokens = tokens};
    sequences.step({&one, 1});
  }

  OpenedModel opened_;
  Widths widths_;
  DeviceOptions options_ = {.dtype = Dtype::kF32, .threads = 1};
  std::unique_ptr<ModelSession> session_;
  TokenExamples examples_;
  std::vector<std::int64_t> prompt_;
  double flops_ = 0;
};

double median(std::vector<double> values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}

void compare(Contender& base, Contender& model, std::int64_t rounds) {
  std::array<std::vector<double>, kMeasureCount> ratios, rates;
  base.rates();
  model.rates();  // starts what is started once
  for (std::int64_t i = 0; i < rounds; ++i) {
    const bool first = i % 2 == 0;  // who goes first changes
    const auto early = first ? base.rates() : model.rates();
    const auto late = first ? model.rates() : base.rates();
    for (std::size_t m = 0; m < kMeasureCount; ++m) {
      rates[m].push_back(first ? early[m] : late[m]);
      ratios[m].push_back(first ? late[m] / early[m] : early[m] / late[m]);
    }
  }
  fmt::print("{{\"flops\": {}", model.flops_per_token());
  for (std::size_t m = 0; m < kMeasureCount; ++m) {
    fmt::print(R"(, "{}": {{"median": {}, "least": {}, "largest": {}, "base_rate": {}}})",
               kMeasures[m], median(ratios[m]), std::ranges::min(ratios[m]),
               std::ranges::max(ratios[m]), median(rates[m]));
  }
  fmt::print("}}\n");
}

}  // namespace
}  // namespace mnm

int main(int count, char** words) {
  if (count < 4) {
    fmt::print(stderr, "usage: {} BASE MODEL DATA [ROUNDS]\n", words[0]);
    return 2;
  }
  try {
    mnm::Contender base(words[1], words[3]), model(words[2], words[3]);
    mnm::compare(base, model, count > 4 ? std::atoll(words[4]) : 7);
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}\n", error.what());
    return 1;
  }
}
