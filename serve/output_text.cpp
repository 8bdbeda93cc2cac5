#include "serve/output_text.h"

#include <algorithm>

namespace mnm {
namespace {

// Where the earliest of the stop strings begins in `text`; npos if none is there.
std::size_t find_stop(const std::string& text, const std::vector<std::string>& stop) {
  std::size_t first = std::string::npos;
  for (const std::string& one : stop) first = std::min(first, text.find(one));
  return first;
}

// How many bytes at the end of `text` may become a stop string.
std::size_t possible_stop(const std::string& text, const std::vector<std::string>& stop) {
  std::size_t longest = 0;
  for (const std::string& one : stop) {
    for (std::size_t n = std::min(one.size() - 1, text.size()); n > longest; --n) {
      if (text.ends_with(std::string_view(one).substr(0, n))) longest = n;
    }
  }
  return longest;
}

}  // namespace

OutputText::OutputText(std::optional<TokenDecoder> decoder, std::vector<std::string> stop)
    : decoder_(std::move(decoder)), stop_(std::move(stop)) {}

OutputPiece OutputText::feed(ScoredToken token) {
  const std::size_t begin = released_ + held_text_.size();
  if (decoder_) held_text_ += decoder_->feed(token.id);
  held_.push_back({std::move(token), begin, released_ + held_text_.size()});
  if (const std::size_t at = find_stop(held_text_, stop_); at != std::string::npos) {
    return stop_at(released_ + at);
  }
  return release(released_ + held_text_.size() - possible_stop(held_text_, stop_), 0);
}

OutputPiece OutputText::feed_prompt(ScoredToken token, bool shown) {
  OutputPiece piece;
  std::string text;
  if (decoder_) text = decoder_->feed(token.id);
  if (!shown) return piece;
  piece.text_offsets.push_back(static_cast<std::int64_t>(released_));
  piece.tokens.push_back(std::move(token));
  released_ += text.size();
  piece.text = std::move(text);
  return piece;
}

OutputPiece OutputText::finish() {
  if (decoder_) held_text_ += decoder_->finish();
  if (const std::size_t at = find_stop(held_text_, stop_); at != std::string::npos) {
    return stop_at(released_ + at);
  }
  return release(released_ + held_text_.size(), std::string::npos);
}

OutputPiece OutputText::stop_at(std::size_t end) {
  OutputPiece piece = release(end, end);
  piece.stopped = true;
  return piece;
}

OutputPiece OutputText::release(std::size_t end, std::size_t begun) {
  OutputPiece piece;
  piece.text = held_text_.substr(0, end - released_);
  held_text_.erase(0, end - released_);
  released_ = end;
  while (!held_.empty() && (held_.front().end <= end || held_.front().begin < begun)) {
    piece.text_offsets.push_back(static_cast<std::int64_t>(held_.front().begin));
    piece.tokens.push_back(std::move(held_.front().token));
    held_.pop_front();
  }
  return piece;
}

}  // namespace mnm
