#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <memory>
#include <string>

#include "base/error.h"
#include "base/file.h"
#include "cli/example_readers.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/output_file.h"
#include "cli/print.h"
#include "dataset/task_file.h"
#include "dataset/task_maker.h"
#include "families/open_model.h"
#include "report/table.h"
#include "text/prefix_token.h"
#include "text/tokenizer.h"

namespace mnm {
namespace {

constexpr std::int64_t kDefaultWindow = 2048;  // of lm-evaluation-harness
constexpr std::size_t kLongestDelimiter = 64;
constexpr std::int64_t kMostTokens = std::numeric_limits<std::int32_t>::max();

struct Request {
  std::filesystem::path questions, tokenizer, model, out;
  std::int64_t window = 0;
  std::int64_t prefix = -1;
  std::string delimiter = " ";
  bool cut = false, force = false, dry_run = false, json = false, csv = false;
};

OptionTable option_table(Request& request) {
  auto& [questions, tokenizer, model, out, window, prefix, delimiter, cut, force, dry_run, json,
         csv] = request;
  OptionTable options(
      "tasks",
      "Turns questions with choices, or texts whose perplexity is measured, into a task file. "
      "Eval, "
      "search and sensitivity score submodels on it. Each line of the input is a JSON object: "
      "{\"context\": ..., \"choices\": [...], \"gold\": 0} or {\"text\": ...}. The tokens and what "
      "is scored are those of lm-evaluation-harness. Examples of few-shot prompts are part of the "
      "context, and the caller writes them.");
  options
      .argument("QUESTIONS", required(path_value(questions)),
                "a file with a JSON object in each line: questions or texts")
      .section("tokens")
      .option("model", path_value(model, "DIR"),
              "checkpoint whose tokenizer.json makes the tokens, and whose config names the window")
      .option("tokenizer", path_value(tokenizer, "DIR"),
              "directory with a tokenizer.json, if there is no checkpoint")
      .option("window", count_value(window, 0, kMostTokens, "TOKENS"),
              "the most tokens that a model reads for an answer; 0: the most that the model "
              "allows, or 2048")
      .option("cut", flag_value(cut),
              "cut contexts that do not fit the window on the left; else they are an error")
      .option(
          "prefix", count_value(prefix, -1, kMostTokens, "ID"),
          "the token that is read where nothing comes before; -1: the tokenizer's bos_token, or "
          "else its eos_token")
      .option("delimiter", text_value(delimiter, "TEXT"),
              "what stands between a context and a choice; else a space")
      .section("output")
      .option("out", required(path_value(out, "FILE")), "the task file to write")
      .option("force", flag_value(force), "replace an earlier task file")
      .option("dry-run", flag_value(dry_run), "write nothing");
  add_output_options(options, json, csv);
  return options;
}

// What a directory says about tokens.
struct TokenSource {
  std::filesystem::path directory;
  std::int64_t vocab_size = 0;
  std::int64_t window = kDefaultWindow;
};

TokenSource source_of(const Request& request) {
  if (request.model.empty() == request.tokenizer.empty()) {
    fail_usage("tasks: name either --model or --tokenizer, whose tokenizer.json makes the tokens");
  }
  TokenSource source;
  if (request.model.empty()) {
    source.directory = request.tokenizer;
    source.vocab_size = stated_vocabulary(request.tokenizer);
  } else {
    const NestedModel model = open_model(request.model).model;
    if (!model.reads_tokens()) {
      fail_usage("tasks: the model of {} reads images, and questions are texts",
                 request.model.string());
    }
    source.directory = request.model;
    source.vocab_size = model.vocab_size;
    if (model.max_context < kAnyContext) source.window = model.max_context;
    if (request.window > model.max_context) {
      fail_usage("a window of {} is longer than the model's {} positions", request.window,
                 model.max_context);
    }
  }
  if (request.window > 0) source.window = request.window;
  return source;
}

TaskTokens tokens_of(const std::shared_ptr<const Tokenizer>& tokenizer, std::int64_t prefix) {
  const TokenizerJson& json = tokenizer->json();
  TaskTokens tokens;
  for (std::size_t id = 0; id < json.tokens.size(); ++id) {
    if (json.tokens[id].kind == TokenKind::kUnused) continue;
    tokens.vocab_size = static_cast<std::int64_t>(id) + 1;
  }
  if (prefix >= tokens.vocab_size) {
    fail_usage("--prefix {} is outside the tokenizer's vocabulary of {}", prefix,
               tokens.vocab_size);
  }
  if (prefix >= 0) {
    const Token& token = json.tokens[static_cast<std::size_t>(prefix)];
    if (token.kind != TokenKind::kNormal) tokens.prefix_text = token.text;
  }
  tokens.vocabulary = vocabulary_fingerprint(json);
  tokens.encode = [tokenizer](std::string_view text, bool around) {
    return tokenizer->encode(text, around ? Template::kApply : Template::kLeaveOut);
  };
  return tokens;
}

Table summary(const TaskFile& task, const std::filesystem::path& out) {
  Table table{{{"kind", "kind", false},
               {"documents", "documents"},
               {"answers", "answers"},
               {"tokens", "tokens"},
               {"scored", "scored"},
               {"protocol", "protocol", false},
               {"path", "written to", false},
               {"fingerprint", "fingerprint", false}},
              {}};
  std::int64_t scored = 0;
  for (const std::int64_t of_answer : task.scored) scored += of_answer;
  table.rows.push_back({cell(std::string(to_string(task.protocol.kind))), cell(task.documents()),
                        cell(task.answers()), cell(static_cast<std::int64_t>(task.tokens.size())),
                        cell(scored), cell(protocol_text(task.protocol)), cell(out.string()),
                        cell(task.fingerprint())});
  return table;
}

}  // namespace

int tasks_command(const Arguments& arguments) {
  Request request;
  OptionTable options = option_table(request);
  if (!options.parse(arguments)) return 0;
  const OutputFormat output = output_format(request.json, request.csv);
  if (request.delimiter.size() > kLongestDelimiter) {
    fail_usage("tasks: a --delimiter of {} bytes is longer than {}", request.delimiter.size(),
               kLongestDelimiter);
  }
  require_apart(request.out, request.questions);
  require_outside(request.out, request.model);
  require_outside(request.out, request.tokenizer);
  if (!request.dry_run) require_writable(request.out, request.force, task_file_kind());
  const TokenSource source = source_of(request);
  const auto tokenizer = tokenizer_of(source.directory, source.vocab_size);
  TaskSettings settings;
  settings.window = source.window;
  settings.prefix = request.prefix >= 0
                        ? request.prefix
                        : prefix_token(source.directory, tokenizer->json()).value_or(-1);
  settings.delimiter = request.delimiter;
  settings.cut = request.cut;
  constexpr std::uint64_t kMostText = 4ULL << 30;
  const std::string lines = read_text(request.questions, kMostText);
  const TaskFile task = make_task(lines, request.questions.filename().string(),
                                  tokens_of(tokenizer, settings.prefix), settings);
  if (task.protocol.cut > 0) {
    note("{} of {} answers were cut on the left to fit the window of {}\n", task.protocol.cut,
         task.answers(), task.protocol.window);
  }
  if (request.dry_run) {
    note("dry run: nothing was written\n");
  } else {
    write_task_file(request.out, task);
  }
  print_table(summary(task, request.out), output);
  return 0;
}

}  // namespace mnm
