#include "dataset/retrieval.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <utility>

#include "model/fingerprint.h"

namespace mnm {

std::string protocol_text(const Retrieval& retrieval) {
  return fmt::format("{} nearest of {} in {}, {}, encoder {}", retrieval.depth,
                     retrieval.database->count, retrieval.database->name,
                     kDistances[static_cast<std::size_t>(retrieval.distance)],
                     kDatabaseEncoders[static_cast<std::size_t>(retrieval.encoder)]);
}

void set_protocol(Examples& queries, const Retrieval& retrieval) {
  require_depth(retrieval.depth, retrieval.database->count);
  queries.protocol = protocol_text(retrieval);
  queries.name = fmt::format("{}, {}", queries.name, queries.protocol);
  // Not of the text, which has the name of a directory: the same database may lie elsewhere.
  Fingerprint of;
  of.add(queries.fingerprint);
  of.add(retrieval.database->fingerprint);
  of.add(kDistances[static_cast<std::size_t>(retrieval.distance)]);
  of.add(kDatabaseEncoders[static_cast<std::size_t>(retrieval.encoder)]);
  of.add(std::to_string(retrieval.depth));
  queries.fingerprint = of.hex();
}

std::int64_t queries_without_match(const Examples& queries, const Examples& database) {
  const std::vector<std::int64_t> items = classes_of(database);
  const std::set<std::int64_t> known(items.begin(), items.end());
  return std::ranges::count_if(classes_of(queries),
                               [&](std::int64_t label) { return !known.contains(label); });
}

FeatureDatabase searchable(const Retrieval& retrieval, std::int64_t dimension,
                           std::vector<float> vectors) {
  return {Features{dimension, std::move(vectors), classes_of(*retrieval.database)},
          retrieval.distance, retrieval.depth};
}

std::vector<std::int64_t> classes_of(const Examples& examples) {
  std::vector<std::int64_t> classes(static_cast<std::size_t>(examples.count));
  examples.read_targets(0, examples.count, classes);
  return classes;
}

}  // namespace mnm
