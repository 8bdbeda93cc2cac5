#include "search/member_sampler.h"

#include <utility>

namespace mnm {
namespace {

constexpr int kBurnIn = 32;  // sweeps from the narrowest member to the sampler's own distribution
constexpr int kSweeps = 3;   // between two draws, so that they have little in common
constexpr int kTries = 64;

}  // namespace

MemberSampler::MemberSampler(const FeasibleSet& set, Random& random)
    : set_(set), random_(random), chain_(set.narrowest()) {
  for (int i = 0; i < kBurnIn; ++i) set_.redraw(chain_, random_);
}

Levels MemberSampler::draw() {
  for (int attempt = 0; attempt < kTries; ++attempt) {
    for (int i = 0; i < kSweeps; ++i) set_.redraw(chain_, random_);
    if (take(chain_)) return chain_;
  }
  return next_after(chain_);
}

Levels MemberSampler::next_after(Levels member) {
  while (!take(member)) set_.advance(member);
  return member;
}

}  // namespace mnm
