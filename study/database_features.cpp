#include "study/database_features.h"

#include <utility>
#include <vector>

#include "base/error.h"
#include "dataset/feature_file.h"
#include "model/feature_size.h"
#include "model/fingerprint.h"

namespace mnm {
namespace {

Features read_kept(const Retrieval& retrieval, const NestedModel& model) {
  Features features;
  try {
    features = read_features(retrieval.kept);
  } catch (const Error& error) {
    fail("{}; remove {}, and it is made anew", error.what(), retrieval.kept.parent_path().string());
  }
  if (features.dimension != feature_size(model) ||
      features.labels != classes_of(*retrieval.database)) {
    fail(
        "cannot search in {}-X.npy: it has {} vectors of {} numbers, which are not those of the "
        "database {} by this model; remove it, and it is made anew",
        retrieval.kept.string(), features.count(), features.dimension, retrieval.database->name);
  }
  return features;
}

// Before anything is encoded: the folder is there, or can be made. A link may come with somebody's
// store, and nothing is read or written where it leads.
void prepare_folder(const std::filesystem::path& folder, bool make) {
  std::error_code error;
  const auto kind = std::filesystem::symlink_status(folder, error).type();
  if (kind == std::filesystem::file_type::not_found) {
    if (!make) return;
    if (std::filesystem::create_directories(folder, error); error) {
      fail("cannot make {}: {}", folder.string(), error.message());
    }
  } else if (kind != std::filesystem::file_type::directory) {
    fail("{} is {}, and vectors of databases are kept in a directory of this name: remove it",
         folder.string(), kind == std::filesystem::file_type::symlink ? "a link" : "no directory");
  }
}

}  // namespace

std::filesystem::path kept_features(const std::filesystem::path& store, const OpenedModel& opened,
                                    const Examples& database, Dtype dtype) {
  Fingerprint of;
  of.add(opened.checkpoint.fingerprint());
  of.add(database.fingerprint);
  of.add(to_string(dtype));
  return std::filesystem::path(store.string() + ".features") / of.hex();
}

FeatureDatabase encode_database(const Retrieval& retrieval, const OpenedModel& opened,
                                ModelSession& session, bool write, const ProgressSink& progress) {
  if (!retrieval.kept.empty()) prepare_folder(retrieval.kept.parent_path(), write);
  if (!retrieval.kept.empty() && is_feature_file(retrieval.kept)) {
    return {read_kept(retrieval, opened.model), retrieval.distance, retrieval.depth};
  }
  Features features{feature_size(opened.model),
                    session.features(opened.model.space.full(), *retrieval.database, progress),
                    classes_of(*retrieval.database)};
  if (write && !retrieval.kept.empty()) write_features(retrieval.kept, features);
  return {std::move(features), retrieval.distance, retrieval.depth};
}

}  // namespace mnm
