// A timer of passes whose times are told beforehand, in place of a machine's.
#pragma once

#include <functional>
#include <stdexcept>
#include <utility>
#include <vector>

#include "eval/latency.h"

namespace mnm::test {

class ScriptedTimer final : public PassTimer {
 public:
  // The seconds of a pass of the submodel as a whole, when it is timed for the n-th time.
  using Seconds = std::function<double(const Widths&, int n)>;

  explicit ScriptedTimer(Seconds seconds) : seconds_(std::move(seconds)) {}

  double whole(const Widths& widths) override {
    int before = 0;
    for (const Widths& other : timed) before += other == widths;
    timed.push_back(widths);
    return seconds_(widths, before);
  }
  std::vector<double> parts(const Widths&) override {
    throw std::logic_error("only wholes are timed");
  }

  std::vector<Widths> timed;  // in order

 private:
  Seconds seconds_;
};

// A median of times of which half are `off` below `seconds` and half above.
inline double around(double seconds, double off, int n) {
  return n % 2 == 0 ? seconds - off : seconds + off;
}

}  // namespace mnm::test
