// The text of one completion as its tokens come: decoding, stop strings, and which tokens go out
// with which text. Pure.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "text/token_decoder.h"

namespace mnm {

// A token with what the model thought of it.
struct ScoredToken {
  std::int64_t id = 0;
  double logprob = 0;  // natural logarithm of its probability, before temperature and top_k
  std::vector<std::pair<std::int64_t, double>> alternatives = {};  // id, logprob; likeliest first
};

// What may go out: no later token changes it.
struct OutputPiece {
  std::string text;  // UTF-8
  std::vector<ScoredToken> tokens;
  std::vector<std::int64_t> text_offsets;  // [tokens] bytes from the completion's start to each one
  bool stopped = false;                    // a stop string has come; nothing follows
};

class OutputText {
 public:
  // No decoder: there are no words, and all text is empty. The decoder's tokenizer outlives it.
  OutputText(std::optional<TokenDecoder> decoder, std::vector<std::string> stop);

  // Text that may be the beginning of a stop string is held back, and so are the tokens with it.
  // The stop string and what is after it never go out.
  OutputPiece feed(ScoredToken token);
  OutputPiece finish();  // what was held back
  // A token of the prompt, before the first that was generated. The text goes on from it, and no
  // stop string is looked for in it. If it is not `shown`, nothing goes out.
  OutputPiece feed_prompt(ScoredToken token, bool shown);

 private:
  // The text up to position `end`, with the tokens that end there or begin before `begun`.
  OutputPiece release(std::size_t end, std::size_t begun);
  OutputPiece stop_at(std::size_t end);

  struct Held {
    ScoredToken token;
    std::size_t begin = 0, end = 0;  // of its text
  };
  std::optional<TokenDecoder> decoder_;
  std::vector<std::string> stop_;
  std::string held_text_;     // from released_ on
  std::size_t released_ = 0;  // bytes that went out
  std::deque<Held> held_;
};

}  // namespace mnm
