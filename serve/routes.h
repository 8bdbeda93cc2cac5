// What the server answers on its paths.
//
//   GET  /health                 whether it takes requests
//   GET  /metrics                for Prometheus
//   GET  /v1/models, /v1/models/NAME
//   POST /v1/completions, /v1/chat/completions
//   POST /v1/verify              proposals of a client's draft (serve/verify_request.h)
#pragma once

#include <boost/asio/thread_pool.hpp>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/progress.h"
#include "serve/api_error.h"
#include "serve/awaitable.h"
#include "serve/completion_request.h"
#include "serve/exchange.h"
#include "serve/metrics.h"
#include "serve/model_list.h"
#include "serve/running_job.h"
#include "serve/service.h"
#include "serve/verify_request.h"
#include "serve/verify_sessions.h"
#include "serve/words.h"

namespace mnm {

struct RouteSettings {
  std::int64_t vocabulary = 0, context = 0;
  std::string token;  // a secret that clients must show; empty: none
};

// What makes the jobs of a request, as jobs_of does with the server's words. Called on a thread of
// its own for all requests; it may take long, and ends by Stopped once the sink has said no.
using JobSource = std::function<std::vector<Job>(const CompletionRequest&, const ServedModel&,
                                                 const JobSettings&, const ProgressSink&)>;

class Routes {
 public:
  // All references outlive it. `jobs` is empty: jobs_of, with `words`.
  Routes(const ModelList& models, const Words& words, CompletionService& service, Metrics& metrics,
         const RouteSettings& settings, JobSource jobs = {});

  // The name of the route that a request takes: "POST /v1/completions". One of a few: fit for logs
  // and metrics. "other" if it takes none.
  std::string_view route_of(const HttpRequest& request) const;

  // The answer to a request whose body need not be read. Nothing: the body is wanted.
  std::optional<HttpResponse> without_body(const HttpRequest& request) const;

  // Answers a request with its body. On the thread of the network; what may be long is read and
  // written as JSON on another.
  boost::asio::awaitable<void> answer(Exchange& exchange);

  // The answer that says an error.
  static HttpResponse error(const ApiError& error);

 private:
  // What a request comes to before anything is computed.
  struct Verification;
  boost::asio::awaitable<void> complete(Exchange& exchange, Endpoint endpoint);
  boost::asio::awaitable<void> verify(Exchange& exchange);
  Verification verification_of(VerifyRequest request) const;

  const ModelList& models_;
  const Words& words_;
  CompletionService& service_;
  Metrics& metrics_;
  RouteSettings settings_;
  JobSource jobs_;
  std::string tokenizer_;  // fingerprint_of the model's; empty: it has none
  VerifySessions sessions_{1024, 4 << 20};
  boost::asio::thread_pool texts_{1};
};

}  // namespace mnm
