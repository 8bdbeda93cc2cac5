#include "serve/metrics.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>

namespace mnm {
namespace {

// Clients choose widths, and each would be a time series of its own.
constexpr std::size_t kMostWidths = 64;

std::vector<double> powers_of_two(double first, int count) {
  std::vector<double> bounds;
  for (int i = 0; i < count; ++i, first *= 2) bounds.push_back(first);
  return bounds;
}

std::string described(std::string_view name, const char* type, const char* help) {
  return fmt::format("# HELP {0} {2}\n# TYPE {0} {1}\n", name, type, help);
}

std::string sample(std::string_view name, const char* type, const char* help, double value) {
  return described(name, type, help) + fmt::format("{} {}\n", name, value);
}

double resident_bytes() {
  std::ifstream file("/proc/self/statm");
  double all = 0, resident = 0;
  file >> all >> resident;
  return resident * static_cast<double>(sysconf(_SC_PAGESIZE));
}

template <typename T>
T copy_of(const T& value, std::mutex& mutex) {
  const std::lock_guard lock(mutex);
  return value;
}

}  // namespace

Histogram::Histogram(std::vector<double> bounds)
    : bounds_(std::move(bounds)), counts_(bounds_.size() + 1) {}

void Histogram::add(double value) {
  const auto at = std::ranges::lower_bound(bounds_, value) - bounds_.begin();
  ++counts_[static_cast<std::size_t>(at)];
  sum_ += value;
}

std::string Histogram::lines(std::string_view name) const {
  std::string text;
  std::uint64_t count = 0;
  for (std::size_t i = 0; i < bounds_.size(); ++i) {
    count += counts_[i];
    text += fmt::format("{}_bucket{{le=\"{}\"}} {}\n", name, bounds_[i], count);
  }
  count += counts_.back();
  text +=
      fmt::format("{0}_bucket{{le=\"+Inf\"}} {1}\n{0}_sum {2}\n{0}_count {1}\n", name, count, sum_);
  return text;
}

Metrics::Metrics()
    : requests_{{}, Histogram(powers_of_two(0.002, 16))},
      steps_{{},
             Histogram(powers_of_two(0.0005, 16)),
             Histogram(powers_of_two(1, 11)),
             Histogram(powers_of_two(0.002, 16)),
             Histogram(powers_of_two(0.0005, 16))} {}

void Metrics::request(std::string_view route, int status, double seconds) {
  const std::lock_guard lock(requests_mutex_);
  ++requests_.answered[{std::string(route), status}];
  requests_.seconds.add(seconds);
}

void Metrics::tokens(const std::string& widths, std::int64_t prompt, std::int64_t completion) {
  const std::lock_guard lock(steps_mutex_);
  const bool known = steps_.tokens.contains(widths) || steps_.tokens.size() < kMostWidths;
  auto& [of_prompts, of_completions] = steps_.tokens[known ? widths : "other"];
  of_prompts += prompt;
  of_completions += completion;
}

void Metrics::step(double seconds, std::int64_t rows) {
  const std::lock_guard lock(steps_mutex_);
  steps_.seconds.add(seconds);
  steps_.rows.add(static_cast<double>(rows));
}

void Metrics::first_token(double seconds) {
  const std::lock_guard lock(steps_mutex_);
  steps_.first_token_seconds.add(seconds);
}

void Metrics::token_gap(double seconds) {
  const std::lock_guard lock(steps_mutex_);
  steps_.token_seconds.add(seconds);
}

void Metrics::cancelled() {
  const std::lock_guard lock(steps_mutex_);
  ++steps_.cancelled;
}

void Metrics::refused() {
  const std::lock_guard lock(requests_mutex_);
  ++requests_.refused;
}

void Metrics::set(const Gauges& gauges) {
  const std::lock_guard lock(steps_mutex_);
  steps_.gauges = gauges;
}

void Metrics::connections(std::int64_t open) {
  const std::lock_guard lock(requests_mutex_);
  requests_.connections = open;
}

std::string Metrics::text() const {
  // Written from copies: nobody waits meanwhile.
  const OfRequests requests = copy_of(requests_, requests_mutex_);
  const OfSteps steps = copy_of(steps_, steps_mutex_);
  std::string out =
      described("mixnmatch_requests_total", "counter", "Requests that were answered.");
  for (const auto& [key, count] : requests.answered) {
    out += fmt::format("mixnmatch_requests_total{{route=\"{}\",status=\"{}\"}} {}\n", key.first,
                       key.second, count);
  }
  const auto tokens = [&](const char* name, const char* help, auto member) {
    out += described(name, "counter", help);
    for (const auto& [widths, counts] : steps.tokens) {
      out += fmt::format("{}{{widths=\"{}\"}} {}\n", name, widths, counts.*member);
    }
  };
  using Counts = std::pair<std::int64_t, std::int64_t>;
  tokens("mixnmatch_prompt_tokens_total", "Tokens of prompts.", &Counts::first);
  tokens("mixnmatch_completion_tokens_total", "Tokens that were generated.", &Counts::second);
  const auto histogram = [&](const char* name, const char* help, const Histogram& values) {
    out += described(name, "histogram", help) + values.lines(name);
  };
  histogram("mixnmatch_request_seconds", "From a request's header to its whole answer.",
            requests.seconds);
  histogram("mixnmatch_first_token_seconds", "From a request to its first token.",
            steps.first_token_seconds);
  histogram("mixnmatch_token_seconds", "Between two tokens of a completion.", steps.token_seconds);
  histogram("mixnmatch_step_seconds", "Of one step of all running completions.", steps.seconds);
  histogram("mixnmatch_step_rows", "Tokens that one step computed.", steps.rows);
  const auto gauge = [&](const char* name, const char* help, double value) {
    out += sample(name, "gauge", help, value);
  };
  const Gauges& now = steps.gauges;
  gauge("mixnmatch_running", "Completions that are computed.", static_cast<double>(now.running));
  gauge("mixnmatch_waiting", "Completions that wait.", static_cast<double>(now.waiting));
  gauge("mixnmatch_cache_positions", "Tokens that caches hold or may come to hold.",
        static_cast<double>(now.positions));
  gauge("mixnmatch_cache_bytes", "Memory of the caches.", static_cast<double>(now.cache_bytes));
  gauge("mixnmatch_elastic_level", "Of what elastic requests run at; 0 is the narrowest.",
        static_cast<double>(now.elastic_level));
  gauge("mixnmatch_connections", "Open connections.", static_cast<double>(requests.connections));
  gauge("process_resident_memory_bytes", "Resident memory.", resident_bytes());
  out += sample("mixnmatch_cancelled_total", "counter",
                "Requests that were given up: the client went away, or it took too long.",
                static_cast<double>(steps.cancelled));
  out += sample("mixnmatch_refused_total", "counter",
                "Requests that a full queue or full memory for bodies refused.",
                static_cast<double>(requests.refused));
  return out;
}

}  // namespace mnm
