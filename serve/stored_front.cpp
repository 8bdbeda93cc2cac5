#include "serve/stored_front.h"

#include "artifact/selection.h"
#include "base/error.h"
#include "heuristics/uniform.h"

namespace mnm {

std::vector<FrontMember> stored_front(const Store& store, const OpenedModel& opened,
                                      const std::string& data) {
  const std::optional<std::int64_t> model = model_in(store, opened);
  if (!model) {
    fail_usage("the store has no scores of '{}': search it first, or serve it without --db",
               opened.checkpoint.directory().string());
  }
  FrontQuery query;
  query.model = *model;
  query.data = data_to_choose_by(store, *model, data);
  std::vector<FrontMember> front;
  for (const Record& member : store.front(query)) {
    if (opened.model.space.refusal(member.widths)) continue;  // of another --granularities
    const std::optional<Record> quoted = scored_record(store, *model, member.widths);
    const Record& record = quoted ? *quoted : member;
    const std::optional<Measured>& loss = record[Metric::kLoss];
    front.push_back(
        {member.widths, record.value(), loss ? std::optional(loss->standard_error) : std::nullopt});
  }
  return front;
}

std::vector<FrontMember> uniform_front(const NestedModel& model) {
  std::vector<FrontMember> front;
  for (const Widths& widths : uniform_schedule(model.space)) {
    front.push_back({widths, std::nullopt, std::nullopt});
  }
  return front;
}

}  // namespace mnm
