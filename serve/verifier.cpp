#include "serve/verifier.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <thread>
#include <utility>

#include "base/json.h"
#include "base/stopwatch.h"

namespace mnm {
namespace {

using Json = nlohmann::json;

constexpr const char* kPath = "/v1/verify";

// The error that an answer tells: OpenAI's {"error": {"message", "code"}}, or what is left of it.
struct Refusal {
  std::string message, code;
};

Refusal refusal_of(const HttpResponse& response) {
  try {
    const Json error = parse_json(response.body, "the answer").at("error");
    const auto text = [&](const char* name) {  // our own servers have null where there is none
      const auto found = error.find(name);
      return found != error.end() && found->is_string() ? found->get<std::string>() : "";
    };
    return {text("message"), text("code")};
  } catch (const std::exception&) {
    return {};
  }
}

[[noreturn]] void fail_refused(const std::string& url, const HttpResponse& response) {
  const auto& [message, code] = refusal_of(response);
  if (response.status == 404 && code != "model_not_found") {
    fail(
        "the server at {} verifies no drafts: it is older than this program, or is no `mixnmatch "
        "serve`; update it",
        url);
  }
  if (response.status == 401) {
    fail("the server at {} wants to be shown its secret: give it with --token-file", url);
  }
  fail("the server at {} does not verify this draft (status {}): {}", url, response.status,
       message.empty() ? "it does not say why" : message);
}

}  // namespace

RemoteVerifier::RemoteVerifier(Settings settings)
    : settings_(std::move(settings)), client_(settings_.url, settings_.http) {
  try {
    client_.connect();
  } catch (const ConnectionError& error) {
    fail("there is no server at {}: {}; start one there with `mixnmatch serve`", settings_.url,
         error.what());
  }
}

HttpResponse RemoteVerifier::ask(const std::string& body) {
  const Stopwatch start;
  for (bool again = true;;) {
    HttpResponse response;
    const Stopwatch asked;
    try {
      response = client_.post(kPath, body);
    } catch (const ConnectionError& error) {
      const bool late = dynamic_cast<const ConnectionTimeout*>(&error) != nullptr;
      if (!late && std::exchange(again, false)) continue;
      throw ConnectionError(fmt::format("{}: {}", settings_.url, error.what()));
    }
    const bool busy = response.status == 429 &&
                      start.seconds() < static_cast<double>(settings_.http.answer.count());
    if (busy) {
      std::this_thread::sleep_for(std::chrono::seconds(1));
      continue;
    }
    const double seconds = asked.seconds();
    if (++trips_.count == 1) trips_.first_seconds = seconds;
    trips_.seconds += seconds;
    trips_.sent = client_.sent();
    trips_.received = client_.received();
    return response;
  }
}

VerifiedDraft RemoteVerifier::verify(std::span<const std::int64_t> text,
                                     const std::vector<Proposal>& draft, std::uint64_t seed) {
  VerifyRequest request;
  request.model = settings_.model;
  request.draft = draft;
  request.sampling = settings_.sampling;
  request.seed = seed >> 1;  // JSON's numbers are signed where they are whole
  const auto ask_from = [&](std::int64_t keep) {
    request.keep = keep;
    request.tokens.assign(text.begin() + keep, text.end());
    request.session = keep > 0 ? session_ : std::nullopt;
    request.vocabulary.reset();
    request.tokenizer.reset();
    if (keep == 0) {  // a session begins
      request.vocabulary = settings_.vocabulary;
      request.tokenizer = settings_.tokenizer;
    }
    return ask(json_of(request).dump());
  };
  HttpResponse response = ask_from(common_start(text, known_));
  if (response.status == 404 && request.session && refusal_of(response).code == "session_unknown") {
    response = ask_from(0);
  }
  if (response.status != 200) fail_refused(settings_.url, response);
  return answer_of(response, text, draft);
}

VerifiedDraft RemoteVerifier::answer_of(const HttpResponse& response,
                                        std::span<const std::int64_t> text,
                                        const std::vector<Proposal>& draft) {
  const std::optional<VerifyAnswer> answer = parse_verify_answer(response.body);
  if (!answer || answer->accepted > std::ssize(draft) || answer->token >= settings_.vocabulary ||
      answer->length != std::ssize(text) + answer->accepted + 1) {
    fail("the server at {} gave an answer that is none: {:.200}", settings_.url, response.body);
  }
  const VerifiedDraft verified{answer->accepted, answer->token};
  session_ = answer->session;
  widths_ = answer->widths;
  seconds_ = answer->seconds;
  if (trips_.count == 1) trips_.first_computed = seconds_;
  trips_.computed += seconds_;
  known_.assign(text.begin(), text.end());
  for (std::int64_t i = 0; i < verified.accepted; ++i) {
    known_.push_back(draft[static_cast<std::size_t>(i)].token);
  }
  known_.push_back(verified.token);
  return verified;
}

}  // namespace mnm
