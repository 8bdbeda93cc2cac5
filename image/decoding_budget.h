// The memory that threads share while they decode pictures. One picture may need half a gigabyte
// and more, and there may be many threads.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <mutex>

namespace mnm {

class DecodingBudget {
 public:
  explicit DecodingBudget(std::uint64_t bytes) : left_(static_cast<std::int64_t>(bytes)) {}

  // What one picture takes, until it goes out of scope.
  class Share {
   public:
    explicit Share(DecodingBudget& budget) : budget_(budget) {}
    Share(const Share&) = delete;
    Share& operator=(const Share&) = delete;
    ~Share();

    // Takes more. Waits while there is too little left and another share is overdrawn. So all
    // shares together hold at most the budget and one picture, and one of them can always go on.
    void take(std::uint64_t bytes);

   private:
    DecodingBudget& budget_;
    std::int64_t taken_ = 0;
    bool overdrawn_ = false;  // it has taken more than was left
  };

 private:
  std::mutex mutex_;
  std::condition_variable freed_;
  std::int64_t left_;       // bytes; negative while a share is overdrawn
  bool overdrawn_ = false;  // a share is
};

}  // namespace mnm
