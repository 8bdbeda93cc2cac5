#include "fold/nearest.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <limits>
#include <utility>
#include <vector>

#include "base/error.h"
#include "eval/retrieval_scores.h"
#include "fold/launch.h"
#include "kernels/nearest.h"

namespace mnm {
namespace {

constexpr std::int64_t kRows = 256, kColumns = 2048;  // of a block on the CPU: 2 MB of scores
constexpr std::int64_t kDeviceRows = 2048, kDeviceColumns = 16384;  // 128 MB of scores
constexpr std::int64_t kMore = 8;  // items beyond the depth that are compared again in f64

at::Tensor tensor_of(std::span<const float> values, at::IntArrayRef shape) {
  return at::from_blob(const_cast<float*>(values.data()), shape, at::kFloat);  // only read
}

// The `keep` best of each query by f32 products, in no certain order: int32 [n, keep].
at::Tensor found_on_cpu(const PlacedDatabase& database, const at::Tensor& queries,
                        std::int64_t keep) {
  const std::int64_t n = queries.size(0), count = database.items.count();
  const at::Tensor ids = at::full({n, keep}, -1, at::kInt);
  at::parallel_for(0, (n + kRows - 1) / kRows, 1, [&](std::int64_t first, std::int64_t last) {
    const c10::AutoGradMode no_grad(false);  // thread-local
    const at::Tensor room = at::empty({kRows * kColumns}, at::kFloat);
    for (std::int64_t chunk = first; chunk < last; ++chunk) {
      const std::int64_t row = chunk * kRows, rows = std::min(kRows, n - row);
      const at::Tensor asked = queries.narrow(0, row, rows);
      const at::Tensor best =
          at::full({rows, keep}, -std::numeric_limits<float>::infinity(), at::kFloat);
      for (std::int64_t column = 0; column < count; column += kColumns) {
        const std::int64_t columns = std::min(kColumns, count - column);
        at::Tensor scores = room.narrow(0, 0, rows * columns).view({rows, columns});
        at::addmm_out(scores, database.offsets.narrow(1, column, columns), asked,
                      database.vectors.narrow(0, column, columns).t());
        keep_nearest({rows, columns, columns, static_cast<std::int32_t>(column), keep},
                     scores.const_data_ptr<float>(), best.data_ptr<float>(),
                     ids.data_ptr<std::int32_t>() + row * keep);
      }
    }
  });
  return ids;
}

at::Tensor found_at_once(const PlacedDatabase& database, const at::Tensor& queries,
                         std::int64_t keep) {
  const std::int64_t count = database.items.count();
  at::Tensor best, ids;
  for (std::int64_t column = 0; column < count; column += kDeviceColumns) {
    const std::int64_t columns = std::min(kDeviceColumns, count - column);
    const at::Tensor scores = at::addmm(database.offsets.narrow(1, column, columns), queries,
                                        database.vectors.narrow(0, column, columns).t());
    auto [values, places] = at::topk(scores, std::min(keep, columns), 1);
    places = places + column;
    best = column == 0 ? values : at::cat({best, values}, 1);
    ids = column == 0 ? places : at::cat({ids, places}, 1);
    const auto [top, chosen] = at::topk(best, std::min(keep, best.size(1)), 1);
    best = top;
    ids = ids.gather(1, chosen);
  }
  return ids.masked_fill(queries.sum(1, /*keepdim=*/true).isfinite().logical_not(), -1)
      .to(at::kCPU, at::kInt)
      .contiguous();
}

at::Tensor found_on_device(const PlacedDatabase& database, const at::Tensor& queries,
                           std::int64_t keep) {
  std::vector<at::Tensor> ids;
  for (const at::Tensor& some : queries.split(kDeviceRows)) {
    ids.push_back(found_at_once(database, some, keep));
  }
  return at::cat(ids);
}

}  // namespace

PlacedDatabase::PlacedDatabase(const FeatureDatabase& database, const at::Device& device)
    : items(database),
      vectors(tensor_of(database.vectors(), {database.count(), database.dimension()}).to(device)),
      offsets(tensor_of(database.offsets(), {1, database.count()}).to(device)) {}

at::Tensor nearest_items(const PlacedDatabase& database, const at::Tensor& given) {
  const FeatureDatabase& items = database.items;
  const std::int64_t d = items.dimension(), depth = items.depth(), n = given.size(0);
  if (given.size(1) != d) {
    fail("cannot search features of {} numbers in a database of {}: it is another model's",
         given.size(1), d);
  }
  const std::int64_t keep = std::min(depth + kMore, items.count());
  const at::Tensor queries = given.to(at::kFloat).contiguous();
  const at::Tensor found = on_cuda(queries) ? found_on_device(database, queries, keep)
                                            : found_on_cpu(database, queries, keep);
  const at::Tensor host = queries.to(at::kCPU);
  const at::Tensor nearest = at::empty({n, depth}, at::kInt);
  std::vector<std::pair<double, std::int32_t>> compared(static_cast<std::size_t>(keep));
  for (std::int64_t row = 0; row < n; ++row) {
    const std::int32_t* const ids = found.const_data_ptr<std::int32_t>() + row * keep;
    std::int32_t* const to = nearest.data_ptr<std::int32_t>() + row * depth;
    if (std::ranges::min(std::span(ids, static_cast<std::size_t>(keep))) < 0) {
      std::fill_n(to, depth, -1);
      continue;
    }
    const std::span<const float> query(host.const_data_ptr<float>() + row * d,
                                       static_cast<std::size_t>(d));
    for (std::size_t i = 0; i < compared.size(); ++i) {
      compared[i] = {-items.score(query, ids[i]), ids[i]};
    }
    std::ranges::sort(compared);
    for (std::int64_t i = 0; i < depth; ++i) to[i] = compared[static_cast<std::size_t>(i)].second;
  }
  return nearest;
}

void retrieval_into(const PlacedDatabase& database, const at::Tensor& queries,
                    const at::Tensor& targets, const at::Tensor& values) {
  const at::Tensor nearest = nearest_items(database, queries);
  const at::Tensor labels = targets.to(at::kCPU).contiguous();
  const std::int64_t n = nearest.size(0), depth = nearest.size(1);
  const at::Tensor all = at::empty({kRetrievalMetrics, n}, at::kFloat);
  float* const out = all.data_ptr<float>();
  for (std::int64_t row = 0; row < n; ++row) {
    const std::span<const std::int32_t> found(nearest.const_data_ptr<std::int32_t>() + row * depth,
                                              static_cast<std::size_t>(depth));
    const RetrievalScores scores =
        retrieval_scores(database.items, found, labels.const_data_ptr<std::int64_t>()[row]);
    const float each[] = {scores.nearest, scores.average_precision, scores.precision,
                          scores.recall};
    for (std::int64_t i = 0; i < kRetrievalMetrics; ++i) out[i * n + row] = each[i];
  }
  values.copy_(all);
}

}  // namespace mnm
