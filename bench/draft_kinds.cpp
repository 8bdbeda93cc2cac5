// Three kinds of drafts for one verifier, side by side, as in Table 2 of MatFormer (Devvrit et al.,
// 2023): an independent model of the narrowest submodel's size, the narrowest submodel with a cache
// of its own, and the same that reads and extends the verifier's cache.
//
// In each round the verifier writes texts alone, and then each kind writes as much after the same
// prompts; who goes first changes. A speed-up is that of one round, in processor time of one
// thread, so what others do on the machine hits both. The median of the rounds counts.
//
//   build/release/bin/draft_kinds MODEL DRAFT DATA [PROMPTS] [ROUNDS] [TEMPERATURE]
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <ctime>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/random.h"
#include "bench/scored_texts.h"
#include "generate/scheduled_widths.h"
#include "generate/speculative.h"
#include "model/cost.h"

namespace mnm {
namespace {

using Tokens = std::vector<std::int64_t>;

constexpr std::int64_t kPrompt = 32, kNew = 96;
constexpr std::int64_t kAtOnce[] = {1, 2, 3, 4, 6, 8};

struct Kind {
  const char* name;
  bool independent;
  DraftCache cache;
};
constexpr std::array kKinds = {Kind{"independent", true, DraftCache::kOwn},
                               Kind{"nested, own cache", false, DraftCache::kOwn},
                               Kind{"nested, shared cache", false, DraftCache::kShared}};

double processor_seconds() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

// One model on one thread of the CPU, in f32.
struct Loaded {
  explicit Loaded(const std::string& directory)
      : opened(open_model(directory)),
        session(open_engine("cpu").load(opened.model, opened.checkpoint,
                                        {.dtype = Dtype::kF32, .threads = 1})),
        sequences(session->sequences()) {}

  std::int64_t parameters(const Widths& widths) const {
    return cost_of(opened.model, widths, {}).params;
  }

  OpenedModel opened;
  std::unique_ptr<ModelSession> session;
  std::unique_ptr<Sequences> sequences;
};

// What one kind came to with so many tokens at once, in all rounds.
struct Row {
  std::vector<double> speedups;  // of each round
  SpeculationCounts counts;
  std::int64_t texts = 0, equal = 0;  // equal to what the verifier alone writes
};

void add(SpeculationCounts& to, const SpeculationCounts& more) {
  to.verifications += more.verifications;
  to.tokens += more.tokens;
  to.tested += more.tested;
  to.accepted += more.accepted;
}

class Bench {
 public:
  Bench(const std::string& model, const std::string& draft, const std::string& data,
        std::int64_t prompts, double temperature)
      : model_(model),
        draft_(draft),
        narrow_(model_.opened.model.space.uniform(0)),
        wide_(model_.opened.model.space.full()),
        sampling_{.temperature = temperature} {
    for (const Text& text : read_texts(data, model_.opened.model, prompts, kPrompt)) {
      prompts_.push_back(text.inputs);
    }
  }

  void print(std::int64_t rounds) {
    fmt::print(
        "verifier {}, {} parameters; nested draft {}, {}; independent draft {}, {}; {} prompts of "
        "{} tokens, {} new ones each, {} rounds, temperature {}\n\n"
        "| draft | tokens at once | speed-up, median | least | most | acceptance | tokens per "
        "verification | texts as the verifier's |\n|---|---|---|---|---|---|---|---|\n",
        to_string(wide_), model_.parameters(wide_), to_string(narrow_), model_.parameters(narrow_),
        to_string(independent()), draft_.parameters(independent()), prompts_.size(), kPrompt, kNew,
        rounds, sampling_.temperature);
    for (const std::int64_t at_once : kAtOnce) {
      std::array<Row, kKinds.size()> rows;
      for (std::int64_t round = 0; round < rounds; ++round) add_round(round, at_once, rows);
      for (std::size_t k = 0; k < kKinds.size(); ++k) print_row(kKinds[k], at_once, rows[k]);
    }
  }

 private:
  Widths independent() const { return draft_.opened.model.space.full(); }

  // Writes kNew tokens after the prompt. Returns them; `seconds` grows by what the tokens after the
  // first took.
  Tokens write(TokenSource& source, const Tokens& prompt, double& seconds) const {
    source.read(prompt);
    Tokens text = source.next(kNew);
    const double begin = processor_seconds();
    while (std::ssize(text) < kNew) {
      const Tokens more = source.next(kNew - std::ssize(text));
      text.insert(text.end(), more.begin(), more.end());
    }
    seconds += processor_seconds() - begin;
    return text;
  }

  // The verifier alone, or a kind of draft with it.
  std::vector<Tokens> write_all(const Kind* kind, std::int64_t at_once, double& seconds,
                                SpeculationCounts& counts) {
    Sampler sampler(sampling_);
    Random random(1);
    std::vector<Tokens> texts;
    for (const Tokens& prompt : prompts_) {
      if (kind == nullptr) {
        ScheduledWidths source(*model_.sequences, {.context = kPrompt + kNew}, {{0, wide_}},
                               sampler, random);
        texts.push_back(write(source, prompt, seconds));
        continue;
      }
      const SpeculationSettings settings = {.draft = kind->independent ? independent() : narrow_,
                                            .verifier = wide_,
                                            .cache = kind->cache,
                                            .draft_tokens = at_once,
                                            .context = kPrompt + kNew};
      std::optional<Speculation> source;
      if (kind->independent) {
        source.emplace(*model_.sequences, *draft_.sequences, settings, sampler, random);
      } else {
        source.emplace(*model_.sequences, settings, sampler, random);
      }
      texts.push_back(write(*source, prompt, seconds));
      add(counts, source->counts());
    }
    return texts;
  }

  void add_round(std::int64_t round, std::int64_t at_once, std::array<Row, kKinds.size()>& rows) {
    constexpr std::size_t kAll = kKinds.size() + 1;  // the last one is the verifier alone
    std::array<double, kAll> seconds{};
    std::array<std::vector<Tokens>, kAll> texts;
    for (std::size_t i = 0; i < kAll; ++i) {
      const std::size_t who = (i + static_cast<std::size_t>(round)) % kAll;
      const bool alone = who == kKinds.size();
      SpeculationCounts unused;
      texts[who] = write_all(alone ? nullptr : &kKinds[who], at_once, seconds[who],
                             alone ? unused : rows[who].counts);
    }
    for (std::size_t k = 0; k < kKinds.size(); ++k) {
      rows[k].speedups.push_back(seconds.back() / seconds[k]);
      for (std::size_t i = 0; i < prompts_.size(); ++i) {
        ++rows[k].texts;
        rows[k].equal += texts[k][i] == texts.back()[i] ? 1 : 0;
      }
    }
  }

  void print_row(const Kind& kind, std::int64_t at_once, Row& row) const {
    std::ranges::sort(row.speedups);
    const std::string equal =
        sampling_.temperature == 0 ? fmt::format("{} of {}", row.equal, row.texts) : "drawn";
    fmt::print("| {} | {} | {:.3f} | {:.3f} | {:.3f} | {:.3f} | {:.2f} | {} |\n", kind.name,
               at_once, row.speedups[row.speedups.size() / 2], row.speedups.front(),
               row.speedups.back(), row.counts.acceptance(), row.counts.tokens_per_verification(),
               equal);
  }

  Loaded model_, draft_;
  Widths narrow_, wide_;
  Sampling sampling_;
  std::vector<Tokens> prompts_;
};

}  // namespace
}  // namespace mnm

int main(int count, char** words) {
  const std::int64_t prompts = count > 4 ? std::atoll(words[4]) : 16;
  const std::int64_t rounds = count > 5 ? std::atoll(words[5]) : 7;
  if (count < 4 || prompts < 1 || rounds < 1) {
    fmt::print(stderr, "usage: {} MODEL DRAFT DATA [PROMPTS] [ROUNDS] [TEMPERATURE]\n", words[0]);
    return 2;
  }
  try {
    const double temperature = count > 6 ? std::atof(words[6]) : 0;
    mnm::Bench(words[1], words[2], words[3], prompts, temperature).print(rounds);
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}\n", error.what());
    return 1;
  }
}
