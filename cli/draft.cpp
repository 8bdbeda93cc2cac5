#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <optional>
#include <span>

#include "base/error.h"
#include "base/interrupt.h"
#include "cli/common_options.h"
#include "cli/example_readers.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/print.h"
#include "cli/progress.h"
#include "dataset/examples.h"
#include "db/store.h"
#include "engine/engine.h"
#include "eval/standard_error.h"
#include "families/open_model.h"
#include "generate/draft_check.h"
#include "generate/draft_length.h"
#include "report/table.h"
#include "study/store_rows.h"

namespace mnm {
namespace {

struct Request {
  ModelOptions model;
  std::filesystem::path db;
  std::string widths;
  std::optional<std::int64_t> latency;
  std::int64_t most = 8, rows = 10, prompts = 8, prompt_tokens = 32, candidates = 32;
  std::string cache = "shared";
  ExampleOptions data, check;
  DraftCheckSettings settings;
  DeviceOptions device;
  bool json = false;
};

// A submodel as a draft.
struct Draft {
  Widths widths;
  double acceptance = 0, error = 0;  // of the acceptance
  double cost = 0;                   // its latency over the verifier's
  DraftLength best;
  // Of the expected speed-up, from the acceptance's.
  double speedup_error() const {
    const auto at = [&](double a) {
      return expected_speedup(std::clamp(a, 0.0, 1.0), best.tokens, cost);
    };
    return (at(acceptance + error) - at(acceptance - error)) / 2;
  }
};

OptionTable option_table(Request& request) {
  static constexpr std::string_view kCaches[] = {"shared", "own"};
  OptionTable options(
      "draft",
      "Chooses the submodel that makes speculative decoding fastest, from the acceptance of each "
      "submodel and from their measured latency. The acceptance against the whole model is read "
      "from the store, and that against another verifier is measured. With --check it also "
      "measures how much faster the choice is.");
  add_model_options(options, request.model);
  options.section("choice")
      .option("db", required(path_value(request.db)), "the store with acceptances and latencies")
      .option("widths", text_value(request.widths, "WIDTHS"),
              "the verifier; else the whole model, whose acceptances the store has")
      .option("most", count_value(request.most, 1, kMostProposals),
              "the most tokens that a draft proposes at once")
      .option("rows", count_value(request.rows, 1, 1000), "how many drafts to show");
  add_latency_option(options, request.latency);
  options.section("another verifier than the whole model")
      .option("data", data_value(request.data.path),
              "tokens, or text, on which acceptances against --widths are measured")
      .option("candidates", count_value(request.candidates, 1, 1 << 20),
              "how many submodels at most are measured, of those on the store's front");
  add_data_options(options, request.data);
  options.section("measuring the choice")
      .option("check", data_value(request.check.path),
              "texts whose beginnings are continued: tokens, or text")
      .option("prompts", count_value(request.prompts, 1, 1 << 20), "how many of them")
      .option("prompt-tokens", count_value(request.prompt_tokens, 2, 1 << 20), "tokens of each")
      .option("max-new-tokens", count_value(request.settings.new_tokens, 2, 1 << 20),
              "tokens that continue each")
      .option("draft-cache", choice_value(request.cache, kCaches),
              "shared: the draft reads and extends the verifier's cache; own: it has one")
      .option("seed", count_value(request.settings.seed), "seed of the draws");
  add_device_options(options, request.device);
  options.section("output").option("json", flag_value(request.json), "results as JSON");
  return options;
}

// What chooses a draft.
struct Choice {
  const Request& request;
  const OpenedModel& opened;
  const Store& store;
  std::int64_t model;  // the store's
  const LatencyTable& latency;
  const Widths& verifier;

  std::vector<Record> front(Metric metric) const {
    FrontQuery query;
    query.model = model;
    query.metric = metric;
    query.cost = CostKind::kLatency;
    query.latency = &latency;
    return store.front(query);
  }
  double cost(const Widths& widths) const { return latency.of(widths) / latency.of(verifier); }
  Draft draft(const Widths& widths, double acceptance, double error) const {
    return {widths, acceptance, error, cost(widths),
            best_draft_length(acceptance, cost(widths), request.most)};
  }
};

void sort(std::vector<Draft>& drafts) {
  std::ranges::stable_sort(
      drafts, [](const Draft& a, const Draft& b) { return a.best.speedup > b.best.speedup; });
}

// The front of acceptance over latency, the fastest pair first. The speed-up grows with the
// acceptance and falls with the cost, so the best draft is on that front.
std::vector<Draft> stored_drafts(const Choice& choice) {
  std::vector<Draft> drafts;
  for (const Record& record : choice.front(Metric::kAcceptance)) {
    if (record.widths == choice.verifier) continue;
    const Measured& measured = *record[Metric::kAcceptance];
    drafts.push_back(choice.draft(record.widths, measured.value, measured.standard_error));
  }
  sort(drafts);
  if (drafts.empty()) {
    const std::string db = choice.request.db.string(),
                      model = choice.request.model.directory.string();
    fail_usage(
        "'{}' has no acceptance of a submodel of '{}': measure some with mixnmatch eval {} --data "
        "FILE --widths grid --metric acceptance --db {}, or search for it",
        db, model, model, db);
  }
  return drafts;
}

// Submodels that are faster than the verifier: of the front of acceptance against the whole model,
// or of the loss where the store has no acceptance. Spread evenly over the front if it has more
// than `most`.
std::vector<Widths> faster_submodels(const Choice& choice, std::size_t most) {
  std::vector<Widths> faster;
  for (const Metric metric : {Metric::kAcceptance, Metric::kLoss}) {
    for (const Record& record : choice.front(metric)) {
      if (choice.cost(record.widths) < 1) faster.push_back(record.widths);
    }
    if (!faster.empty()) break;
  }
  if (faster.size() <= most) return faster;
  std::vector<Widths> spread;
  for (std::size_t i = 0; i < most; ++i) spread.push_back(faster[i * faster.size() / most]);
  return spread;
}

// Drafts of another verifier than the whole model: their acceptance against it is measured, and not
// recorded, since a store has acceptances against the whole model.
std::vector<Draft> measured_drafts(const Choice& choice, ModelSession& session,
                                   const Examples& data) {
  const std::vector<Widths> candidates =
      faster_submodels(choice, static_cast<std::size_t>(choice.request.candidates));
  if (candidates.empty()) {
    fail_usage(
        "'{}' has no score of a submodel of '{}' that is faster than {}: score some with mixnmatch "
        "eval or search",
        choice.request.db.string(), choice.request.model.directory.string(),
        to_string(choice.verifier));
  }
  const ScoreOptions options{.metrics = {Metric::kAcceptance}, .reference = choice.verifier};
  const InterruptGuard guard;
  ProgressBar bar("scoring");
  const std::vector<CandidateScores> scores =
      session.score(candidates, data, options, shown_on(bar, guard));
  std::vector<Draft> drafts;
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    const Estimate acceptance = mean_of(std::span<const float>(scores[i][Metric::kAcceptance]));
    if (!std::isfinite(acceptance.value)) continue;
    drafts.push_back(choice.draft(candidates[i], acceptance.value, acceptance.standard_error));
  }
  sort(drafts);
  if (drafts.empty())
    fail("no submodel's acceptance against {} is a number", to_string(choice.verifier));
  return drafts;
}

Table draft_table(std::span<const Draft> drafts) {
  Table table{{{"widths", "widths", false},
               {"acceptance", "acceptance"},
               {"cost", "latency over the verifier's"},
               {"draft_tokens", "tokens at once"},
               {"expected_speedup", "expected speed-up"}},
              {}};
  for (const Draft& draft : drafts) {
    table.rows.push_back({cell(to_string(draft.widths)),
                          measured_cell(draft.acceptance, draft.error), real_cell(draft.cost, 3),
                          cell(draft.best.tokens),
                          measured_cell(draft.best.speedup, draft.speedup_error())});
  }
  return table;
}

DraftCheck measured(Request& request, const OpenedModel& opened, ModelSession& session,
                    const Draft& best, const Widths& verifier) {
  request.check.context = request.prompt_tokens;
  request.check.max_tokens = request.prompt_tokens * request.prompts + 1;
  request.check.format = request.data.format;
  read_as_model(request.check, opened);
  const auto data = load_examples(request.check, opened.model);
  std::vector<std::vector<std::int64_t>> prompts;
  for (std::int64_t i = 0; i < data->count; ++i) {
    prompts.emplace_back(static_cast<std::size_t>(data->context));
    data->read_inputs(i, 1, std::as_writable_bytes(std::span(prompts.back())));
  }
  const std::int64_t positions = data->context + request.settings.new_tokens;
  if (positions > opened.model.max_context) {
    fail_usage("--prompt-tokens and --max-new-tokens need {} positions, and the model has {}",
               positions, opened.model.max_context);
  }
  request.settings.speculation = {
      .draft = best.widths,
      .verifier = verifier,
      .cache = request.cache == "own" ? DraftCache::kOwn : DraftCache::kShared,
      .draft_tokens = std::max<std::int64_t>(1, best.best.tokens),
      .context = positions};
  const auto sequences = session.sequences();
  const InterruptGuard guard;
  ProgressBar bar("checking");
  return check_draft(*sequences, request.settings, prompts, shown_on(bar, guard));
}

nlohmann::ordered_json json_of(const DraftCheck& check) {
  return {{"tokens", check.tokens},
          {"acceptance", check.acceptance},
          {"tokens_per_verification", check.tokens_per_verification},
          {"seconds_alone", check.alone},
          {"seconds_draft", check.draft},
          {"seconds_verification", check.verification},
          {"predicted_speedup", check.predicted},
          {"formula_speedup", check.formula},
          {"measured_speedup", check.measured}};
}

Widths verifier_of(const Request& request, const NestedModel& model) {
  if (request.widths.empty()) return model.space.full();
  Widths verifier = parse_widths(request.widths, model.layers());
  model.space.require(verifier);
  return verifier;
}

void require_data(const Request& request, bool whole, const Widths& verifier) {
  if (!whole && request.data.path.empty()) {
    fail_usage(
        "the store has acceptances against the whole model: for the verifier {} name text on which "
        "they are measured (--data)",
        to_string(verifier));
  }
  if (whole && !request.data.path.empty()) {
    fail_usage(
        "--data is for another verifier than the whole model, whose acceptances the store "
        "has: leave it out, or name the verifier (--widths)");
  }
}

}  // namespace

int draft_command(const Arguments& arguments) {
  Request request;
  OptionTable options = option_table(request);
  if (!options.parse(arguments)) return 0;
  const OpenedModel opened = open_model(request.model.directory, request.model.nesting);
  if (opened.model.one_output) {
    fail("cannot choose a draft for '{}': it writes no text", request.model.directory.string());
  }
  const Widths verifier = verifier_of(request, opened.model);
  const bool whole = verifier == opened.model.space.full();
  require_data(request, whole, verifier);
  read_as_model(request.data, opened);
  const Store store = Store::open(request.db, Store::Mode::kRead);
  const LatencyRow row = latency_named(store, opened, request.latency);
  const LatencyTable latency(row.measured.parts);
  const Choice choice{request, opened, store, row.model, latency, verifier};
  std::unique_ptr<ModelSession> session;
  if (!whole || !request.check.path.empty()) {
    session =
        open_engine(request.device.device).load(opened.model, opened.checkpoint, request.device);
  }
  const std::vector<Draft> drafts =
      whole ? stored_drafts(choice)
            : measured_drafts(choice, *session, *load_examples(request.data, opened.model));
  const Draft& best = drafts.front();
  const auto shown =
      std::span(drafts).first(std::min(drafts.size(), static_cast<std::size_t>(request.rows)));
  std::optional<DraftCheck> check;
  if (!request.check.path.empty()) {
    check = measured(request, opened, *session, best, verifier);
  }

  if (request.json) {
    nlohmann::ordered_json json = {{"verifier", to_string(verifier)},
                                   {"latency", row.id},
                                   {"drafts", draft_table(shown).json()}};
    json["check"] = check ? json_of(*check) : nlohmann::ordered_json();
    print_json(json);
    return 0;
  }
  note("{}\n", latency_text(row));
  print_table(draft_table(shown), OutputFormat::kText);
  if (best.best.tokens == 0) {
    print("no draft makes {} faster\n", to_string(verifier));
  } else {
    print("best draft: {}, {} tokens at once, expected to be {:.2f} ± {:.2f} times as fast\n",
          to_string(best.widths), best.best.tokens, best.best.speedup, best.speedup_error());
  }
  if (check) {
    print(
        "measured over {} tokens: {:.3f} times as fast; predicted {:.3f} from runs of accepted "
        "tokens ({:.2f} a verification) and times, {:.3f} by the formula (acceptance {:.3f})\n",
        check->tokens, check->measured, check->predicted, check->tokens_per_verification,
        check->formula, check->acceptance);
  }
  return 0;
}

}  // namespace mnm
