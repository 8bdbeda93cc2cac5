// The vectors of a database that the full model encodes (dataset/retrieval.h). They are computed
// once, and kept beside the store, so that a resumed search and later commands search the same
// ones.
#pragma once

#include <filesystem>

#include "base/progress.h"
#include "dataset/retrieval.h"
#include "engine/engine.h"
#include "families/open_model.h"
#include "model/dtype.h"

namespace mnm {

// STORE.features/FINGERPRINT, a name of dataset/feature_file.h. The fingerprint is of the
// checkpoint, of the database and of the type of the arithmetic.
std::filesystem::path kept_features(const std::filesystem::path& store, const OpenedModel& opened,
                                    const Examples& database, Dtype dtype);

// The database with its vectors: read from retrieval.kept if they are there, else computed, and
// written there if `write`. Error if what is there is not of this database and model.
FeatureDatabase encode_database(const Retrieval& retrieval, const OpenedModel& opened,
                                ModelSession& session, bool write, const ProgressSink& progress);

}  // namespace mnm
