// A cascade of two submodels that a store holds scores of, from the store alone: what it would do
// at each threshold, on the data that choose the threshold and on those that it is reported on.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "db/store.h"
#include "eval/standard_error.h"
#include "model/example_inputs.h"
#include "report/svg.h"
#include "study/cascade.h"

namespace mnm {

// Submodels, model and data are named as users name them (study/store_rows.h).
struct CascadeRequest {
  std::string narrow, wide;    // the submodels
  std::filesystem::path db;    // where the store is, for messages
  std::string model;           // empty: the store's only one
  std::string data, confirm;   // empty: the search part, the confirm part
  std::optional<Dtype> dtype;  // nothing: the only one that both were scored in
  std::int64_t steps = 20;     // of thresholds, at least 1 (cascade_thresholds)
};

// Of the data that choose the threshold, or of those that it is reported on.
struct CascadePart {
  std::string_view name;  // "search", "confirm"
  DataRow row;
  Record narrow, wide;
  CascadeExamples examples;  // [row.sequences] each

  CascadeFlops flops() const { return {narrow.cost.flops, wide.cost.flops}; }
};

// One threshold on both parts.
struct CascadeStep {
  float threshold = 0;
  CascadeScore searched, confirmed;
};

// The member of the front that a cascade is compared with.
struct CascadeSingle {
  Record record;                       // of the search part, which chose it
  std::optional<Record> confirmed;     // nothing: the store lacks its values
  std::optional<Estimate> difference;  // accuracy of the cascade minus its own, paired
  std::string missing;                 // why there is none, or what supplies the values
};

// What the store holds of the two submodels, on both parts.
class StoredCascade {
 public:
  // The store must outlive this. UsageError, which says what to do where something can be done: the
  // store lacks what was named, or scores of both submodels in one type of arithmetic, or the
  // confidence and the accuracy of every example; several data meet the request; an example has
  // more than one answer; both parts hold the same examples; on one of the parts the narrow
  // submodel does not cost less, or a confidence or an accuracy is no share (is_share).
  StoredCascade(CascadeRequest request, const Store& store);

  const CascadePart& search() const { return search_; }
  const CascadePart& confirm() const { return confirm_; }
  const ExampleWords& words() const { return words_of(confirm_.row.kind); }

  // At most request.steps + 1, by ascending threshold. The search part gives the thresholds.
  std::vector<CascadeStep> steps() const;

  // The most accurate member of the front on the search part, among those that cost at most what
  // this step costs on the confirm part. Error if there is none, as in a damaged store.
  // UsageError if its accuracies are no shares.
  CascadeSingle single_beside(const CascadeStep& step) const;

  // Accuracy over FLOPs on the confirm part: the cascade at these steps, and the submodels that
  // were scored there. The front's members are those of the search part. UsageError if an accuracy
  // is no share.
  FrontPlot plot(std::span<const CascadeStep> steps) const;

 private:
  std::int64_t model_of_request() const;
  Widths widths_of(const std::string& word, std::span<const Record> records) const;
  std::vector<std::pair<Record, Record>> pairs_on(std::int64_t data, const Widths& narrow,
                                                  const Widths& wide,
                                                  std::optional<Dtype> dtype) const;
  CascadePart part_of_both(std::string_view name, std::string_view option,
                           const std::string& wanted, std::optional<Dtype> dtype,
                           const Widths& narrow, const Widths& wide) const;
  DataRow row_of_data(std::int64_t data) const;
  std::string how_to_measure(const std::string& data, std::string_view part, Dtype dtype,
                             std::span<const Widths> widths) const;
  void require_cheaper() const;
  std::vector<float> values_of(const CascadePart& part, const Record& record, Metric metric) const;
  void read_examples(CascadePart& part) const;

  CascadeRequest request_;
  const Store& store_;
  std::int64_t model_;
  CascadePart search_, confirm_;
};

}  // namespace mnm
