// Gathers the updates of a request's completions, and writes them to the client: in one answer, or
// event by event.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "serve/awaitable.h"
#include "serve/completion_response.h"
#include "serve/exchange.h"
#include "serve/mailbox.h"

namespace mnm {

// All completions of one request, as far as they have come.
class Completions {
 public:
  // `n`: completions per prompt.
  Completions(std::int64_t count, std::int64_t n);

  // Adds an update, and gives what is new as a choice. Throws the update's failure.
  Choice add(Update update);
  bool finished() const { return left_ == 0; }
  const std::vector<Choice>& choices() const { return choices_; }
  const TokenUsage& usage() const { return usage_; }

 private:
  std::int64_t n_, left_;
  std::vector<Choice> choices_;
  TokenUsage usage_;
};

// The next updates of a request. Nothing: the client is gone, and its connection ends. ApiError 504
// if `deadline` is over.
boost::asio::awaitable<std::optional<std::vector<Update>>> next_updates(
    Exchange& exchange, Mailbox& mailbox, std::chrono::steady_clock::time_point deadline);

struct AnswerRequest {
  ResponseFormat format;
  bool chat = false, stream = false, include_usage = false;
  std::int64_t count = 1, n = 1;  // completions in all, and per prompt
  std::chrono::steady_clock::time_point deadline;
  boost::asio::any_io_executor texts;  // where a whole answer is written: it may be long
};

// Answers until all completions have ended, the client is gone, or the deadline is over. True if
// they have ended: nothing is left to cancel.
boost::asio::awaitable<bool> answer_completions(Exchange& exchange, Mailbox& mailbox,
                                                const AnswerRequest& request);

}  // namespace mnm
