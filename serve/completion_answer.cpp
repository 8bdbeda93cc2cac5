#include "serve/completion_answer.h"

#include <algorithm>

#include "serve/api_error.h"
#include "serve/elsewhere.h"
#include "serve/routes.h"

namespace mnm {
namespace {

namespace net = boost::asio;

void add_use(std::vector<WidthsUse>& uses, const Update& update) {
  if (update.widths.empty()) return;
  auto use = std::ranges::find(uses, update.widths, &WidthsUse::widths);
  if (use == uses.end()) use = uses.insert(uses.end(), {update.widths, 0, 0});
  use->prompt_tokens += update.prompt_tokens;
  use->completion_tokens += update.completion_tokens;
}

ApiError late() { return {504, "", "timeout", "the answer took longer than the server allows"}; }

}  // namespace

Completions::Completions(std::int64_t count, std::int64_t n) : n_(n), left_(count) {
  choices_.resize(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < choices_.size(); ++i) {
    choices_[i].index = static_cast<std::int64_t>(i);
  }
}

Choice Completions::add(Update update) {
  if (update.failure) throw ApiError(*update.failure);
  Choice& whole = choices_.at(static_cast<std::size_t>(update.index));
  if (update.index % n_ == 0) {  // a prompt counts once
    usage_.prompt_tokens += update.prompt_tokens;
    usage_.cached_tokens += update.cached_tokens;
  }
  usage_.completion_tokens += update.completion_tokens;
  add_use(whole.widths, update);
  whole.finish = update.finish;
  if (update.finish) --left_;
  whole.output.text += update.output.text;
  const auto append = [](auto& to, const auto& from) {
    to.insert(to.end(), from.begin(), from.end());
  };
  append(whole.output.tokens, update.output.tokens);
  append(whole.output.text_offsets, update.output.text_offsets);
  Choice now{update.index, std::move(update.output), update.finish, {}};
  if (now.finish) {
    now.widths = whole.widths;
  } else {
    now.widths = {{update.widths, 0, 0}};
  }
  return now;
}

net::awaitable<std::optional<std::vector<Update>>> next_updates(
    Exchange& exchange, Mailbox& mailbox, std::chrono::steady_clock::time_point deadline) {
  const Mailbox::News news = co_await mailbox.wait(deadline);
  if (news == Mailbox::News::kLate) throw late();
  if (news == Mailbox::News::kUpdates) co_return mailbox.take();
  exchange.close_after();
  co_return std::nullopt;
}

namespace {

net::awaitable<bool> answer_whole(Exchange& exchange, Mailbox& mailbox,
                                  const AnswerRequest& request) {
  Completions completions(request.count, request.n);
  while (!completions.finished()) {
    std::optional<std::vector<Update>> updates =
        co_await next_updates(exchange, mailbox, request.deadline);
    if (!updates) co_return false;
    for (Update& update : *updates) completions.add(std::move(update));
  }
  exchange.unwatch();
  const auto write = [&] {
    return request.format.whole(completions.choices(), completions.usage());
  };
  HttpResponse response;
  response.body = co_await run_elsewhere(request.texts, exchange.handover(), write);
  co_await exchange.reply(response);
  co_return true;
}

// The events of one batch of updates.
std::string events_of(Completions& completions, std::vector<Update> updates,
                      const AnswerRequest& request) {
  std::string events;
  for (Update& update : updates) {
    const Choice choice = completions.add(std::move(update));
    const bool silent =
        choice.output.text.empty() && choice.output.tokens.empty() && !choice.finish;
    if (!silent) events += event_of(request.format.event(choice));
  }
  return events;
}

net::awaitable<bool> answer_stream(Exchange& exchange, Mailbox& mailbox,
                                   const AnswerRequest& request) {
  Completions completions(request.count, request.n);
  bool begun = false;
  while (!completions.finished() && !exchange.broken()) {
    const Mailbox::News news = co_await mailbox.wait(request.deadline);
    if (news == Mailbox::News::kClosed) {
      exchange.close_after();
      co_return false;
    }
    std::string events;
    bool failed = false;
    try {
      if (news == Mailbox::News::kLate) throw late();
      events = events_of(completions, mailbox.take(), request);
    } catch (const ApiError& error) {
      if (!begun) throw;  // there is still a status to say it with
      events = event_of(error.json());
      failed = true;
    }
    if (!begun) {
      co_await exchange.begin_events();
      for (std::int64_t i = 0; request.chat && i < request.count; ++i) {
        co_await exchange.send_events(event_of(request.format.first_event(i)));
      }
      begun = true;
    }
    co_await exchange.send_events(std::move(events));
    if (!failed) continue;
    co_await exchange.end_events();
    co_return false;
  }
  if (exchange.broken()) co_return false;
  std::string last;
  if (request.include_usage) last = event_of(request.format.usage_event(completions.usage()));
  co_await exchange.send_events(last + event_of("[DONE]"));
  co_await exchange.end_events();
  exchange.unwatch();
  co_return true;
}

}  // namespace

net::awaitable<bool> answer_completions(Exchange& exchange, Mailbox& mailbox,
                                        const AnswerRequest& request) {
  return request.stream ? answer_stream(exchange, mailbox, request)
                        : answer_whole(exchange, mailbox, request);
}

}  // namespace mnm
