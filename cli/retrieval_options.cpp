#include "cli/retrieval_options.h"

#include <algorithm>
#include <iterator>

#include "base/error.h"
#include "cli/print.h"
#include "cli/progress.h"
#include "study/database_features.h"

namespace mnm {
namespace {

constexpr std::string_view kWithDatabase[] = {"encoder", "distance", "depth"};

}  // namespace

bool is_of_retrieval(std::string_view option) {
  return std::ranges::find(kWithDatabase, option) != std::end(kWithDatabase);
}

void add_nearness_options(OptionTable& options, NearnessOptions& nearness) {
  options
      .option("distance", of_run(choice_value(nearness.distance, kDistances)),
              "what is near: a small angle, or a small Euclidean distance of vectors as they are")
      .option("depth", of_run(count_value(nearness.depth, 1, 1 << 20, "K")),
              "how many of the nearest items mAP, precision and recall look at");
}

void add_retrieval_options(OptionTable& options, RetrievalOptions& retrieval) {
  options.section("retrieval")
      .option("database", of_run(path_value(retrieval.database, "SET")),
              "the image set that knn, map, precision and recall search; the images of --data are "
              "the queries")
      .option("encoder", of_run(choice_value(retrieval.encoder, kDatabaseEncoders)),
              "who encodes the database: the full model, once, or each submodel its own");
  add_nearness_options(options, retrieval.nearness);
}

std::optional<Retrieval> load_retrieval(const OptionTable& options,
                                        const RetrievalOptions& retrieval,
                                        std::span<const Metric> metrics, const ExampleOptions& data,
                                        const OpenedModel& opened,
                                        const std::filesystem::path& store, Dtype dtype) {
  require_database(metrics, !retrieval.database.empty());
  if (retrieval.database.empty()) {
    for (const std::string_view name : kWithDatabase) {
      if (options.given(name)) fail_usage("--{} is of a search in a --database: name one", name);
    }
    return std::nullopt;
  }
  ExampleOptions of_database;
  of_database.path = retrieval.database;
  of_database.pixels = data.pixels;
  Retrieval loaded;
  loaded.database = load_examples(of_database, opened.model);
  loaded.distance = retrieval.nearness.near();
  loaded.depth = retrieval.nearness.depth;
  require_depth(loaded.depth, loaded.database->count);
  if (retrieval.encoder == kDatabaseEncoders[1]) {
    loaded.encoder = DatabaseEncoder::kSubmodel;
  } else if (!store.empty()) {
    loaded.kept = kept_features(store, opened, *loaded.database, dtype);
  }
  return loaded;
}

void make_queries(Examples& examples, const Retrieval& retrieval, QueriesInDatabase in_database) {
  const Examples& database = *retrieval.database;
  if (const std::int64_t none = queries_without_match(examples, database); none > 0) {
    note(
        "{} of the {} images of {} have a class that no image of the database {} has: they count "
        "as searches that find nothing\n",
        none, examples.count, examples.name, database.name);
  }
  const std::int64_t shared = examples.shared_with(database);
  if (shared > 0 && in_database == QueriesInDatabase::kRefused) {
    fail(
        "cannot search by retrieval: {} images are in {} and in the database {}, and each finds "
        "itself whatever the submodel; take queries that are not in the database, or score "
        "submodels with 'mixnmatch eval', which takes them",
        shared, examples.name, database.name);
  }
  if (shared > 0) {
    note(
        "{} images are in {} and in the database {}: a query that is in the database finds "
        "itself\n",
        shared, examples.name, database.name);
  }
  set_protocol(examples, retrieval);
}

void encode_with_bar(Scorer& scorer, const ScoreOptions& score, const InterruptGuard& guard) {
  if (!score.retrieval) return;
  if (score.own_databases()) return scorer.encode({});  // which refuses streamed weights
  ProgressBar bar("encoding the database");
  scorer.encode(shown_on(bar, guard));
}

}  // namespace mnm
