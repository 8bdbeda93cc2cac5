// What a server counts, as text that Prometheus reads (its text format, version 0.0.4). Every
// function may be called from any thread.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace mnm {

// Counts of values up to some bounds.
class Histogram {
 public:
  explicit Histogram(std::vector<double> bounds);  // ascending
  void add(double value);
  // The lines of the metric `name`, without those that describe it.
  std::string lines(std::string_view name) const;

 private:
  std::vector<double> bounds_;
  std::vector<std::uint64_t> counts_;  // [bounds + 1], not summed up
  double sum_ = 0;
};

// What is so at the moment.
struct Gauges {
  std::int64_t running = 0, waiting = 0;  // jobs
  std::int64_t positions = 0;             // that caches hold or may come to need
  std::uint64_t cache_bytes = 0;
  std::int64_t elastic_level = 0;  // 0: the narrowest
};

class Metrics {
 public:
  Metrics();

  // `route` is one of the server's own names, never a path as it came.
  void request(std::string_view route, int status, double seconds);
  void tokens(const std::string& widths, std::int64_t prompt, std::int64_t completion);
  void step(double seconds, std::int64_t rows);
  void first_token(double seconds);  // since the request came
  void token_gap(double seconds);    // between two tokens of a completion
  void cancelled();                  // the client went away, or it took too long
  void refused();                    // the queue was full, or the memory for bodies
  void set(const Gauges& gauges);
  void connections(std::int64_t open);

  std::string text() const;

 private:
  // Each has a lock of its own: the thread of the network, which counts every answer, does not wait
  // for the thread that computes, which the system may interrupt while it counts.
  struct OfRequests {
    std::map<std::pair<std::string, int>, std::uint64_t> answered;
    Histogram seconds;
    std::uint64_t refused = 0;
    std::int64_t connections = 0;
  };
  struct OfSteps {
    std::map<std::string, std::pair<std::int64_t, std::int64_t>> tokens;  // by widths
    Histogram seconds, rows, first_token_seconds, token_seconds;
    std::uint64_t cancelled = 0;
    Gauges gauges = {};
  };
  mutable std::mutex requests_mutex_, steps_mutex_;
  OfRequests requests_;
  OfSteps steps_;
};

}  // namespace mnm
