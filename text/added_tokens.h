// The tokens that are found in text as they stand, before all else.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace mnm {

struct AddedToken {
  std::int32_t id = 0;
  std::string text;
  bool takes_left = false, takes_right = false;  // the white space beside it
  bool alone = false;                            // only where no letter or digit touches it
};

// A part of a text: a token (id), or what lies between (id -1).
struct TextPart {
  std::int32_t id = -1;
  std::string_view text;
};

class AddedTokens {
 public:
  // Those without text are never found; of those with the same text, the last one is.
  explicit AddedTokens(std::vector<AddedToken> tokens);

  // The leftmost ones, and of those the longest. O(bytes x (longest token + log tokens)).
  std::vector<TextPart> parts_of(std::string_view text) const;

 private:
  const AddedToken* longest_at(std::string_view text) const;

  std::vector<AddedToken> tokens_;  // by their bytes
};

}  // namespace mnm
