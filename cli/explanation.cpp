#include "cli/explanation.h"

#include <fmt/format.h>

#include <cstdio>

#include "cli/output.h"
#include "cli/print.h"

namespace mnm {

void print_explanation(const Explanation& explanation, bool json) {
  if (json) {
    nlohmann::ordered_json out;
    out["widths"] = to_string(explanation.widths);
    out["runtimes"] = explanation.runtimes.json();
    out["detours"] = explanation.detours.json();
    print_json(out);
    return;
  }
  print("{}\n\n{}", to_string(explanation.widths), Lines{explanation.runtimes.text()});
  if (explanation.detours.rows.empty()) return;
  print("\nThe nearest that those load which do not load these:\n\n{}",
        Lines{explanation.detours.text()});
}

}  // namespace mnm
