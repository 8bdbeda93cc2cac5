// Who verifies a draft that is computed elsewhere: a server that answers POST /v1/verify.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "generate/sampler.h"
#include "generate/speculative.h"
#include "serve/http_client.h"
#include "serve/running_job.h"
#include "serve/verify_request.h"

namespace mnm {

class Verifier {
 public:
  virtual ~Verifier() = default;

  // `text` has one token or more, and is what was said so far or a start of it. The proposals come
  // after it. The same `seed` gives the same answer.
  virtual VerifiedDraft verify(std::span<const std::int64_t> text,
                               const std::vector<Proposal>& draft, std::uint64_t seed) = 0;
  // Of the last answer: how long the verifier computed it.
  virtual double seconds() const = 0;
};

// What went over the network so far.
struct RoundTrips {
  std::int64_t count = 0;
  std::uint64_t sent = 0, received = 0;  // bytes, with the headers of HTTP
  double seconds = 0;                    // from each request to its answer
  double computed = 0;                   // of these, that the server computed
  // Of the first round trip, in which the server reads the prompt, too.
  double first_seconds = 0, first_computed = 0;
};

class RemoteVerifier final : public Verifier {
 public:
  struct Settings {
    std::string url;
    std::optional<std::string> model;  // nothing: the whole one
    std::int64_t vocabulary = 0;
    std::optional<std::string> tokenizer;  // fingerprint_of the draft's; nothing: not compared
    Sampling sampling;                     // by which the verifier draws
    HttpClientSettings http;
  };
  // Connects. Error says that there is no server.
  explicit RemoteVerifier(Settings settings);

  // Begins a session of the server and goes on with it. If the connection was lost, it connects
  // again once and asks again, but not if an answer took too long. A server that has forgotten the
  // session gets all tokens again. A server with too much to do is asked again each second, as long
  // as an answer may take. ConnectionError if there is no answer; Error if it is a refusal, or none
  // that a verifier gives.
  VerifiedDraft verify(std::span<const std::int64_t> text, const std::vector<Proposal>& draft,
                       std::uint64_t seed) override;
  double seconds() const override { return seconds_; }

  const RoundTrips& trips() const { return trips_; }
  const std::string& url() const { return settings_.url; }
  // That the verifier runs at, once it said so.
  const std::string& widths() const { return widths_; }

 private:
  HttpResponse ask(const std::string& body);
  VerifiedDraft answer_of(const HttpResponse& response, std::span<const std::int64_t> text,
                          const std::vector<Proposal>& draft);

  Settings settings_;
  HttpClient client_;
  std::optional<std::string> session_;
  std::vector<std::int64_t> known_;  // tokens that the session has
  std::string widths_;
  double seconds_ = 0;
  RoundTrips trips_;
};

}  // namespace mnm
