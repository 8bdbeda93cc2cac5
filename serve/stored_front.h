// The front that a server offers: that of a store, or, without one, the uniform submodels.
#pragma once

#include <string>
#include <vector>

#include "db/store.h"
#include "families/open_model.h"
#include "serve/model_list.h"

namespace mnm {

// The members of the store's front of this checkpoint, by parameters and loss on the data that
// data_to_choose_by names. Each has the loss to quote (scored_record). UsageError if the store does
// not know the checkpoint or has no scores of it.
std::vector<FrontMember> stored_front(const Store& store, const OpenedModel& opened,
                                      const std::string& data);

// One submodel for each granularity, without losses.
std::vector<FrontMember> uniform_front(const NestedModel& model);

}  // namespace mnm
