// What share of the exhaustive hypervolume each strategy covers, on a table of the losses of all
// submodels of 8 layers of 4 widths:
//   search_bench data/reference/truth.npy [--strategies surrogate,evolution] [--evaluations 50,100]
//                [--seeds N] [--orders N] [--budgets] [--noise SD]
// A line for each strategy and number of evaluations: the median and the worst over seeds, orders
// of the layers and, with --budgets, the three budgets of tests/search/truth_test.cpp. With
// --noise, that is added to each loss, and what is valued, by the losses without it, is the front
// that surrogate believes in; beside it the front of all noisy losses. "shuffled" in the place of a
// table: the losses of data/reference/truth.npy in random order, without structure.
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>
#include <numeric>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/random.h"
#include "search/hypervolume.h"
#include "tests/search/table.h"

namespace mnm {
namespace {

using test::LossTable;

struct Request {
  std::string table;
  std::vector<std::string> strategies = {"surrogate", "evolution", "knapsack", "sensitivity",
                                         "random"};
  std::vector<std::uint64_t> evaluations = {25, 50, 100, 200, 346, 655, 1311};
  std::uint64_t seeds = 10, orders = 1;
  bool budgets = false;
  double noise = 0;
};

std::vector<std::string> split(const std::string& text) {
  std::vector<std::string> parts(1);
  for (const char c : text) {
    if (c == ',') {
      parts.emplace_back();
    } else {
      parts.back() += c;
    }
  }
  return parts;
}

Request parse(int count, char** words) {
  Request request;
  for (int i = 1; i < count; ++i) {
    const std::string word = words[i];
    const auto value = [&] {
      if (++i == count) fail_usage("{} takes a value", word);
      return std::string(words[i]);
    };
    if (word == "--strategies") {
      request.strategies = split(value());
    } else if (word == "--evaluations") {
      request.evaluations.clear();
      for (const std::string& one : split(value())) {
        request.evaluations.push_back(std::stoull(one));
      }
    } else if (word == "--seeds") {
      request.seeds = std::stoull(value());
    } else if (word == "--orders") {
      request.orders = std::stoull(value());
    } else if (word == "--budgets") {
      request.budgets = true;
    } else if (word == "--noise") {
      request.noise = std::stod(value());
    } else if (request.table.empty() && word.substr(0, 2) != "--") {
      request.table = word;
    } else {
      fail_usage("unknown argument '{}'", word);
    }
  }
  if (request.table.empty()) fail_usage("search_bench takes a table, such as truth.npy");
  return request;
}

std::vector<float> read_losses(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  const std::string bytes(std::istreambuf_iterator<char>(file), {});
  constexpr std::size_t kBytes = LossTable::kSize * sizeof(float);
  if (bytes.size() < kBytes) fail("{} is no table of {} float32", path, LossTable::kSize);
  std::vector<float> losses(LossTable::kSize);
  std::memcpy(losses.data(), bytes.data() + bytes.size() - kBytes, kBytes);
  return losses;
}

// The same submodels with their layers in another order; order 0 is the table's own.
std::vector<float> reordered(const std::vector<float>& losses, std::uint64_t order) {
  std::vector<std::size_t> places(LossTable::kLayers);
  std::iota(places.begin(), places.end(), std::size_t{0});
  Random random(1000 + order);
  if (order > 0) random.shuffle(places);
  std::vector<float> out(losses.size());
  for (std::size_t i = 0; i < losses.size(); ++i) {
    std::size_t from = 0;
    for (std::size_t l = 0; l < places.size(); ++l) {
      from |= (i >> (2 * (7 - l)) & 3) << (2 * (7 - places[l]));
    }
    out[i] = losses[from];
  }
  return out;
}

struct Shares {
  std::vector<double> found, all_noisy;
};

void run_one(const Request& request, const std::string& strategy, std::uint64_t evaluations,
             std::uint64_t seed, const LossTable& truth, const LossTable::Exhaustive& all,
             Shares& shares) {
  const StrategySettings settings{.seed = seed, .max_evaluations = evaluations};
  if (request.noise == 0) {
    shares.found.push_back(truth.share_found(strategy, all, settings));
    return;
  }
  Random random(500 + seed);
  std::vector<float> noise(LossTable::kSize);
  for (float& one : noise) one = static_cast<float>(request.noise * test::spread(random));
  const auto told = [&](const Widths& widths) {
    return Point{test::total_width(widths), truth.at(widths).loss + noise[test::index_of(widths)]};
  };
  const auto search = make_strategy(strategy, all.problem, settings);
  while (!search->finished()) {
    for (const Widths& widths : search->ask(search->preferred_batch())) {
      search->tell(widths, told(widths), request.noise);
    }
  }
  std::vector<Point> believed, noisy, lucky;
  for (const Belief& belief : search->believed_front()) believed.push_back(truth.at(belief.widths));
  for (std::size_t i = 0; i < LossTable::kSize; ++i) noisy.push_back(told(LossTable::widths_at(i)));
  for (const std::size_t i : front_of(noisy)) lucky.push_back(truth.at(LossTable::widths_at(i)));
  shares.found.push_back(hypervolume(believed, all.reference) / all.hypervolume);
  shares.all_noisy.push_back(hypervolume(lucky, all.reference) / all.hypervolume);
}

double median(std::vector<double> values) {
  std::ranges::sort(values);
  return (values[(values.size() - 1) / 2] + values[values.size() / 2]) / 2;
}

void run(const Request& request) {
  const bool shuffled = request.table == "shuffled";
  const std::vector<float> losses =
      read_losses(shuffled ? "data/reference/truth.npy" : request.table);
  fmt::print("strategy,evaluations,median,worst,runs{}\n",
             request.noise > 0 ? ",all noisy: median" : "");
  for (const std::string& strategy : request.strategies) {
    for (const std::uint64_t evaluations : request.evaluations) {
      Shares shares;
      for (std::uint64_t order = 0; order < request.orders; ++order) {
        std::vector<float> table = reordered(losses, order);
        Random random(77 + order);
        if (shuffled) random.shuffle(table);
        const LossTable truth(std::move(table));
        std::vector<double> budgets = {8 * 512.0};
        if (request.budgets) budgets = {8 * 96.0, 8 * 192.0, 8 * 384.0};
        for (const double budget : budgets) {
          const auto all = truth.exhaustive({{"width", budget, test::total_width}});
          for (std::uint64_t seed = 1; seed <= request.seeds; ++seed) {
            run_one(request, strategy, evaluations, seed + 100 * order, truth, all, shares);
          }
        }
      }
      fmt::print("{},{},{:.5f},{:.5f},{}", strategy, evaluations, median(shares.found),
                 *std::ranges::min_element(shares.found), shares.found.size());
      if (request.noise > 0) fmt::print(",{:.5f}", median(shares.all_noisy));
      fmt::print("\n");
      std::fflush(stdout);
    }
  }
}

}  // namespace
}  // namespace mnm

int main(int count, char** words) {
  try {
    mnm::run(mnm::parse(count, words));
  } catch (const std::exception& error) {
    fmt::print(stderr, "search_bench: {}\n", error.what());
    return 1;
  }
  return 0;
}
