#include "serve/routes.h"

#include <atomic>
#include <ctime>
#include <memory>
#include <nlohmann/json.hpp>
#include <random>
#include <utility>

#include "serve/api_error.h"
#include "serve/bearer_token.h"
#include "serve/completion_answer.h"
#include "serve/elsewhere.h"

namespace mnm {
namespace {

namespace net = boost::asio;

constexpr std::string_view kHealth = "/health", kMetrics = "/metrics", kModels = "/v1/models",
                           kCompletionsPath = "/v1/completions", kChatPath = "/v1/chat/completions",
                           kVerifyPath = "/v1/verify";

// Without a query.
std::string_view path_of(const HttpRequest& request) {
  return std::string_view(request.target).substr(0, request.target.find('?'));
}

bool is_get(const HttpRequest& request) {
  return request.method == "GET" || request.method == "HEAD";
}

// "%2C" as ",". What is no such escape stays.
std::string percent_decoded(std::string_view text) {
  const auto digit = [](char c) {
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
  };
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool escape =
        text[i] == '%' && i + 2 < text.size() && digit(text[i + 1]) >= 0 && digit(text[i + 2]) >= 0;
    out += escape ? static_cast<char>(digit(text[i + 1]) * 16 + digit(text[i + 2])) : text[i];
    if (escape) i += 2;
  }
  return out;
}

bool is_json(std::string_view content_type) {
  std::string type(content_type.substr(0, content_type.find(';')));
  while (!type.empty() && type.back() == ' ') type.pop_back();
  for (char& c : type) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return type == "application/json";
}

// Random, so that nobody guesses another's, and different in every process.
std::string random_id(const char* prefix) {
  static thread_local std::random_device device;
  std::string id = prefix;
  for (int i = 0; i < 3; ++i) id += fmt::format("{:08x}", static_cast<std::uint32_t>(device()));
  return id;
}

std::uint64_t random_seed() {
  static thread_local std::random_device device;
  return (static_cast<std::uint64_t>(device()) << 32) | device();
}

// What a request comes to before anything is computed.
struct Prepared {
  CompletionRequest request;
  Submission submission;
};

// A submission under way. Nothing more of it is computed if the client goes away, or if this ends
// before it was answered.
class UnderWay {
 public:
  UnderWay(CompletionService& service, Submission submission, Exchange& exchange)
      : mailbox_(std::make_shared<Mailbox>(exchange.handover())), service_(service) {
    exchange.watch([mailbox = mailbox_] { mailbox->close(); });
    id_ = service.submit(std::move(submission), [mailbox = mailbox_](std::vector<Update> updates) {
      mailbox->post(std::move(updates));
    });
  }
  UnderWay(const UnderWay&) = delete;
  UnderWay& operator=(const UnderWay&) = delete;
  ~UnderWay() {
    if (!answered) service_.cancel(id_);
  }

  Mailbox& mailbox() { return *mailbox_; }
  bool answered = false;

 private:
  std::shared_ptr<Mailbox> mailbox_;
  CompletionService& service_;
  RequestId id_ = 0;
};

}  // namespace

Routes::Routes(const ModelList& models, const Words& words, CompletionService& service,
               Metrics& metrics, const RouteSettings& settings, JobSource jobs)
    : models_(models),
      words_(words),
      service_(service),
      metrics_(metrics),
      settings_(settings),
      jobs_(std::move(jobs)),
      tokenizer_(words.tokenizer ? fingerprint_of(words.tokenizer->json()) : "") {
  if (jobs_) return;
  jobs_ = [this](const CompletionRequest& request, const ServedModel& model,
                 const JobSettings& of_server, const ProgressSink& progress) {
    return jobs_of(request, model, words_, of_server, progress);
  };
}

std::string_view Routes::route_of(const HttpRequest& request) const {
  const std::string_view path = path_of(request);
  if (is_get(request)) {
    if (path == kHealth) return "GET /health";
    if (path == kMetrics) return "GET /metrics";
    if (path == kModels) return "GET /v1/models";
    if (path.starts_with("/v1/models/")) return "GET /v1/models/NAME";
  }
  if (request.method == "POST") {
    if (path == kCompletionsPath) return "POST /v1/completions";
    if (path == kChatPath) return "POST /v1/chat/completions";
    if (path == kVerifyPath) return "POST /v1/verify";
  }
  return "other";
}

HttpResponse Routes::error(const ApiError& error) {
  HttpResponse response{error.status, error.json()};
  if (error.status == 429 || error.status == 503) response.headers.emplace_back("Retry-After", "1");
  if (error.status == 401) response.headers.emplace_back("WWW-Authenticate", "Bearer");
  return response;
}

std::optional<HttpResponse> Routes::without_body(const HttpRequest& request) const {
  const std::string_view path = path_of(request);
  if (path == kHealth && is_get(request)) {
    if (!service_.draining()) return HttpResponse{200, R"({"status":"ok"})"};
    return HttpResponse{503, R"({"status":"shutting down"})"};
  }
  if (!settings_.token.empty() && !shows_token(request.authorization, settings_.token)) {
    return error({401, "", "invalid_api_key", "the request does not show this server's token"});
  }
  try {
    if (is_get(request)) {
      if (path == kMetrics) {
        return HttpResponse{200, metrics_.text(), "text/plain; version=0.0.4"};
      }
      if (path == kModels) return HttpResponse{200, models_.json()};
      constexpr std::string_view kOne = "/v1/models/";
      if (path.starts_with(kOne)) {
        return HttpResponse{200, models_.json_of(percent_decoded(path.substr(kOne.size())))};
      }
    }
    const bool post = path == kCompletionsPath || path == kChatPath || path == kVerifyPath;
    if (!post && path != kHealth && path != kMetrics && path != kModels) {
      throw ApiError(404, "", "not_found", "this server has nothing under this path");
    }
    if (!(post ? request.method == "POST" : is_get(request))) {
      HttpResponse response = error({405, "", "", "this path does not take this method"});
      response.headers.emplace_back("Allow", post ? "POST" : "GET, HEAD");
      return response;
    }
    // A page in a browser may send other types to a server on its own machine, without asking.
    if (!is_json(request.content_type)) {
      throw ApiError(415, "", "", "the Content-Type must be application/json");
    }
  } catch (const ApiError& refused) {
    return error(refused);
  }
  return std::nullopt;
}

net::awaitable<void> Routes::answer(Exchange& exchange) {
  std::optional<HttpResponse> failure;
  try {
    const std::string_view path = path_of(exchange.request());
    if (path == kVerifyPath) {
      co_await verify(exchange);
    } else {
      co_await complete(exchange, path == kChatPath ? Endpoint::kChat : Endpoint::kCompletions);
    }
  } catch (const ApiError& refused) {
    failure = error(refused);
  } catch (const std::exception& wrong) {
    failure = error({500, "", "failed", wrong.what()});
  }
  exchange.unwatch();
  if (!failure) co_return;
  if (exchange.status() != 0) {
    exchange.close_after();  // half an answer is there: its end says that it is one
  } else {
    co_await exchange.reply(*failure);
  }
}

net::awaitable<void> Routes::complete(Exchange& exchange, Endpoint endpoint) {
  const auto came = std::chrono::steady_clock::now();
  const auto gone = std::make_shared<std::atomic<bool>>(false);
  exchange.watch([gone] { *gone = true; });
  const auto prepare = [&] {
    Prepared made;
    const auto unwanted = [&] { return *gone || service_.draining(); };
    if (unwanted()) return made;  // it waited behind others
    made.request = parse_completion_request(endpoint, exchange.take_body());
    const ServedModel model = models_.find(made.request.model);
    const JobSettings settings{settings_.vocabulary, settings_.context, random_seed(), chat_date()};
    try {
      made.submission.jobs =
          jobs_(made.request, model, settings, [&](const Progress&) { return !unwanted(); });
    } catch (const Stopped&) {  // there are no jobs
    }
    return made;
  };
  // A long prompt takes a while to become tokens: other connections go on meanwhile.
  Prepared prepared = co_await run_elsewhere(texts_.get_executor(), exchange.handover(), prepare);
  if (*gone) {
    metrics_.cancelled();
    exchange.close_after();
    co_return;
  }
  // A server that shuts down refuses the submission, whether or not it has its jobs.
  const CompletionRequest& request = prepared.request;
  const bool chat = endpoint == Endpoint::kChat;
  Submission& submission = prepared.submission;
  submission.stop = request.stop;
  submission.echo = request.echo;
  submission.continues = !chat;
  const auto count = static_cast<std::int64_t>(submission.jobs.size());

  UnderWay under_way(service_, std::move(submission), exchange);
  const ResponseHead head{endpoint,
                          random_id(chat ? "chatcmpl-" : "cmpl-"),
                          static_cast<std::int64_t>(std::time(nullptr)),
                          request.model,
                          request.alternatives,
                          request.return_token_ids};
  const AnswerRequest answer{ResponseFormat(head, words_.json()),
                             chat,
                             request.stream,
                             request.include_usage,
                             count,
                             request.n,
                             came + exchange.settings().answer,
                             texts_.get_executor()};
  under_way.answered = co_await answer_completions(exchange, under_way.mailbox(), answer);
}

struct Routes::Verification {
  VerifySession session;  // its text before the draft
  Job job;
};

Routes::Verification Routes::verification_of(VerifyRequest request) const {
  if (request.vocabulary && *request.vocabulary != settings_.vocabulary) {
    throw ApiError(
        400, "vocabulary", "other_vocabulary",
        fmt::format("the draft has a vocabulary of {} tokens, and this server's model one "
                    "of {}",
                    *request.vocabulary, settings_.vocabulary));
  }
  if (request.tokenizer && *request.tokenizer != tokenizer_) {
    throw ApiError(400, "tokenizer", "other_tokenizer",
                   "the draft's tokens have other texts than those of this server's model");
  }
  const ServedModel model = request.model ? models_.find(*request.model) : models_.whole();
  if (!model.widths) {
    refuse("model", "proposals are verified at widths that are fixed, not '{}'", model.name);
  }
  Verification out;
  out.session = {request.session.value_or(random_id("verify-")), model.name, {}};
  std::vector<std::int64_t>& tokens = out.session.tokens;
  if (request.session) tokens = sessions_.start(out.session.id, model.name, request.keep);
  tokens.insert(tokens.end(), request.tokens.begin(), request.tokens.end());
  if (tokens.empty()) refuse("tokens", "there is no token to go on from");
  Job& job = out.job;
  job.prompt = tokens;
  for (const Proposal& proposal : request.draft) {
    job.prompt.push_back(proposal.token);
    for (const auto& [id, probability] : proposal.from) {
      if (id < settings_.vocabulary) continue;
      refuse("draft", "token {} is outside the vocabulary of {}", id, settings_.vocabulary);
    }
  }
  require_prompt(job.prompt, "tokens", {settings_.vocabulary, settings_.context, 0, {}});
  job.widths = model.widths;
  job.flops = static_cast<double>(model.cost.flops);
  job.sampling = request.sampling;
  job.seed = request.seed.value_or(random_seed());
  job.max_tokens = 1;
  job.draft = std::move(request.draft);
  return out;
}

net::awaitable<void> Routes::verify(Exchange& exchange) {
  const auto deadline = std::chrono::steady_clock::now() + exchange.settings().answer;
  const auto read = [&] { return parse_verify_request(exchange.take_body()); };
  VerifyRequest request = co_await run_elsewhere(texts_.get_executor(), exchange.handover(), read);
  auto [session, job] = verification_of(std::move(request));
  const std::vector<std::int64_t> text = job.prompt;  // with the draft
  const std::string widths = to_string(*job.widths);

  Submission submission;
  submission.jobs.push_back(std::move(job));
  submission.continues = false;
  UnderWay under_way(service_, std::move(submission), exchange);
  std::int64_t computed = 0;
  double seconds = 0;  // of all steps that it took
  Update last;
  while (!last.ended()) {
    const std::optional<std::vector<Update>> updates =
        co_await next_updates(exchange, under_way.mailbox(), deadline);
    if (!updates) co_return;
    for (const Update& update : *updates) {
      computed += update.prompt_tokens - update.cached_tokens;
      seconds += update.seconds;
      last = update;
    }
  }
  under_way.answered = true;
  if (last.failure) throw ApiError(*last.failure);
  exchange.unwatch();
  const auto [accepted, token] = last.verified.value();
  const auto first = text.begin() + std::ssize(session.tokens);
  session.tokens.insert(session.tokens.end(), first, first + accepted);
  session.tokens.push_back(token);
  const VerifyAnswer answer{session.id, accepted, token,  std::ssize(session.tokens),
                            widths,     computed, seconds};
  sessions_.put(std::move(session));
  HttpResponse response;
  response.body = json_of(answer).dump();
  co_await exchange.reply(response);
}

}  // namespace mnm
