// A Bayesian linear model of the losses of submodels: the expected loss of a submodel that was not
// scored, and how uncertain it is.
//
// Levels are thermometer-coded: step k of a layer is +1/2 if the layer's level is k or more, else
// -1/2. A loss is a sum of these terms:
//
// - a constant;
// - a weight for each step;
// - a weight for each pair of steps of two layers;
// - a part of the submodel's own, which nothing predicts;
// - noise.
//
// The weights are normal with mean 0. Their prior variances are one number per group (`Group`).
// These numbers maximise the marginal likelihood of the losses, times a wide prior. Steps differ in
// size: the variance of a step from one width to the next is proportional to the logarithm of the
// ratio of the two widths, times a power of the width (`decay`), which is fitted too.
//
// Everything is computed in the dual form, with one covariance matrix of the scored submodels (a
// Gaussian process, Rasmussen and Williams 2006, sections 2.1 and 5.4). So the number of weights,
// 5,355 for 35 layers of 4 widths, costs nothing. Eigen is compiled without vector instructions,
// and only its products of a matrix and a vector are used. Their order of summation is fixed.
#pragma once

#include <Eigen/Core>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "search/feasible_set.h"
#include "search/pair_table.h"

namespace mnm {

class SurrogateModel {
 public:
  // Groups of weights with one variance. The shared groups describe what layers with the same
  // choices have in common.
  enum Group : std::uint8_t {
    kShared,            // the same step of all layers: one weight
    kTrend,             // the same step of all layers, in proportion to depth: one weight
    kSingle,            // each step of each layer: a weight
    kSharedPair,        // the same two steps, of whichever two layers: one weight
    kSharedNeighbours,  // the same two steps, of whichever two layers in a row: one weight
    kNeighbours,        // each two steps of two layers in a row: a weight
    kPair,              // each two steps of any two layers
    kOwn,               // each submodel's own part
    kGroups
  };
  struct Variances {
    std::array<double, kGroups> of{};  // of the loss, in its own unit squared, averaged over levels
    double decay = 0;                  // a step's variance halves `decay` times with each doubling
  };

  // Which pairs of layers have weights: any two, or only those that all pairs of layers share
  // (kSharedPair). Variances of groups that are left out stay 0.
  enum class Pairs : std::uint8_t { kAll, kShared };

  explicit SurrogateModel(const FeasibleSet& set, Pairs pairs = Pairs::kAll);

  // Fits the model to these results. `noises` are the standard deviations of what chance does to
  // each loss alone. All values are finite, and at least two losses differ. The search for the
  // variances starts from the last ones, or from the prior's if `thorough`.
  void fit(std::span<const Levels> members, std::span<const double> losses,
           std::span<const double> noises, bool thorough);

  // After fit():
  Variances variances() const;
  PairTable mean() const;  // without the own parts

  // What the shared groups use of a submodel: sums over its layers.
  struct Totals {
    Eigen::VectorXd steps, trend;  // [steps of all kinds]
    Eigen::MatrixXd neighbours;    // [the first's steps][the second's], empty where there are many
  };

  // A submodel that is not among the results, as the posterior describes it.
  struct View {
    Levels levels;
    double mean = 0;      // the expected loss, without noise
    double variance = 0;  // of the expected loss
    Totals totals;
    Eigen::VectorXd solved;  // L^-1 k, which the covariances of two views are made of
  };
  View view(const Levels& member) const;
  double covariance(const View& a, const View& b) const;  // of two different ones

  // The expected loss of a result's submodel, without its noise; and the variance of that.
  double smoothed(std::size_t result) const;
  double smoothed_variance(std::size_t result) const;

 private:
  using Kernel = std::array<double, kGroups>;  // one submodel with another, per group

  void set_decay(double decay);
  Totals totals_of(const Levels& member) const;
  Eigen::VectorXd part_of(std::size_t layer, std::int32_t level) const;
  double depth_of(std::size_t layer) const;
  Kernel kernel(const Levels& a, const Totals& totals_a, const Levels& b,
                const Totals& totals_b) const;
  double combined(const Kernel& kernel) const;
  void compute_kernels();
  bool factorise();
  double log_evidence();
  void climb(double factor, int sweeps);

  // The weights of the shared groups, in the places of Totals.
  struct Shared {
    Eigen::VectorXd steps, trend;
    Eigen::MatrixXd pairs, neighbours;
  };
  Shared shared_of(const Eigen::VectorXd& alpha) const;
  void add_single(std::size_t layer, const Eigen::VectorXd& alpha, const Shared& shared,
                  const std::vector<Eigen::VectorXd>& parts, PairTable& table) const;
  void add_pair(std::size_t first, std::size_t second, const Eigen::VectorXd& alpha,
                const Shared& shared, const std::vector<std::vector<Eigen::VectorXd>>& parts,
                PairTable& table) const;

  double log_evidence(std::size_t rows);
  void fill_kernels();
  bool factorise(std::size_t rows);
  void climb(std::size_t rows, double factor, int sweeps);
  Eigen::VectorXd row_of(const Levels& member) const;

  struct Layer {
    std::size_t kind = 0;               // layers of the same choices are of one kind
    std::vector<double> positions;      // [levels]: log2 of width, from the first granularity on
    std::vector<double> step_variance;  // [levels - 1], their sum 4
    std::vector<std::vector<double>> kernel;  // [levels][levels]: sum of steps' products
  };
  const FeasibleSet& set_;
  std::array<double, kGroups> prior_;  // where the search for the variances starts
  std::vector<Layer> layers_;
  std::vector<std::size_t> kind_at_;  // [kinds + 1]: where a kind's steps begin in totals
  double pairs_ = 1;                  // of layers

  double centre_ = 0, scale_ = 1;          // losses are fitted as (loss - centre) / scale
  std::array<double, kGroups> variances_;  // of those
  double decay_ = 1;

  // The results that the model is fitted to. While it searches for the variances, these are a part
  // of them.
  std::vector<Levels> members_;
  std::vector<double> losses_, noises_;  // as they are fitted
  std::vector<Totals> totals_;
  std::array<Eigen::MatrixXd, kGroups> kernels_;  // [results][results], lower triangles
  Eigen::MatrixXd factor_;                        // L of the covariance, lower
  Eigen::VectorXd weights_;                       // covariance^-1 losses
  double misfit_ = 0, log_determinant_ = 0;       // losses' covariance^-1 losses; of the covariance
};

}  // namespace mnm
