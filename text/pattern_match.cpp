// The machine over a pattern's steps: back-tracking, where no split is tried twice at one place. A
// split that failed at a place fails there whatever came before it, so that the time is linear.
#include <algorithm>
#include <memory>
#include <optional>

#include "text/pattern.h"
#include "text/utf8.h"

namespace mnm {

class PatternMatch {
 public:
  PatternMatch(const Pattern& pattern, std::string_view text)
      : pattern_(pattern),
        text_(text),
        words_((pattern.splits_ + 63) / 64),
        tried_(words_ == 0 ? 0 : text.size() / kBlock + 1),
        runs_(pattern.steps_.size()) {}

  // The end of the match that begins at `begin`.
  std::optional<std::size_t> from(std::size_t begin) {
    open_.clear();
    std::uint32_t step = 0;
    std::size_t at = begin;
    while (true) {
      const PatternStep& now = pattern_.steps_[step];
      bool good = true;
      switch (now.kind) {
        case PatternStep::Kind::kMatch:
          forget(at);
          return at;
        case PatternStep::Kind::kJump:
          step = now.first;
          continue;
        case PatternStep::Kind::kSplit:
          if ((good = first_try(now.set, at))) {
            open_.push_back({now.second, at});
            step = now.first;
            continue;
          }
          break;
        case PatternStep::Kind::kSet:
          good = takes(now.set, at);
          break;
        case PatternStep::Kind::kPossessive:
          good = takes_all(step, at);
          break;
        case PatternStep::Kind::kFollowed:
          good = follows(now.set, at);
          break;
        case PatternStep::Kind::kUnfollowed:
          good = !follows(now.set, at);
          break;
        case PatternStep::Kind::kLineStart:
          good = at == 0 || text_[at - 1] == '\n';
          break;
        case PatternStep::Kind::kLineEnd:
          good = at == text_.size() || text_[at] == '\n';
          break;
      }
      if (good) {
        ++step;
        continue;
      }
      if (open_.empty()) return std::nullopt;
      step = open_.back().step;
      at = open_.back().at;
      open_.pop_back();
    }
  }

  // Nothing before `begin` will be asked again.
  void pass(std::size_t begin) {
    if (words_ == 0) return;
    for (; passed_ < begin / kBlock; ++passed_) {
      if (tried_[passed_]) spare_.push_back(std::move(tried_[passed_]));
    }
  }

 private:
  static constexpr std::size_t kBlock = 256;  // bytes of text
  struct Open {
    std::uint32_t step;
    std::size_t at;
  };
  struct Run {
    std::size_t begin = 0, end = 0;
  };

  std::uint64_t* tried_at(std::size_t at) {
    auto& block = tried_[at / kBlock];
    if (!block) {
      if (spare_.empty()) {
        block = std::make_unique<std::uint64_t[]>(kBlock * words_);
      } else {
        block = std::move(spare_.back());
        spare_.pop_back();
        std::fill_n(block.get(), kBlock * words_, 0);
      }
    }
    return block.get() + at % kBlock * words_;
  }
  bool first_try(std::uint32_t split, std::size_t at) {
    std::uint64_t& word = tried_at(at)[split / 64];
    const std::uint64_t bit = std::uint64_t{1} << split % 64;
    return (word & bit) == 0 && (word |= bit) != 0;
  }
  // What led to the match did not fail: the next one begins there.
  void forget(std::size_t at) {
    if (words_ > 0 && tried_[at / kBlock]) std::fill_n(tried_at(at), words_, 0);
  }

  bool takes(std::uint32_t set, std::size_t& at) const {
    if (at == text_.size()) return false;
    const auto byte = static_cast<unsigned char>(text_[at]);
    if (byte < 128) {
      if (!pattern_.sets_[set].ascii[byte]) return false;
      ++at;
      return true;
    }
    const CodePoint point = code_point_at(text_, at);
    if (!pattern_.sets_[set].has(point.value)) return false;
    at += point.bytes;
    return true;
  }
  bool follows(std::uint32_t set, std::size_t at) const { return takes(set, at); }

  // A run without a limit ends at one place wherever it is entered.
  bool takes_all(std::uint32_t step, std::size_t& at) {
    const PatternStep& now = pattern_.steps_[step];
    std::uint32_t n = 0;
    if (now.second == 0) {
      for (; n < now.first; ++n) {
        if (!takes(now.set, at)) return false;
      }
      Run& run = runs_[step];
      if (at >= run.begin && at < run.end) {
        at = run.end;
        return true;
      }
      run.begin = at;
      while (takes(now.set, at)) {
      }
      run.end = at;
      return true;
    }
    while (n < now.second && takes(now.set, at)) ++n;
    return n >= now.first;
  }

  const Pattern& pattern_;
  std::string_view text_;
  std::size_t words_;  // of bits, one for each split
  std::vector<std::unique_ptr<std::uint64_t[]>> tried_, spare_;
  std::size_t passed_ = 0;  // blocks
  std::vector<Open> open_;
  std::vector<Run> runs_;
};

std::vector<std::pair<std::size_t, std::size_t>> Pattern::matches(std::string_view text) const {
  std::vector<std::pair<std::size_t, std::size_t>> out;
  PatternMatch match(*this, text);
  for (std::size_t at = 0; at < text.size();) {
    const auto byte = static_cast<unsigned char>(text[at]);
    if (byte < 128 && !first_[byte]) {
      ++at;
      continue;
    }
    match.pass(at);
    if (const std::optional<std::size_t> end = match.from(at)) {
      out.emplace_back(at, *end);
      at = *end;
    } else {
      at += code_point_at(text, at).bytes;
    }
  }
  return out;
}

}  // namespace mnm
