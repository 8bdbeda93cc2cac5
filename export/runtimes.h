// Which other programs load a submodel, in which format, and why not. A family states rules as data
// (Family::runtimes), and the functions here apply them to given widths.
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
  // As what it loads submodels whose layers all have one width, and submodels whose layers differ.
  // Empty: it loads no such submodels. Skipped layers are absent and make no difference.
  std::string uniform_as, mixed_as;
  Width multiple = 1;   // every width must be a multiple of it
  std::string why_not;  // the reason why it loads no others: "its config holds one width"
  // Why it does not load this model at any widths. Empty: it loads some.
  std::string refusal;
};

// A rule for weights in f32, f16 and bf16 that says nothing of widths yet.
RuntimeRule runtime_rule(std::string runtime, std::string version, std::string format,
                         Evidence evidence = Evidence::kRun);

bool is_trained(const WidthSpace& space, const Widths& widths);  // every layer at a granularity

// Why the runtime does not load these widths. Nothing if it does.
std::optional<std::string> refusal_of(const RuntimeRule& rule, const Widths& widths);

// Similar widths that the runtime does load.
struct Detour {
  Widths widths;
  bool up = false;       // no layer is narrower, or the sum of the widths is not smaller
  bool trained = false;  // is_trained
};

// The nearest widths upwards and downwards, and the nearest trained widths if those are others: up
// to four, narrower ones first. If layers may differ, each layer moves by itself to the next width
// that it may take. If they may not, all go to the width whose sum over the layers is nearest.
// Empty if the rule refuses the model.
std::vector<Detour> detours(const WidthSpace& space, const Widths& widths, const RuntimeRule& rule);

}  // namespace mnm
