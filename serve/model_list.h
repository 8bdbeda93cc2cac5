// The models that a server offers: the submodels of a front, each under a name, and `auto`, which
// is whichever of them the load allows.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "model/cost.h"
#include "model/nested_model.h"

namespace mnm {

inline constexpr const char* kElastic = "auto";

// A submodel of the front, and its loss where a store has one.
struct FrontMember {
  Widths widths;
  std::optional<double> loss, standard_error;  // nats per token
};

struct ServedModel {
  std::string name;
  std::optional<Widths> widths;  // nothing: elastic
  Cost cost;                     // of the widths; of the widest for elastic
  std::optional<double> loss, standard_error;
};

class ModelList {
 public:
  // `base`: the checkpoint's name. A member is called by it and its parameters, "reference-559K",
  // and by the widths too where two would have one name. The whole model is called `base`. `model`
  // outlives the list. UsageError if `front` is empty or has widths that the model does not allow.
  ModelList(const NestedModel& model, const std::string& base, std::vector<FrontMember> front);

  const std::vector<ServedModel>& all() const { return all_; }
  // The front, from narrow to wide by FLOPs per token: what elastic requests run at.
  const std::vector<ServedModel>& levels() const { return levels_; }

  const ServedModel& whole() const { return all_[1]; }  // at its full widths
  // The model of that name, or of these widths ("64x4,256x4"). ApiError 404 if there is none; it
  // names the nearest.
  ServedModel find(const std::string& name) const;

  // The body of GET /v1/models, and of GET /v1/models/NAME.
  std::string json() const;
  std::string json_of(const std::string& name) const;

 private:
  ServedModel served(std::string name, const FrontMember& member) const;

  const NestedModel& model_;
  CostTable costs_;
  std::vector<ServedModel> all_, levels_;
};

}  // namespace mnm
