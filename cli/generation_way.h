// The options of `generate` that say how tokens come about: at widths that change, with a draft, as
// wide as each token needs, or with a verifier elsewhere.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/random.h"
#include "cli/options.h"
#include "engine/sequences.h"
#include "generate/generation.h"
#include "generate/sampler.h"
#include "generate/scheduled_widths.h"
#include "generate/speculative.h"
#include "generate/token_source.h"
#include "model/nested_model.h"
#include "serve/remote_speculation.h"
#include "serve/verifier.h"
#include "text/tokenizer_json.h"

namespace mnm {

struct WayOptions {
  std::string widths;
  std::vector<std::string> then;  // "64:512x4,256x4"
  std::string draft, draft_cache = "shared";
  std::int64_t draft_tokens = 0;
  std::string verifier, verifier_model;
  std::filesystem::path token_file;
  double verifier_timeout = 60;  // seconds
  std::string adaptive;          // "64,512"
  double margin = 0.5;
};

void add_way_options(OptionTable& options, WayOptions& way);

// A way to generate, before a model is loaded and after the text is there.
class GenerationWay {
 public:
  // UsageError if the options contradict each other or name no widths of the model. model outlives
  // it.
  GenerationWay(const OptionTable& options, const WayOptions& way, const NestedModel& model,
                Dtype dtype);

  // Of --verifier: connects to the server, which compares the tokenizer. `tokenizer` is null if
  // there is none. Error if no server is there.
  void connect(const TokenizerJson* tokenizer, const Sampling& sampling);

  // The submodel that the text is of, or its first. With --verifier that of the draft.
  const Widths& widths() const { return schedule_.front().widths; }
  // Whether each token takes one pass of `widths`, so that reading its weights bounds the speed.
  bool single() const {
    return schedule_.size() == 1 && draft_.empty() && narrow_.empty() && !remote_;
  }

  std::unique_ptr<TokenSource> source(Sequences& sequences, std::int64_t context, Sampler& sampler,
                                      Random& random) const;

  // What `source` says of itself after `generation`: notes, and members of the JSON.
  nlohmann::ordered_json report(TokenSource& source, const Generation& generation) const;

 private:
  nlohmann::ordered_json report_draft(Speculation& source, const Generation& generation) const;
  nlohmann::ordered_json report_remote(RemoteSpeculation& source) const;

  std::vector<WidthChange> schedule_;  // the first is after 0 tokens
  Widths draft_;                       // empty: none
  SpeculationSettings speculation_;
  Widths narrow_;  // of --adaptive; its wide widths are the schedule's
  double margin_ = 0;
  RemoteVerifier::Settings verifier_;       // of --verifier; no URL: none
  std::unique_ptr<RemoteVerifier> remote_;  // once it is connected
};

}  // namespace mnm
