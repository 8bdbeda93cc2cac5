#include "serve/words.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "model/fingerprint.h"
#include "serve/api_error.h"
#include "text/end_tokens.h"

namespace mnm {
namespace {

[[noreturn]] void refuse_length(const std::string& param, std::string_view tokens,
                                std::int64_t context) {
  throw ApiError(
      400, param, "context_length_exceeded",
      fmt::format("the prompt has {} tokens, and there is room for {}", tokens, context));
}

// Refuses a text that is longer than all tokens that there is room for may be, before it takes the
// time to become tokens.
void require_length(std::string_view text, const Tokenizer& tokenizer, const std::string& param,
                    std::int64_t context) {
  const std::optional<std::size_t> longest = tokenizer.longest_token();
  if (!longest) return;
  const std::size_t least = text.size() / *longest + (text.size() % *longest != 0 ? 1 : 0);
  if (std::cmp_less_equal(least, context)) return;
  refuse_length(param, fmt::format("at least {}", least), context);
}

ChatTurn turn_of(const std::vector<ChatMessage>& messages) {
  ChatTurn turn;
  std::size_t at = 0;
  if (messages.front().role == "system") turn.system = messages[at++].content;
  for (; at + 1 < messages.size(); at += 2) {
    const ChatMessage &said = messages[at], &answer = messages[at + 1];
    if (said.role != "user" || answer.role != "assistant") break;
    turn.earlier.push_back({said.content, answer.content});
  }
  if (at + 1 != messages.size() || messages[at].role != "user") {
    refuse("messages",
           "'messages' must be a system message or none, then user and assistant in turn, and a "
           "user message last");
  }
  turn.user = messages[at].content;
  return turn;
}

std::vector<std::int64_t> chat_tokens(const std::vector<ChatMessage>& messages, const Words& words,
                                      const JobSettings& settings, const ProgressSink& progress) {
  if (!words.chat) {
    throw ApiError(400, "messages", "unsupported",
                   fmt::format("this model takes no chat: {}; put the whole text to "
                               "/v1/completions",
                               words.no_chat));
  }
  const ChatTurn turn = turn_of(messages);
  try {
    const std::string text = chat_prompt(*words.chat, turn, settings.today);
    require_length(text, *words.tokenizer, "messages", settings.context);
    return words.tokenizer->encode(text, Template::kLeaveOut, progress);
  } catch (const ApiError&) {
    throw;
  } catch (const Stopped&) {
    throw;
  } catch (const Error& error) {
    throw ApiError(400, "messages", "unsupported",
                   fmt::format("this model's chats are not read here: {}", error.what()));
  }
}

std::vector<std::int64_t> prompt_tokens(const PromptText& prompt, const Words& words,
                                        const JobSettings& settings, const ProgressSink& progress) {
  if (const auto* ids = std::get_if<std::vector<std::int64_t>>(&prompt)) return *ids;
  if (!words.tokenizer) {
    refuse("prompt", "text cannot be read with this model's tokenizer: {}; send token ids",
           words.no_tokenizer);
  }
  const auto& text = std::get<std::string>(prompt);
  require_length(text, *words.tokenizer, "prompt", settings.context);
  return words.tokenizer->encode(text, Template::kApply, progress);
}

}  // namespace

void require_prompt(const std::vector<std::int64_t>& tokens, const std::string& param,
                    const JobSettings& settings) {
  if (tokens.empty()) refuse(param, "the prompt is empty: give at least one token to go on from");
  for (const std::int64_t token : tokens) {
    if (token >= 0 && token < settings.vocabulary) continue;
    refuse(param, "the prompt has token {}, outside the vocabulary of {}", token,
           settings.vocabulary);
  }
  if (std::cmp_greater(tokens.size(), settings.context)) {
    refuse_length(param, std::to_string(tokens.size()), settings.context);
  }
}

std::string fingerprint_of(const TokenizerJson& tokenizer) {
  Fingerprint fingerprint;
  for (const Token& token : tokenizer.tokens) {
    fingerprint.add(token.kind == TokenKind::kUnused ? std::string_view() : token.text);
  }
  return fingerprint.hex();
}

Words read_words(const std::filesystem::path& checkpoint, const NestedModel& model) {
  Words words;
  try {
    if (auto found = find_tokenizer(checkpoint, model.vocab_size)) {
      words.tokenizer.emplace(std::move(*found));
    } else {
      words.no_tokenizer = "it has none";
    }
  } catch (const Error& error) {
    words.no_tokenizer = error.what();
  }
  try {
    words.chat = find_chat_template(checkpoint);
    if (!words.chat) words.no_chat = "it has no chat_template";
    if (words.chat) chat_prompt(*words.chat, {}, "");  // is it of a kind that is known?
  } catch (const Error& error) {
    words.chat.reset();
    words.no_chat = error.what();
  }
  if (!words.tokenizer) {
    words.chat.reset();
    words.no_chat = words.no_tokenizer;
  }
  const auto ends = end_tokens(checkpoint, model.config);
  words.ends.insert(ends.begin(), ends.end());
  return words;
}

std::vector<Job> jobs_of(const CompletionRequest& request, const ServedModel& model,
                         const Words& words, const JobSettings& settings,
                         const ProgressSink& progress) {
  const bool chat = request.endpoint == Endpoint::kChat;
  std::vector<std::vector<std::int64_t>> prompts;
  if (chat) {
    prompts.push_back(chat_tokens(request.messages, words, settings, progress));
  } else {
    for (const PromptText& prompt : request.prompts) {
      prompts.push_back(prompt_tokens(prompt, words, settings, progress));
    }
  }
  std::vector<Job> jobs;
  for (std::vector<std::int64_t>& prompt : prompts) {
    require_prompt(prompt, chat ? "messages" : "prompt", settings);
    const auto room = settings.context - static_cast<std::int64_t>(prompt.size()) + 1;
    Job job;
    job.prompt = std::move(prompt);
    job.widths = model.widths;
    job.flops = static_cast<double>(model.cost.flops);
    job.sampling = request.sampling;
    job.max_tokens =
        std::min(request.max_tokens.value_or(chat ? kDefaultChatTokens : kDefaultTokens), room);
    if (job.max_tokens == 0 && !request.echo) {
      refuse("max_tokens", "'max_tokens' may be 0 only with 'echo': true");
    }
    if (!request.ignore_end) job.ends = words.ends;
    job.alternatives = request.alternatives;
    job.score_prompt = request.echo && request.alternatives;
    for (std::int64_t i = 0; i < request.n; ++i) {
      job.seed = request.seed.value_or(settings.seed) + jobs.size();
      jobs.push_back(job);
    }
  }
  return jobs;
}

}  // namespace mnm
