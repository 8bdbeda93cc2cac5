#include "artifact/provenance.h"

#include <algorithm>

#include "study/store_rows.h"

namespace mnm {

CostBasis export_basis(const NestedModel& model, Dtype dtype) {
  CostBasis basis{dtype};
  if (model.max_context > 0) basis.context = std::min(basis.context, model.max_context);
  return basis;
}

nlohmann::json provenance(const OpenedModel& opened, const Widths& widths, Dtype dtype,
                          const std::optional<Record>& quoted, const Store* store) {
  const CostBasis basis = export_basis(opened.model, dtype);
  const Cost cost = cost_of(opened.model, widths, basis);
  const ModelRow row = model_row(opened);
  nlohmann::json note;
  note["widths"] = to_string(widths);
  note["source"] = {{"name", row.name},
                    {"fingerprint", row.fingerprint},
                    {"widths", to_string(opened.model.space.full())}};
  note["cost"] = {{"params", cost.params},
                  {"non_embedding", cost.non_embedding},
                  {"bytes", cost.bytes},
                  {"flops_per_token", cost.flops},
                  {"kv_bytes_per_token", cost.kv_bytes},
                  {"context", basis.context}};
  if (!quoted || store == nullptr) return note;
  for (const auto& [id, data] : store->datasets()) {
    if (id != quoted->data) continue;
    note["score"] = {{"loss", quoted->value()},
                     {"loss_se", (*quoted)[Metric::kLoss]->standard_error},
                     {"sequences", quoted->samples},
                     {"context", data.context},
                     {"data", data.name},
                     {"part", part_of(store->data_uses(), id, quoted->model)},
                     {"data_fingerprint", data.fingerprint},
                     {"dtype", to_string(quoted->dtype)}};
  }
  return note;
}

}  // namespace mnm
