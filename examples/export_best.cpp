// Exports the best submodel that a store knows within a budget, checks that what was written
// computes what the nested model computes, and notes it in the store.
//
// Usage: export_best MODEL STORE BUDGET FORMAT OUT
#include <cstdio>
#include <exception>
#include <string>

#include "artifact/checked_export.h"
#include "artifact/formats.h"
#include "artifact/provenance.h"
#include "artifact/selection.h"
#include "db/store.h"
#include "families/open_model.h"
#include "search/budget.h"

int main(int argc, char** argv) try {
  if (argc != 6) {
    std::fprintf(stderr, "usage: %s MODEL STORE BUDGET FORMAT OUT\n", argv[0]);
    return 2;
  }
  const mnm::OpenedModel opened = mnm::open_model(argv[1]);
  mnm::Store store = mnm::Store::open(argv[2], mnm::Store::Mode::kWrite);
  const auto model = mnm::model_in(store, opened);
  if (!model) mnm::fail("{} has no scores of {}", argv[2], argv[1]);
  const mnm::Record best = mnm::best_record(
      store, *model, {.budgets = {mnm::parse_budget(argv[3], mnm::CostKind::kParams)}});

  const auto plan = mnm::plan_export(
      opened, best.widths, mnm::provenance(opened, best.widths, opened.model.dtype, best, &store),
      {.format = argv[4]});
  const mnm::CheckedExport written = mnm::write_checked(opened, *plan, argv[5]);
  store.add_artifact(mnm::artifact_row(*plan, written, argv[5], *model, best));

  std::printf("%s: %s with %lld parameters, loss %.4f\n", argv[5],
              mnm::to_string(best.widths).c_str(), static_cast<long long>(best.cost.params),
              best.value());
  if (written.difference && written.probe) {  // memory held a layer to compute with
    std::printf("logits differ by %.2g, allowed are %.2g\n", written.difference->worst,
                written.probe->tolerance);
  }
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
