#include "serve/model_list.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/quantity.h"
#include "base/spelling.h"
#include "serve/api_error.h"

namespace mnm {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t kLongestName = 16 << 10;  // bytes: widths of 1,024 layers have fewer

Json described(const ServedModel& model) {
  const auto or_null = [](const std::optional<double>& value) {
    return value ? Json(*value) : Json();
  };
  return {{"id", model.name},
          {"object", "model"},
          {"created", 0},
          {"owned_by", "mixnmatch"},
          {"widths", model.widths ? Json(to_string(*model.widths)) : Json()},
          {"parameters", model.widths ? Json(model.cost.params) : Json()},
          {"loss", or_null(model.loss)},
          {"standard_error", or_null(model.standard_error)}};
}

}  // namespace

ModelList::ModelList(const NestedModel& model, const std::string& base,
                     std::vector<FrontMember> front)
    : model_(model), costs_(model, {}) {
  if (front.empty()) fail_usage("there is no submodel to serve: the front is empty");
  std::map<std::string, int> uses;
  const auto short_name = [&](const FrontMember& member) {
    const auto params = static_cast<double>(costs_.of(member.widths).params);
    return fmt::format("{}-{}", base, quantity(params));
  };
  for (const FrontMember& member : front) {
    model.space.require(member.widths);
    ++uses[short_name(member)];
  }
  for (const FrontMember& member : front) {
    std::string name = short_name(member);
    if (uses[name] > 1) name += fmt::format("-{}", to_string(member.widths));
    levels_.push_back(served(std::move(name), member));
  }
  std::ranges::sort(levels_, {}, [](const ServedModel& one) { return one.cost.flops; });
  ServedModel elastic{kElastic, std::nullopt, levels_.back().cost, std::nullopt, std::nullopt};
  const auto widest = std::ranges::find(levels_, model.space.full(), &ServedModel::widths);
  FrontMember whole{model.space.full(), std::nullopt, std::nullopt};
  if (widest != levels_.end()) {
    whole.loss = widest->loss;
    whole.standard_error = widest->standard_error;
  }
  all_.push_back(std::move(elastic));
  all_.push_back(served(base, whole));
  all_.insert(all_.end(), levels_.begin(), levels_.end());
}

ServedModel ModelList::served(std::string name, const FrontMember& member) const {
  return {std::move(name), member.widths, costs_.of(member.widths), member.loss,
          member.standard_error};
}

ServedModel ModelList::find(const std::string& name) const {
  const auto found = std::ranges::find(all_, name, &ServedModel::name);
  if (found != all_.end()) return *found;
  if (name.size() > kLongestName) {
    throw ApiError(404, "model", "model_not_found",
                   fmt::format("there is no model whose name has {} bytes", name.size()));
  }
  std::string reason;
  try {
    FrontMember member{parse_widths(name, model_.layers()), std::nullopt, std::nullopt};
    model_.space.require(member.widths);
    return served(to_string(member.widths), member);
  } catch (const UsageError& error) {
    reason = error.what();
  }
  std::vector<std::string_view> names;
  for (const ServedModel& model : all_) names.push_back(model.name);
  // Widths have digits, commas, dashes and crosses alone: who writes those wants to know what is
  // wrong with them.
  const bool widths = !name.empty() && name.find_first_not_of("0123456789x,- ") == name.npos;
  const std::string near = nearest(name, names);
  throw ApiError(404, "model", "model_not_found",
                 widths
                     ? fmt::format("there is no such submodel: {}", reason)
                     : fmt::format("there is no model of this name{}: GET /v1/models lists them, "
                                   "and widths such as {} name any submodel",
                                   near.empty() ? "" : fmt::format(", did you mean '{}'?", near),
                                   to_string(*levels_.front().widths)));
}

std::string ModelList::json() const {
  Json list = {{"object", "list"}, {"data", Json::array()}};
  for (const ServedModel& model : all_) list["data"].push_back(described(model));
  return list.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string ModelList::json_of(const std::string& name) const {
  return described(find(name)).dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace mnm
