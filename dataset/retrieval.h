// Retrieval as a measurement: images are queries, for which a database of images is searched, and
// their values are those of eval/retrieval_scores.h. What the values mean hangs on the database,
// on who encodes it, on what is near and on how many items are looked at. All this is the protocol.
// A protocol makes the examples different ones: they have another fingerprint and another name. So
// a store never compares values of different protocols.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "dataset/examples.h"
#include "dataset/feature_database.h"

namespace mnm {

// Who encodes the database. The queries are always encoded by the submodel that is scored.
enum class DatabaseEncoder : std::uint8_t {
  kFull,      // the full model, once for all submodels: adaptive retrieval
  kSubmodel,  // each submodel its own; its values are NaN where an item of it is not finite
};
inline constexpr std::string_view kDatabaseEncoders[] = {"full", "submodel"};

struct Retrieval {
  std::shared_ptr<const Examples> database;  // with one output each: images and their classes
  DatabaseEncoder encoder = DatabaseEncoder::kFull;
  Distance distance = Distance::kCosine;
  std::int64_t depth = 10;  // how many of the nearest items are looked at
  // Of kFull: where the vectors are kept, as a name of dataset/feature_file.h; empty: nowhere.
  std::filesystem::path kept{};
  // Of kFull: the vectors. Null until the full model has computed them.
  std::shared_ptr<const FeatureDatabase> encoded{};
};

// "10 nearest of 60 in DATABASE, cosine, encoder full"
std::string protocol_text(const Retrieval& retrieval);

// Makes the examples queries: sets their protocol, and makes it a part of their name and of their
// fingerprint. UsageError if the database has fewer items than are looked at.
void set_protocol(Examples& queries, const Retrieval& retrieval);

// How many queries have a class that no item of the database has. All their values are 0.
std::int64_t queries_without_match(const Examples& queries, const Examples& database);

// The database with these vectors, [database->count, dimension].
FeatureDatabase searchable(const Retrieval& retrieval, std::int64_t dimension,
                           std::vector<float> vectors);

// The class of each example. Each has one output.
std::vector<std::int64_t> classes_of(const Examples& examples);

}  // namespace mnm
