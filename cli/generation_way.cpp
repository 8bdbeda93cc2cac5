#include "cli/generation_way.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cmath>
#include <functional>
#include <limits>
#include <optional>
#include <utility>

#include "base/error.h"
#include "base/quantity.h"
#include "cli/print.h"
#include "generate/adaptive_widths.h"
#include "generate/draft_length.h"
#include "serve/bearer_token.h"
#include "serve/words.h"

namespace mnm {
namespace {

using Json = nlohmann::ordered_json;

Widths widths_of(const std::string& text, const NestedModel& model) {
  if (text.empty()) return model.space.full();
  Widths widths = parse_widths(text, model.layers());
  model.space.require(widths);
  return widths;
}

WidthChange change_of(const std::string& text, const NestedModel& model) {
  const std::size_t colon = text.find(':');
  std::int64_t after = 0;
  const char* const end = text.data() + std::min(colon, text.size());
  const auto [rest, error] = std::from_chars(text.data(), end, after);
  if (colon == std::string::npos || colon + 1 == text.size() || error != std::errc() ||
      rest != end || after < 1) {
    fail_usage("--then takes a number of tokens and widths, such as 64:512x4,256x4, not '{}'",
               text);
  }
  return {after, widths_of(text.substr(colon + 1), model)};
}

// Two texts of widths around a comma. The widths themselves may hold commas, so the pair is the one
// whose halves both name a submodel.
std::pair<Widths, Widths> pair_of(const std::string& text, const NestedModel& model) {
  const auto parsed = [&](const std::string& half) -> std::optional<Widths> {
    try {
      if (half.empty()) return std::nullopt;
      return widths_of(half, model);
    } catch (const UsageError&) {
      return std::nullopt;
    }
  };
  for (std::size_t comma = text.find(','); comma != std::string::npos;
       comma = text.find(',', comma + 1)) {
    const auto narrow = parsed(text.substr(0, comma)), wide = parsed(text.substr(comma + 1));
    if (narrow && wide) return {*narrow, *wide};
  }
  fail_usage("--adaptive takes narrow and wide widths of this model, such as 64,512, not '{}'",
             text);
}

void require_consistent(const OptionTable& options) {
  const int ways =
      static_cast<int>(options.given("then")) + static_cast<int>(options.given("draft")) +
      static_cast<int>(options.given("adaptive")) + static_cast<int>(options.given("verifier"));
  if (ways > 1) fail_usage("give one of --then, --draft, --adaptive and --verifier");
  const auto require = [&](const char* needless, bool used, const char* what) {
    if (options.given(needless) && !used) fail_usage("--{} {}, too", needless, what);
  };
  const bool draft = options.given("draft"), verifier = options.given("verifier");
  require("draft-cache", draft, "says where a draft keeps what it reads: give --draft");
  require("draft-tokens", draft || verifier,
          "says how a draft is used: give --draft or --verifier");
  for (const char* needless : {"verifier-model", "verifier-timeout", "token-file"}) {
    require(needless, verifier, "says how a server is asked: give --verifier");
  }
  if (options.given("margin") && !options.given("adaptive")) {
    fail_usage("--margin says when --adaptive computes a token wide: give that, too");
  }
  if (options.given("adaptive") && options.given("widths")) {
    fail_usage("--adaptive names both submodels: leave out --widths");
  }
}

// How long the verifier takes for a token without a draft; nothing if it is gone, since the text is
// there all the same.
std::optional<double> alone_of(RemoteSpeculation& source) {
  try {
    return source.verifier_seconds();
  } catch (const Error& error) {
    note("the server was not timed alone: {}\n", error.what());
    return std::nullopt;
  }
}

}  // namespace

void add_way_options(OptionTable& options, WayOptions& way) {
  static constexpr std::string_view kCaches[] = {"shared", "own"};
  options
      .option("widths", text_value(way.widths, "WIDTHS"),
              "the submodel: 512x4,256x8, or a single width for all layers; else the whole model")
      .section("how tokens come about: one of --then, --draft, --adaptive and --verifier")
      .option("then", texts_value(way.then, "N:WIDTHS"),
              "after N new tokens go on at these widths, with what the cache holds")
      .option("draft", text_value(way.draft, "WIDTHS"),
              "speculative decoding: these widths propose tokens, and --widths verifies them. The "
              "text is distributed as that of --widths alone")
      .option("draft-tokens", count_value(way.draft_tokens, 0, kMostProposals),
              "so many tokens are proposed at once; 0: chosen by the acceptance so far")
      .option("draft-cache", choice_value(way.draft_cache, kCaches),
              "shared: the draft reads and extends the verifier's cache; own: it has one")
      .option("adaptive", text_value(way.adaptive, "NARROW,WIDE"),
              "compute each token at NARROW, and again at WIDE where the prediction is unsure")
      .option("margin", real_value(way.margin, 0, 1),
              "with --adaptive: unsure is a prediction whose likeliest token is not this much more "
              "probable than the second")
      .option("verifier", text_value(way.verifier, "URL"),
              "speculative decoding across a network: --widths propose tokens, and the `mixnmatch "
              "serve` at this address verifies them. The text is distributed as the server's alone")
      .option("verifier-model", text_value(way.verifier_model, "NAME"),
              "of the server's models, or widths; else the whole one")
      .option("verifier-timeout", duration_value(way.verifier_timeout),
              "how long an answer of the server may take")
      .option("token-file", path_value(way.token_file),
              "a file whose first line is the secret that the server asks for");
}

GenerationWay::GenerationWay(const OptionTable& options, const WayOptions& way,
                             const NestedModel& model, Dtype dtype) {
  require_consistent(options);
  if (options.given("adaptive")) {
    auto [narrow, wide] = pair_of(way.adaptive, model);
    if (std::ranges::equal(narrow, wide, std::greater_equal<>())) {
      fail_usage("--adaptive {}: the first widths must be narrower than the second", way.adaptive);
    }
    narrow_ = std::move(narrow);
    margin_ = way.margin;
    schedule_ = {{0, std::move(wide)}};
    return;
  }
  schedule_ = {{0, widths_of(way.widths, model)}};
  for (const std::string& text : way.then) {
    schedule_.push_back(change_of(text, model));
    if (schedule_.back().after <= schedule_[schedule_.size() - 2].after) {
      fail_usage("--then {} comes after {} tokens already: let them ascend", text,
                 schedule_[schedule_.size() - 2].after);
    }
  }
  if (options.given("verifier")) {
    verifier_.url = way.verifier;
    if (!way.verifier_model.empty()) verifier_.model = way.verifier_model;
    verifier_.vocabulary = model.vocab_size;
    if (!way.token_file.empty()) verifier_.http.bearer = read_bearer_token(way.token_file);
    verifier_.http.answer = std::chrono::seconds(
        std::max<std::int64_t>(1, static_cast<std::int64_t>(way.verifier_timeout)));
    speculation_.draft_tokens = way.draft_tokens;
    return;
  }
  if (!options.given("draft")) return;
  draft_ = widths_of(way.draft, model);
  const auto bytes = [&](const Widths& widths) {
    return static_cast<double>(bytes_per_token(model, widths, dtype, 0));
  };
  speculation_ = {.draft = draft_,
                  .verifier = widths(),
                  .cache = way.draft_cache == "own" ? DraftCache::kOwn : DraftCache::kShared,
                  .draft_tokens = way.draft_tokens,
                  .cost = bytes(draft_) / bytes(widths())};
}

void GenerationWay::connect(const TokenizerJson* tokenizer, const Sampling& sampling) {
  if (verifier_.url.empty()) return;
  verifier_.sampling = sampling;
  if (tokenizer != nullptr) verifier_.tokenizer = fingerprint_of(*tokenizer);
  remote_ = std::make_unique<RemoteVerifier>(verifier_);
}

std::unique_ptr<TokenSource> GenerationWay::source(Sequences& sequences, std::int64_t context,
                                                   Sampler& sampler, Random& random) const {
  if (remote_) {
    const RemoteSettings settings = {.draft = widths(),
                                     .draft_tokens = speculation_.draft_tokens,
                                     .context = context,
                                     .sampling = sampler.sampling()};
    return std::make_unique<RemoteSpeculation>(sequences, *remote_, settings, random);
  }
  if (!narrow_.empty()) {
    return std::make_unique<AdaptiveWidths>(sequences, context, narrow_, widths(), margin_, sampler,
                                            random);
  }
  if (draft_.empty()) {
    return std::make_unique<ScheduledWidths>(sequences, SequenceOptions{.context = context},
                                             schedule_, sampler, random);
  }
  SpeculationSettings settings = speculation_;
  settings.context = context;
  return std::make_unique<Speculation>(sequences, settings, sampler, random);
}

Json GenerationWay::report(TokenSource& source, const Generation& generation) const {
  if (auto* const adaptive = dynamic_cast<AdaptiveWidths*>(&source)) {
    note("{} of {} tokens were computed at {}\n", adaptive->wide(), adaptive->computed(),
         to_string(widths()));
    return {{"narrow_widths", to_string(narrow_)},
            {"margin", margin_},
            {"computed_tokens", adaptive->computed()},
            {"wide_tokens", adaptive->wide()}};
  }
  if (auto* const speculation = dynamic_cast<Speculation*>(&source)) {
    return report_draft(*speculation, generation);
  }
  if (auto* const speculation = dynamic_cast<RemoteSpeculation*>(&source)) {
    return report_remote(*speculation);
  }
  Json changes = Json::array();
  for (const WidthChange& change : schedule_) {
    changes.push_back({{"after", change.after}, {"widths", to_string(change.widths)}});
  }
  if (single()) return Json::object();
  return {{"schedule", std::move(changes)}};
}

Json GenerationWay::report_draft(Speculation& source, const Generation& generation) const {
  const SpeculationCounts counts = source.counts();
  Json json = {{"draft_widths", to_string(draft_)},
               {"draft_cache", speculation_.cache == DraftCache::kOwn ? "own" : "shared"},
               {"verifications", counts.verifications},
               {"proposed_tokens", counts.proposed},
               {"tested_tokens", counts.tested},
               {"accepted_tokens", counts.accepted}};
  if (counts.verifications == 0 || counts.draft_passes == 0) return json;
  const double alone = source.verifier_seconds();
  const double draft = counts.draft_seconds / static_cast<double>(counts.draft_passes);
  const double length =
      static_cast<double>(counts.proposed) / static_cast<double>(counts.verifications);
  const double verification = counts.verify_seconds / static_cast<double>(counts.verifications);
  const double expected = expected_speedup(counts.acceptance(), std::llround(length), draft / alone,
                                           verification / alone);
  const double speed = static_cast<double>(generation.decoded) / generation.decode_seconds;
  json["acceptance"] = counts.acceptance();
  json["tokens_per_verification"] = counts.tokens_per_verification();
  json["draft_tokens"] = length;
  json["draft_pass_seconds"] = draft;
  json["verification_seconds"] = verification;
  json["verifier_pass_seconds"] = alone;
  json["speedup"] = speed * alone;
  json["expected_speedup"] = expected;
  note(
      "draft {}: {:.3f} of {} tested tokens accepted; a verification gives {:.2f} tokens, {:.1f} "
      "of them proposed\n",
      to_string(draft_), counts.acceptance(), counts.tested, counts.tokens_per_verification(),
      length);
  note(
      "{} alone does {} tokens/s: with the draft it is {:.2f} times as fast; {:.2f} is expected "
      "from acceptance and latencies\n",
      to_string(widths()), quantity(1 / alone), speed * alone, expected);
  return json;
}

Json GenerationWay::report_remote(RemoteSpeculation& source) const {
  const SpeculationCounts counts = source.counts();
  const RoundTrips trips = remote_->trips();  // before those that measure the verifier alone
  Json json = {{"verifier", remote_->url()},       {"verifier_widths", remote_->widths()},
               {"round_trips", trips.count},       {"bytes_sent", trips.sent},
               {"bytes_received", trips.received}, {"proposed_tokens", counts.proposed},
               {"tested_tokens", counts.tested},   {"accepted_tokens", counts.accepted}};
  if (counts.verifications == 0 || counts.draft_passes == 0) return json;
  const auto count = static_cast<double>(trips.count);
  const auto tokens = static_cast<double>(counts.tokens);
  const double length = static_cast<double>(counts.proposed) / count;
  const double draft = counts.draft_seconds / static_cast<double>(counts.draft_passes);
  // The first round trip reads the prompt, and says nothing of the others.
  const double later = std::max(1.0, count - 1);
  const bool only = trips.count == 1;
  const double verification = (trips.computed - (only ? 0 : trips.first_computed)) / later;
  const double trip = (trips.seconds - (only ? 0 : trips.first_seconds)) / later;
  const std::optional<double> alone = alone_of(source);
  const double bytes = static_cast<double>(trips.sent + trips.received) / tokens;
  json["acceptance"] = counts.acceptance();
  json["tokens_per_round_trip"] = tokens / count;
  json["round_trips_per_token"] = count / tokens;
  json["network_bytes_per_token"] = bytes;
  json["draft_tokens"] = length;
  json["draft_pass_seconds"] = draft;
  json["verification_seconds"] = verification;
  json["round_trip_seconds"] = trip;
  json["network_seconds"] = trip - verification;
  note(
      "verifier {} at {}: {:.3f} of {} tested tokens accepted; {:.2f} round trips and {} bytes a "
      "token\n",
      remote_->widths(), remote_->url(), counts.acceptance(), counts.tested, count / tokens,
      std::llround(bytes));
  note("a round trip takes {:.1f} ms, of which the server computes {:.1f} ms\n", 1e3 * trip,
       1e3 * verification);
  if (!alone) return json;
  const double even = break_even_seconds(tokens / count, *alone, length, draft, verification);
  json["verifier_pass_seconds"] = *alone;
  json["break_even_seconds"] = even;
  if (even > 0) {
    note("this is faster than the server alone if the network takes less than {:.1f} ms of it\n",
         1e3 * even);
  } else {
    note("the server alone is faster, however fast the network is\n");
  }
  return json;
}

}  // namespace mnm
