#include "serve/verify_sessions.h"

#include <algorithm>

#include "serve/api_error.h"

namespace mnm {

std::vector<std::int64_t> VerifySessions::start(const std::string& id, const std::string& model,
                                                std::int64_t keep) const {
  const auto found = std::ranges::find(sessions_, id, &VerifySession::id);
  if (found == sessions_.end() || found->model != model ||
      std::cmp_greater(keep, found->tokens.size())) {
    throw ApiError(404, "session", "session_unknown",
                   "there is no such session of this model with as many tokens: send all tokens, "
                   "without a session");
  }
  return {found->tokens.begin(), found->tokens.begin() + keep};
}

void VerifySessions::put(VerifySession session) {
  const auto forget = [&](std::list<VerifySession>::iterator one) {
    tokens_ -= one->tokens.size();
    sessions_.erase(one);
  };
  const auto found = std::ranges::find(sessions_, session.id, &VerifySession::id);
  if (found != sessions_.end()) forget(found);
  tokens_ += session.tokens.size();
  sessions_.push_back(std::move(session));
  while (sessions_.size() > 1 && (sessions_.size() > most_ || tokens_ > most_tokens_)) {
    forget(sessions_.begin());
  }
}

}  // namespace mnm
