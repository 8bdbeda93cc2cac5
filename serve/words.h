// How a server reads prompts and chats as tokens, and what it makes of a request: its jobs.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/progress.h"
#include "serve/completion_request.h"
#include "serve/model_list.h"
#include "serve/running_job.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace mnm {

// What a checkpoint says of text. Where something is missing or not read here, the sentence says
// why.
struct Words {
  std::optional<Tokenizer> tokenizer;
  std::string no_tokenizer;
  std::optional<ChatTemplate> chat;
  std::string no_chat;
  std::set<std::int64_t> ends;  // tokens that end a text

  const TokenizerJson* json() const { return tokenizer ? &tokenizer->json() : nullptr; }
};

Words read_words(const std::filesystem::path& checkpoint, const NestedModel& model);

// One job for each completion: prompt 0's n first. `seed` is that of the first, if the request has
// none. `today` looks like "26 Jul 2024". ApiError if the prompt is empty, has more than `context`
// tokens, has a token outside the vocabulary, or is text that nothing here reads. max_tokens is cut
// to what the context has room for. `progress` is that of Tokenizer::encode, of each text anew.
struct JobSettings {
  std::int64_t vocabulary = 0, context = 0;
  std::uint64_t seed = 0;
  std::string today;
};
std::vector<Job> jobs_of(const CompletionRequest& request, const ServedModel& model,
                         const Words& words, const JobSettings& settings,
                         const ProgressSink& progress = {});

// ApiError, which names the member `param`, if these tokens are no prompt: there are none, more
// than settings.context, or one is outside the vocabulary.
void require_prompt(const std::vector<std::int64_t>& tokens, const std::string& param,
                    const JobSettings& settings);

// 32 hex digits of what the tokenizer makes of ids. Two tokenizers that differ in the text of an id
// have different ones.
std::string fingerprint_of(const TokenizerJson& tokenizer);

// max_tokens of a request that does not say it. OpenAI has the same for completions.
inline constexpr std::int64_t kDefaultTokens = 16, kDefaultChatTokens = 1024;

}  // namespace mnm
