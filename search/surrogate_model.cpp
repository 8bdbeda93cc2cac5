#include "search/surrogate_model.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <limits>
#include <map>

#include "search/portable_math.h"

namespace mnm {
namespace {

using Eigen::MatrixXd;
using Eigen::VectorXd;

constexpr double kConstantVariance = 4;  // of the constant, in units of the losses' own variance
constexpr double kJitter = 1e-9;         // the same, on the diagonal: covariances stay definite

// Where the search for the variances starts, and the prior that keeps it from running away: normal
// in the logarithm, kSpread wide. Shares of the losses' own variance.
constexpr std::array<double, SurrogateModel::kGroups> kPrior = {1,    0.1,  0.3,  0.1,
                                                                0.05, 0.03, 0.05, 1e-4};
constexpr double kSpread = 2.5;
constexpr double kPriorDecay = 1, kDecaySpread = 1;
constexpr Eigen::Index kFewSteps = 64;      // of all kinds, up to which kSharedNeighbours is kept
constexpr std::size_t kEvidenceRows = 256;  // results at most that the variances are fitted to

// The lower Cholesky factor of a symmetric matrix of which the lower triangle is given, in place.
// False where it is not positive definite. Column after column, each by one product of a matrix and
// a vector.
bool cholesky(MatrixXd& a) {
  const Eigen::Index n = a.rows();
  for (Eigen::Index j = 0; j < n; ++j) {
    if (j > 0) {
      a.col(j).tail(n - j).noalias() -= a.block(j, 0, n - j, j) * a.row(j).head(j).transpose();
    }
    if (!(a(j, j) > 0)) return false;
    a.col(j).tail(n - j) /= std::sqrt(a(j, j));
  }
  return true;
}

void solve_lower(const MatrixXd& factor, VectorXd& b) {  // b <- L^-1 b
  const Eigen::Index n = factor.rows();
  for (Eigen::Index j = 0; j < n; ++j) {
    b(j) /= factor(j, j);
    if (j + 1 < n) b.tail(n - j - 1) -= b(j) * factor.col(j).tail(n - j - 1);
  }
}

void solve_upper(const MatrixXd& factor, VectorXd& b) {  // b <- L^-T b
  for (Eigen::Index j = factor.rows() - 1; j >= 0; --j) {
    const Eigen::Index rest = factor.rows() - j - 1;
    if (rest > 0) b(j) -= factor.col(j).tail(rest).dot(b.tail(rest));
    b(j) /= factor(j, j);
  }
}

double code(std::int32_t level, std::size_t step) {
  return level > static_cast<std::int32_t>(step) ? 0.5 : -0.5;
}

}  // namespace

SurrogateModel::SurrogateModel(const FeasibleSet& set, Pairs pairs) : set_(set), prior_(kPrior) {
  if (pairs == Pairs::kShared) {
    prior_[kSharedNeighbours] = prior_[kNeighbours] = prior_[kPair] = 0;
  }
  variances_ = prior_;
  std::map<std::vector<Width>, std::size_t> kinds;
  const WidthSpace& space = set.problem().space;
  kind_at_ = {0};
  for (std::size_t l = 0; l < space.layers.size(); ++l) {
    const std::vector<Width> choices = space.choices(l);
    Layer layer;
    layer.kind = kinds.emplace(choices, kinds.size()).first->second;
    if (layer.kind + 1 == kind_at_.size()) {
      kind_at_.push_back(kind_at_.back() + choices.size() - 1);
    }
    const double first = space.layers[l].granularities.front();
    for (const Width width : choices) {
      layer.positions.push_back(width == kSkip ? -1 : portable_log2(width / first));
    }
    layers_.push_back(std::move(layer));
  }
  const double layers = static_cast<double>(layers_.size());
  pairs_ = std::max(1.0, layers * (layers - 1) / 2);
  set_decay(kPriorDecay);
}

void SurrogateModel::set_decay(double decay) {
  decay_ = decay;
  for (Layer& layer : layers_) {
    const std::size_t steps = layer.positions.size() - 1;
    layer.step_variance.assign(steps, 0);
    double sum = 0;
    for (std::size_t k = 0; k < steps; ++k) {
      const double low = layer.positions[k], high = layer.positions[k + 1];
      layer.step_variance[k] = (high - low) * portable_exp(-decay * 0.34657359 * (low + high));
      sum += layer.step_variance[k];
    }
    for (double& variance : layer.step_variance) variance *= 4 / sum;
    layer.kernel.assign(steps + 1, std::vector<double>(steps + 1, 0));
    for (std::size_t a = 0; a <= steps; ++a) {
      for (std::size_t b = 0; b <= steps; ++b) {
        double product = 0;
        for (std::size_t k = 0; k < steps; ++k) {
          product += layer.step_variance[k] * code(static_cast<std::int32_t>(a), k) *
                     code(static_cast<std::int32_t>(b), k);
        }
        layer.kernel[a][b] = product;
      }
    }
  }
  compute_kernels();
}

double SurrogateModel::depth_of(std::size_t layer) const {
  const double layers = static_cast<double>(layers_.size());
  return layers < 2 ? 0 : 2 * static_cast<double>(layer) / (layers - 1) - 1;
}

// The steps of one layer at a level, in the places of its kind.
VectorXd SurrogateModel::part_of(std::size_t layer, std::int32_t level) const {
  VectorXd part = VectorXd::Zero(static_cast<Eigen::Index>(kind_at_.back()));
  const Layer& of = layers_[layer];
  for (std::size_t k = 0; k < of.step_variance.size(); ++k) {
    part(static_cast<Eigen::Index>(kind_at_[of.kind] + k)) =
        std::sqrt(of.step_variance[k]) * code(level, k);
  }
  return part;
}

// Divided so that the product of a uniform submodel with itself is about 1.
SurrogateModel::Totals SurrogateModel::totals_of(const Levels& member) const {
  const auto steps = static_cast<Eigen::Index>(kind_at_.back());
  const double layers = static_cast<double>(layers_.size());
  Totals totals{VectorXd::Zero(steps), VectorXd::Zero(steps), {}};
  const bool few = steps <= kFewSteps;
  if (few) totals.neighbours = MatrixXd::Zero(steps, steps);
  VectorXd before;
  for (std::size_t l = 0; l < layers_.size(); ++l) {
    VectorXd part = part_of(l, member[l]);
    totals.steps += part / layers;
    totals.trend += part * (depth_of(l) / layers);
    if (few && l > 0) {
      for (Eigen::Index k = 0; k < steps; ++k) {
        totals.neighbours.col(k) += before * (part(k) / (layers - 1));
      }
    }
    before = std::move(part);
  }
  return totals;
}

SurrogateModel::Kernel SurrogateModel::kernel(const Levels& a, const Totals& totals_a,
                                              const Levels& b, const Totals& totals_b) const {
  double sum = 0, squares = 0, neighbours = 0, before = 0;
  for (std::size_t l = 0; l < layers_.size(); ++l) {
    const double s =
        layers_[l].kernel[static_cast<std::size_t>(a[l])][static_cast<std::size_t>(b[l])];
    sum += s;
    squares += s * s;
    neighbours += before * s;
    before = s;
  }
  const double layers = static_cast<double>(layers_.size());
  Kernel out{};
  if (totals_a.steps.size() > 0) {
    out[kShared] = totals_a.steps.dot(totals_b.steps);
    out[kTrend] = totals_a.trend.dot(totals_b.trend);
  }
  if (totals_a.neighbours.size() > 0) {
    out[kSharedNeighbours] = totals_a.neighbours.reshaped().dot(totals_b.neighbours.reshaped());
  }
  out[kSingle] = sum / layers;
  out[kSharedPair] = out[kShared] * out[kShared];
  out[kNeighbours] = neighbours / std::max(1.0, layers - 1);
  out[kPair] = 0.5 * (sum * sum - squares) / pairs_;
  out[kOwn] = a == b ? 1 : 0;
  return out;
}

double SurrogateModel::combined(const Kernel& kernel) const {
  double sum = kConstantVariance;
  for (std::size_t g = 0; g < kGroups; ++g) sum += variances_[g] * kernel[g];
  return sum;
}

void SurrogateModel::compute_kernels() {
  totals_.clear();
  for (const Levels& member : members_) totals_.push_back(totals_of(member));
  const std::size_t n = members_.size();
  for (MatrixXd& matrix : kernels_) {
    matrix.resize(static_cast<Eigen::Index>(n), static_cast<Eigen::Index>(n));
  }
  for (std::size_t j = 0; j < n; ++j) {
    for (std::size_t i = j; i < n; ++i) {
      const Kernel one = kernel(members_[i], totals_[i], members_[j], totals_[j]);
      for (std::size_t g = 0; g < kGroups; ++g) {
        kernels_[g](static_cast<Eigen::Index>(i), static_cast<Eigen::Index>(j)) = one[g];
      }
    }
  }
}

// False, and nothing usable, where the covariance is not positive definite.
bool SurrogateModel::factorise() {
  const auto n = static_cast<Eigen::Index>(members_.size());
  factor_ = MatrixXd::Constant(n, n, kConstantVariance);
  weights_.resize(n);
  for (Eigen::Index j = 0; j < n; ++j) {
    auto column = factor_.col(j).tail(n - j);
    for (std::size_t g = 0; g < kGroups; ++g) {
      column += variances_[g] * kernels_[g].col(j).tail(n - j);
    }
    const double noise = noises_[static_cast<std::size_t>(j)];
    factor_(j, j) += kJitter + noise * noise;
    weights_(j) = losses_[static_cast<std::size_t>(j)];
  }
  if (!cholesky(factor_)) return false;
  solve_lower(factor_, weights_);
  misfit_ = weights_.squaredNorm();
  solve_upper(factor_, weights_);
  log_determinant_ = 0;
  for (Eigen::Index j = 0; j < n; ++j) log_determinant_ += 2 * portable_log(factor_(j, j));
  return true;
}

// Of the losses under the variances, times the variances' prior.
double SurrogateModel::log_evidence() {
  if (!factorise()) return -std::numeric_limits<double>::infinity();
  double sum = -0.5 * (misfit_ + log_determinant_);
  for (std::size_t g = 0; g < kGroups; ++g) {
    if (prior_[g] == 0) continue;
    const double off = portable_log(variances_[g] / prior_[g]) / kSpread;
    sum -= 0.5 * off * off;
  }
  const double off = (decay_ - kPriorDecay) / kDecaySpread;
  return sum - 0.5 * off * off;
}

// Coordinate ascent: each variance times or by `factor`, and the decay likewise, while that helps.
void SurrogateModel::climb(double factor, int sweeps) {
  double best = log_evidence();
  const auto better = [&] {
    const double now = log_evidence();
    if (!(now > best)) return false;
    best = now;
    return true;
  };
  for (bool moved = true; moved && sweeps > 0; --sweeps) {
    moved = false;
    for (double& variance : variances_) {
      if (variance == 0) continue;
      const double before = variance;
      for (const double times : {factor, 1 / factor}) {
        variance = before * times;
        if (better()) {
          moved = true;
          break;
        }
        variance = before;
      }
    }
    const double before = decay_;
    for (const double by : {0.5 * portable_log2(factor), -0.5 * portable_log2(factor)}) {
      set_decay(before + by);
      if (better()) {
        moved = true;
        break;
      }
      set_decay(before);
    }
  }
}

void SurrogateModel::fit(std::span<const Levels> members, std::span<const double> losses,
                         std::span<const double> noises, bool thorough) {
  const std::size_t n = members.size();
  assert(n > 0 && losses.size() == n && noises.size() == n);
  double sum = 0, squares = 0;
  for (const double loss : losses) sum += loss;
  centre_ = sum / static_cast<double>(n);
  for (const double loss : losses) squares += (loss - centre_) * (loss - centre_);
  scale_ = squares > 0 ? std::sqrt(squares / static_cast<double>(n)) : 1;
  // An even sample of the results, in their order.
  const auto take = [&](std::size_t rows) {
    members_.clear();
    losses_.clear();
    noises_.clear();
    for (std::size_t row = 0; row < rows; ++row) {
      const std::size_t i = row * n / rows;
      members_.push_back(members[i]);
      losses_.push_back((losses[i] - centre_) / scale_);
      noises_.push_back(noises[i] / scale_);
    }
    compute_kernels();
  };
  take(std::min(n, kEvidenceRows));
  if (thorough) {
    variances_ = prior_;
    set_decay(kPriorDecay);
    climb(8, 2);
    climb(4, 2);
  }
  climb(2, 2);
  if (thorough) climb(1.41421356, 2);
  if (n > kEvidenceRows) take(n);
  while (!factorise()) variances_[kOwn] = 2 * variances_[kOwn] + kJitter;
}

SurrogateModel::Variances SurrogateModel::variances() const {
  Variances out{variances_, decay_};
  for (double& variance : out.of) variance *= scale_ * scale_;
  return out;
}

PairTable SurrogateModel::mean() const {
  std::vector<std::int32_t> levels;
  for (const Layer& layer : layers_) {
    levels.push_back(static_cast<std::int32_t>(layer.positions.size()));
  }
  PairTable table(levels);
  const VectorXd alpha = weights_ * scale_;
  table.constant() = centre_ + kConstantVariance * alpha.sum();
  const Shared shared = shared_of(alpha);
  std::vector<std::vector<VectorXd>> parts(layers_.size());  // [layers][levels]
  for (std::size_t l = 0; l < layers_.size(); ++l) {
    for (std::int32_t a = 0; a < levels[l]; ++a) parts[l].push_back(part_of(l, a));
  }
  for (std::size_t l = 0; l < layers_.size(); ++l) {
    add_single(l, alpha, shared, parts[l], table);
    for (std::size_t m = l + 1; m < layers_.size(); ++m) {
      add_pair(l, m, alpha, shared, parts, table);
    }
  }
  return table;
}

// The results' totals, weighed. What is divided by the number of layers twice is divided once in
// the totals, and once here.
SurrogateModel::Shared SurrogateModel::shared_of(const VectorXd& alpha) const {
  const auto steps = static_cast<Eigen::Index>(kind_at_.back());
  const double layers = static_cast<double>(layers_.size());
  Shared shared{VectorXd::Zero(steps), VectorXd::Zero(steps), MatrixXd::Zero(steps, steps),
                MatrixXd::Zero(steps, steps)};
  for (std::size_t i = 0; i < totals_.size(); ++i) {
    const double weight = alpha(static_cast<Eigen::Index>(i));
    const Totals& totals = totals_[i];
    shared.steps += totals.steps * (weight * variances_[kShared] / layers);
    shared.trend += totals.trend * (weight * variances_[kTrend] / layers);
    for (Eigen::Index k = 0; k < steps; ++k) {
      shared.pairs.col(k) +=
          totals.steps * (weight * totals.steps(k) * variances_[kSharedPair] / (layers * layers));
    }
    if (totals.neighbours.size() > 0) {
      shared.neighbours +=
          totals.neighbours * (weight * variances_[kSharedNeighbours] / (layers - 1));
    }
  }
  return shared;
}

void SurrogateModel::add_single(std::size_t layer, const VectorXd& alpha, const Shared& shared,
                                const std::vector<VectorXd>& parts, PairTable& table) const {
  const double weight = variances_[kSingle] / static_cast<double>(layers_.size());
  for (std::size_t a = 0; a < parts.size(); ++a) {
    double sum = 0;
    for (std::size_t i = 0; i < members_.size(); ++i) {
      const auto other = static_cast<std::size_t>(members_[i][layer]);
      sum += alpha(static_cast<Eigen::Index>(i)) * layers_[layer].kernel[a][other];
    }
    double& single = table.single(layer, static_cast<std::int32_t>(a));
    single = weight * sum;
    if (parts[a].size() == 0) continue;
    const VectorXd paired = shared.pairs * parts[a];
    single += parts[a].dot(shared.steps) + depth_of(layer) * parts[a].dot(shared.trend) +
              parts[a].dot(paired);
  }
}

void SurrogateModel::add_pair(std::size_t first, std::size_t second, const VectorXd& alpha,
                              const Shared& shared, const std::vector<std::vector<VectorXd>>& parts,
                              PairTable& table) const {
  const std::size_t rows = parts[first].size(), columns = parts[second].size();
  const bool neighbours = second == first + 1;
  const double layers = static_cast<double>(layers_.size());
  const double weight = variances_[kPair] / pairs_ +
                        (neighbours ? variances_[kNeighbours] / std::max(1.0, layers - 1) : 0);
  // Results by their two levels, then one side of the kernel, then the other.
  std::vector<double> sums(rows * columns, 0), half(rows * columns, 0);
  for (std::size_t i = 0; i < members_.size(); ++i) {
    const auto x = static_cast<std::size_t>(members_[i][first]);
    const auto y = static_cast<std::size_t>(members_[i][second]);
    sums[x * columns + y] += alpha(static_cast<Eigen::Index>(i)) * weight;
  }
  for (std::size_t a = 0; a < rows; ++a) {
    for (std::size_t x = 0; x < rows; ++x) {
      const double k = layers_[first].kernel[a][x];
      for (std::size_t y = 0; y < columns; ++y) half[a * columns + y] += k * sums[x * columns + y];
    }
  }
  for (std::size_t a = 0; a < rows; ++a) {
    VectorXd of_a = 2 * (shared.pairs * parts[first][a]);
    if (neighbours && of_a.size() > 0) of_a += shared.neighbours.transpose() * parts[first][a];
    for (std::size_t b = 0; b < columns; ++b) {
      double sum = 0;
      for (std::size_t y = 0; y < columns; ++y) {
        sum += half[a * columns + y] * layers_[second].kernel[b][y];
      }
      if (of_a.size() > 0) sum += of_a.dot(parts[second][b]);
      table.pair(first, second, static_cast<std::int32_t>(a), static_cast<std::int32_t>(b)) = sum;
    }
  }
}

SurrogateModel::View SurrogateModel::view(const Levels& member) const {
  View view{member, 0, 0, totals_of(member), {}};
  view.solved.resize(static_cast<Eigen::Index>(members_.size()));
  for (std::size_t i = 0; i < members_.size(); ++i) {
    view.solved(static_cast<Eigen::Index>(i)) =
        combined(kernel(member, view.totals, members_[i], totals_[i]));
  }
  view.mean = centre_ + scale_ * view.solved.dot(weights_);
  solve_lower(factor_, view.solved);
  const double prior = combined(kernel(member, view.totals, member, view.totals));
  view.variance = scale_ * scale_ * std::max(0.0, prior - view.solved.squaredNorm());
  return view;
}

double SurrogateModel::covariance(const View& a, const View& b) const {
  const double prior = combined(kernel(a.levels, a.totals, b.levels, b.totals));
  return scale_ * scale_ * (prior - a.solved.dot(b.solved));
}

double SurrogateModel::smoothed(std::size_t result) const {
  const double noise = noises_[result];
  const double loss = losses_[result] - noise * noise * weights_(static_cast<Eigen::Index>(result));
  return centre_ + scale_ * loss;
}

double SurrogateModel::smoothed_variance(std::size_t result) const {
  const double noise = noises_[result] * noises_[result];
  if (noise == 0) return 0;
  VectorXd unit = VectorXd::Zero(static_cast<Eigen::Index>(members_.size()));
  unit(static_cast<Eigen::Index>(result)) = 1;
  solve_lower(factor_, unit);
  return scale_ * scale_ * std::max(0.0, noise - noise * noise * unit.squaredNorm());
}

}  // namespace mnm
