// Added tokens: tokens that are found in a text as they stand there. The tokenizer cuts a text at
// them. It looks for some of them before it normalizes the text, and for the others after that.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace mnm {

struct AddedToken {
  std::int32_t id = 0;
  std::string text;
  bool takes_left = false, takes_right = false;  // it takes up the white space on this side
  bool alone = false;  // it is found only if no letter or digit touches it
};

// A part of a text: an added token, or the text between two of them (id -1).
struct TextPart {
  std::int32_t id = -1;
  std::string_view text;
};

class AddedTokens {
 public:
  // A token with an empty text is never found. Of several tokens with the same text, the last one
  // is found.
  explicit AddedTokens(std::vector<AddedToken> tokens);

  // Cuts the text at its added tokens. O(bytes x (longest token + log tokens)).
  //
  // 1. The leftmost token is taken first. Of several that begin at the same place the longest is
  //    taken.
  // 2. A token may lie in white space that the token before it took (takes_right). It is given,
  //    too, as by the tokenizers package. The text goes on behind it, so the rest of the white
  //    space is cut once more.
  // 3. In such white space, a token that takes_left is left out. The package leaves it out if it
  //    ends where the white space ends. Else the package fails.
  std::vector<TextPart> parts_of(std::string_view text) const;

 private:
  const AddedToken* longest_at(std::string_view text) const;

  std::vector<AddedToken> tokens_;  // sorted by their bytes
};

}  // namespace mnm
