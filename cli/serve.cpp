#include <fmt/format.h>

#include <atomic>
#include <limits>
#include <thread>

#include "base/error.h"
#include "base/interrupt.h"
#include "cli/common_options.h"
#include "cli/options.h"
#include "cli/print.h"
#include "engine/engine.h"
#include "families/open_model.h"
#include "model/cost.h"
#include "serve/bearer_token.h"
#include "serve/server.h"
#include "serve/stored_front.h"
#include "serve/time_steps.h"

namespace mnm {
namespace {

constexpr std::int64_t kMost = std::numeric_limits<std::int32_t>::max();
// Tokens of --cache-tokens that a state counts as. 48 layers of 2048 channels x 128 have 50 MB in
// f32, which is what 1,500 tokens of 16 layers with 8 heads of 64 keys and values take in bf16.
constexpr std::int64_t kStatePositions = 1024;
constexpr std::int64_t kBlock = 64;  // tokens of a block of a cache, on a CPU

struct Request {
  ModelOptions model;
  std::filesystem::path db, token_file;
  std::string name, data;
  ServiceSettings service;
  std::int64_t positions = 0;
  ControllerSettings controller;
  double target = 0;  // seconds
  HttpSettings http;
  std::int64_t port = HttpSettings{}.port;
  double drain = 30, answer = 600, idle = 75;  // seconds
  DeviceOptions device;
  bool log = false;
};

OptionTable option_table(Request& request) {
  OptionTable options(
      "serve",
      "Serves all submodels of a checkpoint from one copy of its weights, by OpenAI's protocol. A "
      "request names a submodel, gives widths, or asks for 'auto': then the load decides, step by "
      "step, at what widths it is computed.");
  add_model_options(options, request.model);
  options.section("models")
      .option("db", path_value(request.db),
              "offer the front of this store; else one submodel for each granularity")
      .option("data", text_value(request.data, "NAME"),
              "the store's data whose scores make the front; else the search part")
      .option("name", text_value(request.name, "NAME"), "of the model; else the directory's");
  options.section("load")
      .option(
          "target-latency", duration_value(request.target),
          "the most time between two tokens of a completion, as in 30ms: 'auto' runs as wide as "
          "this allows. Without it 'auto' is the widest of the front")
      .option("max-running", count_value(request.service.limits.running, 1, 4096),
              "completions that are computed together")
      .option("max-waiting", count_value(request.service.waiting, 0, kMost),
              "completions that may wait; a request for more gets status 429")
      .option("cache-tokens", count_value(request.positions, 0, kMost),
              "tokens that all caches hold together; 0: for each running completion the model's "
              "context, but at most 4096. A cache that is a state, which does not grow, counts as "
              "1024 tokens")
      .option("prompt-tokens", count_value(request.controller.most_prompt_rows, 1, kMost),
              "the most tokens of prompts in one step");
  options.section("connections")
      .option("address", text_value(request.http.address, "IP"),
              "the address to listen on; others than this one can be reached from other machines")
      .option("port", count_value(request.port, 0, 65535), "0: one that is free")
      .option("allow-host", texts_value(request.http.allowed_hosts, "NAME"),
              "a name that requests may call this server by, in the header Host, beside localhost "
              "and IP addresses. Without it, a server on a loopback address accepts "
              "only those, and any other server accepts every name")
      .option("token-file", path_value(request.token_file),
              "a file whose first line is a secret that clients must show, as OpenAI's api_key")
      .option("max-connections", count_value(request.http.connections, 1, kMost),
              "open together; one more closes the one that is idle longest")
      .option("body-memory", quantity_value(request.http.all_bodies_bytes, "BYTES"),
              "memory for the bodies of all requests that are not answered yet; one more gets "
              "status 429")
      .option("idle-timeout", duration_value(request.idle),
              "how long a connection may send no request")
      .option("answer-timeout", duration_value(request.answer),
              "how long an answer may take; then it ends with an error")
      .option("drain", duration_value(request.drain),
              "how long running completions may go on after Ctrl-C or SIGTERM")
      .option("log", flag_value(request.log), "print a line for each request");
  add_device_options(options, request.device);
  return options;
}

std::string name_of(const std::string& given, const OpenedModel& opened) {
  if (!given.empty()) return given;
  const auto path = std::filesystem::weakly_canonical(opened.checkpoint.directory());
  return path.filename().string();
}

ModelList models_of(const Request& request, const OpenedModel& opened) {
  std::vector<FrontMember> front;
  if (request.db.empty()) {
    front = uniform_front(opened.model);
  } else {
    const Store store = Store::open(request.db, Store::Mode::kRead);
    front = stored_front(store, opened, request.data);
  }
  return {opened.model, name_of(request.name, opened), std::move(front)};
}

double seconds_now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Times steps at the narrowest and the widest submodel, where there is a target to keep.
StepTimes step_times(const Request& request, const ModelList& models, Sequences& sequences,
                     const InterruptGuard& guard) {
  // Without a target no prediction is asked for.
  if (request.controller.target == 0) return StepTimes(std::vector<TimedStep>{{{1, 1}, 1}});
  const ServedModel &narrow = models.levels().front(), &wide = models.levels().back();
  note("timing steps of up to {} completions\n", request.service.limits.running);
  std::vector<TimedStep> steps =
      time_steps(sequences,
                 {*narrow.widths, *wide.widths, static_cast<double>(narrow.cost.flops),
                  static_cast<double>(wide.cost.flops), request.service.limits.running,
                  request.controller.most_prompt_rows},
                 seconds_now, [&] { return !guard.interrupted(); });
  if (steps.empty()) fail("stopped before a step was timed");
  return StepTimes(std::move(steps));
}

// Durations of the command line, and what depends on the model.
void complete(Request& request, const NestedModel& model) {
  const auto seconds = [](double value) {
    return std::chrono::seconds(std::max<std::int64_t>(1, static_cast<std::int64_t>(value)));
  };
  request.http.port = static_cast<std::uint16_t>(request.port);
  request.http.idle = seconds(request.idle);
  request.http.answer = seconds(request.answer);
  request.controller.target = request.target;
  std::int64_t& prompt_rows = request.controller.most_prompt_rows;
  prompt_rows = std::min(prompt_rows, model.max_context);
  request.controller.least_prompt_rows =
      std::min(request.controller.least_prompt_rows, prompt_rows);
  SchedulerLimits& limits = request.service.limits;
  limits.vocabulary = model.vocab_size;
  limits.context = model.max_context;
  const bool grows = cost_of(model, model.space.full()).kv_bytes > 0;
  // Whole blocks, in which a cache counts.
  const std::int64_t context = (model.max_context + kBlock - 1) / kBlock * kBlock;
  const std::int64_t each = grows ? std::min<std::int64_t>(4096, context) : 4096;
  limits.positions = request.positions != 0 ? request.positions : each * limits.running;
  limits.state_positions = grows ? 0 : kStatePositions;
}

}  // namespace

int serve_command(const Arguments& arguments) {
  Request request;
  OptionTable options = option_table(request);
  if (!options.parse(arguments)) return 0;
  std::string token;
  if (!request.token_file.empty()) token = read_bearer_token(request.token_file);
  const OpenedModel opened = open_model(request.model.directory, request.model.nesting);
  if (opened.model.one_output) {
    fail("cannot serve '{}': it says the class of {}, and writes no text",
         opened.checkpoint.directory().string(), words_of(opened.model.input.type).kind);
  }
  complete(request, opened.model);
  const ModelList models = models_of(request, opened);
  const Words words = read_words(opened.checkpoint.directory(), opened.model);
  if (!words.tokenizer) {
    note("text cannot be read with this checkpoint's tokenizer: {}; prompts must be token ids\n",
         words.no_tokenizer);
  }

  Metrics metrics;
  CompletionService service(words, models, request.service, metrics);
  const SchedulerLimits& limits = request.service.limits;
  Routes routes(models, words, service, metrics,
                {limits.vocabulary, std::min(limits.context, limits.positions), token});
  // An address that is in use is told before a model is loaded, which may take minutes.
  HttpServer server(request.http, routes, metrics, request.log ? LogSink(note_line) : LogSink());

  const auto session =
      open_engine(request.device.device).load(opened.model, opened.checkpoint, request.device);
  const auto sequences = session->sequences();
  const InterruptGuard guard;
  std::vector<double> flops;
  for (const ServedModel& level : models.levels()) {
    flops.push_back(static_cast<double>(level.cost.flops));
  }
  WidthController controller(flops, step_times(request, models, *sequences, guard),
                             request.controller);
  server.listen();
  note("serving {} models on {}\n", models.all().size(), server.url());

  std::thread network([&] { server.run(); });
  bool closed = false;
  const auto interrupted = [&] {
    if (guard.interrupted() && !std::exchange(closed, true)) {
      note("finishing what is under way; a second signal stops at once\n");
      server.close();
    }
    return guard.interrupted();
  };
  try {
    service.work(*sequences, controller, interrupted,
                 std::chrono::seconds(static_cast<std::int64_t>(request.drain)));
  } catch (...) {
    server.close();
    network.join();
    throw;
  }
  network.join();
  return 0;
}

}  // namespace mnm
