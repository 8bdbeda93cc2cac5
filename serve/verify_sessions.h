// The texts that clients of POST /v1/verify go on with. A session is the ids of its tokens alone:
// what the model computed of them is in the scheduler's caches, as long as there is room. Pure.
#pragma once

#include <cstdint>
#include <list>
#include <string>
#include <vector>

namespace mnm {

struct VerifySession {
  std::string id, model;
  std::vector<std::int64_t> tokens;
};

class VerifySessions {
 public:
  // At most so many sessions, with so many tokens together. The one that was used last stays,
  // however long it is.
  VerifySessions(std::size_t sessions, std::size_t tokens)
      : most_(sessions), most_tokens_(tokens) {}

  // The first `keep` tokens of a session, which has this model. ApiError 404 "session_unknown" if
  // there is none of this id, or it is shorter; the client then sends all tokens again.
  std::vector<std::int64_t> start(const std::string& id, const std::string& model,
                                  std::int64_t keep) const;
  // What a session holds now. Those that were not used longest end, if there is no room.
  void put(VerifySession session);
  std::size_t size() const { return sessions_.size(); }

 private:
  std::size_t most_, most_tokens_, tokens_ = 0;
  std::list<VerifySession> sessions_;  // the one that was used last is last
};

}  // namespace mnm
