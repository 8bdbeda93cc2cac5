// Searches a nested checkpoint for its best submodels within a budget, and prints the front as
// tokens score it that did not choose it.
//
// Usage: search_under_budget MODEL SEARCH_TOKENS CONFIRM_TOKENS STORE BUDGET EVALUATIONS
#include <cstdio>
#include <exception>
#include <string>

#include "dataset/examples.h"
#include "db/store.h"
#include "families/open_model.h"
#include "search/budget.h"
#include "study/session.h"

int main(int argc, char** argv) try {
  if (argc != 7) {
    std::fprintf(stderr, "usage: %s MODEL SEARCH CONFIRM STORE BUDGET EVALUATIONS\n", argv[0]);
    return 2;
  }
  const mnm::OpenedModel opened = mnm::open_model(argv[1]);
  const auto data = mnm::load_examples({.path = argv[2]}, opened.model);
  const auto confirm = mnm::load_examples({.path = argv[3]}, opened.model);
  mnm::Store store = mnm::Store::open(argv[4], mnm::Store::Mode::kWrite);

  mnm::SearchRequest request{opened, *data, confirm.get()};
  request.budgets = {mnm::parse_budget(argv[5], mnm::CostKind::kParams)};
  request.settings.max_evaluations = std::stoull(argv[6]);
  mnm::SearchSession session(request);
  mnm::Scorer scorer(opened, mnm::DeviceOptions{}, mnm::ScoreOptions{});
  session.begin(store, scorer);
  session.search();

  const mnm::ConfirmedFront front = session.confirm();
  for (const mnm::ConfirmedMember& member : front.members) {
    if (!member.on_front || !mnm::is_ok(front, member.confirmed)) continue;
    const auto& loss = (*member.confirmed)[front.metric];
    std::printf("%-24s %10lld parameters, loss %.4f +- %.4f\n",
                mnm::to_string(member.widths).c_str(), static_cast<long long>(member.cost.params),
                loss->value, loss->standard_error);
  }
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
