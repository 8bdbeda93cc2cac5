#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <iostream>
#include <iterator>
#include <limits>
#include <optional>

#include "base/error.h"
#include "base/file.h"
#include "base/interrupt.h"
#include "base/quantity.h"
#include "cli/common_options.h"
#include "cli/generation_way.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/print.h"
#include "engine/engine.h"
#include "families/open_model.h"
#include "generate/generation.h"
#include "report/escape.h"
#include "report/table.h"
#include "serve/words.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace mnm {
namespace {

using Json = nlohmann::ordered_json;

struct PromptOptions {
  std::string text, tokens, chat, system;
  std::filesystem::path file;
};

struct Request {
  ModelOptions model;
  WayOptions way;
  PromptOptions prompt;
  Sampling sampling;
  std::uint64_t seed = 1;
  GenerationLimits limits;
  bool ignore_end = false;
  DeviceOptions device;
  bool json = false;
};

std::vector<std::int64_t> parse_tokens(std::string_view text) {
  std::vector<std::int64_t> tokens;
  const char* at = text.data();
  const char* const end = at + text.size();
  while (true) {
    std::int64_t token = 0;
    const auto [rest, error] = std::from_chars(at, end, token);
    if (error != std::errc() || (rest != end && *rest != ',')) {
      fail_usage("--tokens takes ids separated by commas, such as 1,2,3, not '{}'", text);
    }
    tokens.push_back(token);
    if (rest == end) return tokens;
    at = rest + 1;
  }
}

std::string read_standard_input() {
  if (isatty(STDIN_FILENO) != 0) note("the prompt, then Ctrl-D:\n");
  return {std::istreambuf_iterator<char>(std::cin), {}};
}

// One turn of a chat, up to where the answer begins.
std::vector<std::int64_t> chat_of(const OptionTable& options, const PromptOptions& prompt,
                                  const Words& words, const std::filesystem::path& directory) {
  ChatTurn turn{std::nullopt, prompt.chat};
  if (options.given("system")) turn.system = prompt.system;
  try {
    if (!words.chat) fail("{}", words.no_chat);
    return words.tokenizer->encode(chat_prompt(*words.chat, turn, chat_date()),
                                   Template::kLeaveOut);
  } catch (const Error& error) {
    fail("cannot put a chat's turns as '{}' has them: {}; give the whole text with --prompt",
         directory.string(), error.what());
  }
}

std::vector<std::int64_t> prompt_of(const OptionTable& options, const PromptOptions& prompt,
                                    const Words& words, const OpenedModel& opened) {
  const int ways =
      static_cast<int>(options.given("prompt")) + static_cast<int>(options.given("prompt-file")) +
      static_cast<int>(options.given("chat")) + static_cast<int>(options.given("tokens"));
  if (ways > 1) fail_usage("give one of --prompt, --prompt-file, --chat and --tokens");
  if (options.given("system") && !options.given("chat")) {
    fail_usage("--system goes before what --chat says: give that, too");
  }
  std::vector<std::int64_t> tokens;
  if (options.given("tokens")) {
    tokens = parse_tokens(prompt.tokens);
  } else if (!words.tokenizer) {
    fail("cannot read text with the tokenizer of '{}': {}; give token ids with --tokens",
         opened.checkpoint.directory().string(), words.no_tokenizer);
  } else if (options.given("chat")) {
    tokens = chat_of(options, prompt, words, opened.checkpoint.directory());
  } else {
    const std::string text = options.given("prompt")        ? prompt.text
                             : options.given("prompt-file") ? read_text(prompt.file)
                                                            : read_standard_input();
    tokens = words.tokenizer->encode(text);
  }
  const NestedModel& model = opened.model;
  if (tokens.empty()) fail_usage("the prompt is empty: give at least one token to go on from");
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    if (tokens[i] < 0 || tokens[i] >= model.vocab_size) {
      fail_usage("token {} of the prompt is {}, outside the model's vocabulary of {}", i, tokens[i],
                 model.vocab_size);
    }
  }
  if (std::cmp_greater(tokens.size(), model.max_context)) {
    fail_usage("the prompt has {} tokens, and the model {} positions: shorten it", tokens.size(),
               model.max_context);
  }
  return tokens;
}

// New tokens on standard output as they come: text, or ids.
class Output {
 public:
  Output(const Tokenizer* tokenizer, bool quiet) : quiet_(quiet) {
    if (tokenizer != nullptr) decoder_.emplace(tokenizer->decoder());
  }

  void token(std::int64_t id) {
    if (!decoder_) {
      put(first_ ? std::to_string(id) : fmt::format(",{}", id));
    } else {
      put(decoder_->feed(id));
    }
    first_ = false;
  }
  bool begun() const { return !first_; }
  void finish() {
    if (decoder_) put(decoder_->finish());
    put("\n");
  }

 private:
  void put(const std::string& text) {
    if (quiet_ || text.empty()) return;
    // What a model says must not move a terminal's cursor; elsewhere it goes as it is.
    terminal_ ? write_printable(stdout, text, "\n\t") : write_raw(text);
    if (std::fflush(stdout) != 0) fail("cannot write to standard output: {}", std::strerror(errno));
  }

  std::optional<TokenDecoder> decoder_;  // none: ids
  bool quiet_, first_ = true, terminal_ = isatty(STDOUT_FILENO) != 0;
};

std::string text_of(const Tokenizer& tokenizer, std::span<const std::int64_t> tokens) {
  TokenDecoder decoder = tokenizer.decoder();
  std::string text;
  for (const std::int64_t id : tokens) text += decoder.feed(id);
  return text + decoder.finish();
}

// Generates. What was said ends with a line of its own, even if the rest fails.
Generation written(TokenSource& source, std::span<const std::int64_t> prompt,
                   const GenerationLimits& limits, Output& output, const InterruptGuard& guard) {
  Generation generation;
  try {
    generation = generate(source, prompt, limits, [&](std::optional<std::int64_t> token) {
      if (token) output.token(*token);
      return !guard.interrupted();
    });
  } catch (const Error&) {
    if (output.begun()) output.finish();
    throw;
  }
  output.finish();
  return generation;
}

// How fast, and how fast reading the weights alone would be.
struct Speed {
  double prefill = 0, decode = 0;  // tokens/s; 0 where there was nothing to time
  double bytes = 0;                // that one token reads
  double bandwidth = 0;            // bytes/s
  double share() const { return decode * bytes / bandwidth; }
};

Speed speed_of(const Generation& generation, std::size_t prompt, const OpenedModel& opened,
               const GenerationWay& way, const DeviceOptions& device) {
  Speed speed;
  if (generation.prefill_seconds > 0) {
    speed.prefill = static_cast<double>(prompt) / generation.prefill_seconds;
  }
  if (generation.decoded == 0) return speed;
  const auto decoded = static_cast<double>(generation.decoded);
  speed.decode = decoded / generation.decode_seconds;
  if (!way.single()) return speed;
  const double position = static_cast<double>(prompt) + (decoded - 1) / 2;
  const std::uint64_t bytes = bytes_per_token(opened.model, way.widths(), device.dtype, position);
  speed.bytes = static_cast<double>(bytes);
  speed.bandwidth = open_engine(device.device).read_rate(bytes, device);
  return speed;
}

void report(const Speed& speed, const Generation& generation, std::size_t prompt,
            const std::string& device) {
  note("prompt: {} tokens, {} tokens/s\n", prompt, quantity(speed.prefill));
  if (generation.decoded > 0 && speed.bytes == 0) {
    note("after it: {} tokens, {} tokens/s ({})\n", generation.decoded, quantity(speed.decode),
         device);
  } else if (generation.decoded > 0) {
    note(
        "after it: {} tokens, {} tokens/s, {:.2f} of what reading {}B a token allows at {}B/s "
        "({})\n",
        generation.decoded, quantity(speed.decode), speed.share(), quantity(speed.bytes),
        quantity(speed.bandwidth), device);
  }
  if (generation.finish == Finish::kContext) note("stopped: the model has no more positions\n");
}

Json json_of(const Speed& speed, const Generation& generation,
             const std::vector<std::int64_t>& prompt, const Words& words, const Widths& widths,
             const std::string& device) {
  Json json = {{"widths", to_string(widths)},
               {"prompt_tokens", prompt},
               {"tokens", generation.tokens},
               {"finish", to_string(generation.finish)}};
  json["text"] = words.tokenizer ? Json(text_of(*words.tokenizer, generation.tokens)) : Json();
  json["prefill_tokens_per_second"] = speed.prefill;
  const bool decoded = generation.decoded > 0, timed = speed.bytes > 0;
  json["decode_tokens_per_second"] = decoded ? Json(speed.decode) : Json();
  json["bytes_per_token"] = timed ? Json(speed.bytes) : Json();
  json["read_bytes_per_second"] = timed ? Json(speed.bandwidth) : Json();
  json["share_of_bound"] = timed ? Json(speed.share()) : Json();
  json["device"] = device;
  return json;
}

OptionTable option_table(Request& request) {
  auto& [model, way, prompt, sampling, seed, limits, ignore_end, device, json] = request;
  OptionTable options(
      "generate",
      "Continues a prompt with any submodel of a nested checkpoint, or with an exported one. Text "
      "gives text, and token ids give token ids. It also prints its speed, and the speed that "
      "reading the weights from memory allows.");
  add_model_options(options, model);
  add_way_options(options, way);
  options.section("prompt: one of these, or text on standard input")
      .option("prompt", text_value(prompt.text, "TEXT"), "the text to continue")
      .option("prompt-file", path_value(prompt.file), "a file with the text to continue")
      .option("chat", text_value(prompt.chat, "TEXT"),
              "what a user says, put as the checkpoint's chat_template puts it")
      .option("system", text_value(prompt.system, "TEXT"),
              "with --chat: what the system says first")
      .option("tokens", text_value(prompt.tokens, "IDS"),
              "the token ids to continue, as in 1,2,3; the output is then token ids too")
      .section("sampling")
      .option("temperature", real_value(sampling.temperature, 0, 1e6),
              "0: always the most likely token")
      .option("top-k", count_value(sampling.top_k, 0, std::numeric_limits<std::int64_t>::max()),
              "draw among so many of the most likely tokens; 0: among all")
      .option("top-p", real_value(sampling.top_p, 0, 1),
              "draw among the fewest most likely tokens that together reach this probability")
      .option("seed", count_value(seed), "seed of the draws: the same seed draws the same tokens")
      .section("end")
      .option("max-new-tokens",
              count_value(limits.new_tokens, 1, std::numeric_limits<std::int64_t>::max()),
              "the most tokens to generate")
      .option("ignore-end", flag_value(ignore_end), "go on after a token that ends a text");
  add_device_options(options, device);
  options.section("output").option("json", flag_value(json),
                                   "print tokens, text and speed as JSON at the end");
  return options;
}

// UsageError where options that choose among tokens have none to choose among.
void require_sampling(const OptionTable& options, const Sampling& sampling) {
  for (const char* needless : {"top-k", "top-p", "seed"}) {
    if (sampling.temperature == 0 && options.given(needless)) {
      fail_usage("--{} decides nothing where the most likely token is taken: give --temperature",
                 needless);
    }
  }
}

}  // namespace

int generate_command(const Arguments& arguments) {
  Request request;
  OptionTable options = option_table(request);
  if (!options.parse(arguments)) return 0;
  Sampler sampler(request.sampling);
  require_sampling(options, request.sampling);

  const OpenedModel opened = open_model(request.model.directory, request.model.nesting);
  const NestedModel& model = opened.model;
  if (model.one_output) {
    fail("cannot generate with '{}': it says the class of {}, and writes no text",
         opened.checkpoint.directory().string(), words_of(model.input.type).kind);
  }
  GenerationWay way(options, request.way, model, request.device.dtype);
  const Words words = read_words(opened.checkpoint.directory(), model);
  const std::vector<std::int64_t> tokens = prompt_of(options, request.prompt, words, opened);
  GenerationLimits& limits = request.limits;
  limits.context = model.max_context;
  if (!request.ignore_end) limits.ends = words.ends;

  way.connect(words.tokenizer ? &words.tokenizer->json() : nullptr, request.sampling);
  const DeviceOptions& device = request.device;
  Engine& engine = open_engine(device.device);
  const auto session = engine.load(model, opened.checkpoint, device);
  // The context is int64's largest where the model has no limit.
  const std::int64_t room = limits.context - static_cast<std::int64_t>(tokens.size());
  const auto sequences = session->sequences();
  Random random(request.seed);
  const auto source =
      way.source(*sequences, limits.context - std::max<std::int64_t>(0, room - limits.new_tokens),
                 sampler, random);
  const InterruptGuard guard;
  Output output(options.given("tokens") ? nullptr : &*words.tokenizer, request.json);
  const Generation generation = written(*source, tokens, limits, output, guard);
  const Speed speed = speed_of(generation, tokens.size(), opened, way, device);
  report(speed, generation, tokens.size(), engine.device_name(device));
  const Json of_way = way.report(*source, generation);
  if (request.json) {
    Json json = json_of(speed, generation, tokens, words, way.widths(), engine.device_name(device));
    json.update(of_way);
    print_json(json);
  }
  return generation.finish == Finish::kStopped ? 1 : 0;
}

}  // namespace mnm
