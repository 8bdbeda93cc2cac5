// Which other programs load a submodel, in which format, and why not: rules as data, which a family
// states of its models (Family::runtimes), and what follows from them for given widths.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "model/width_space.h"
#include "model/widths.h"

namespace mnm {

enum class Evidence : std::uint8_t {
  kRun,   // verified by this project's tests or its documented commands
  kRead,  // from the runtime's source
};
std::string_view to_string(Evidence evidence);  // "run", "read"

// One runtime, for one model in one format.
struct RuntimeRule {
  std::string runtime;  // "llama.cpp"; as scripts/verify spells it, where that runs it
  std::string version;
  Evidence evidence = Evidence::kRun;
  std::string format;               // as --format spells it
  std::vector<std::string> dtypes;  // of the weights, as --dtype spells them
  // What it loads layers of one width as, and such that differ; empty: it loads none such. Layers
  // that are skipped are not there, and make no difference.
  std::string uniform_as, mixed_as;
  Width multiple = 1;   // of which every width must be one
  std::string why_not;  // the reason for what the above leaves out: "its config holds one width"
  // Why it loads this model at no widths whatever; empty: it loads some.
  std::string refusal;
};

bool is_trained(const WidthSpace& space, const Widths& widths);  // every layer at a granularity

// Why the runtime does not load these widths; nothing where it does.
std::optional<std::string> refusal_of(const RuntimeRule& rule, const Widths& widths);

// Widths near by that the runtime does load.
struct Detour {
  Widths widths;
  bool up = false;       // no layer is narrower, or in all no fewer units of width
  bool trained = false;  // is_trained
};

// The nearest up and down, and the nearest of trained widths where those are others: up to four,
// the narrower first. Where layers may differ, each layer moves by itself to the next width that it
// may take; where they may not, all go to the width whose sum over the layers is next. Empty where
// the rule refuses the model.
std::vector<Detour> detours(const WidthSpace& space, const Widths& widths, const RuntimeRule& rule);

}  // namespace mnm
