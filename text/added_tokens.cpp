#include "text/added_tokens.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <utility>

#include "text/unicode_classes.h"
#include "text/utf8.h"

namespace mnm {
namespace {

unsigned char byte_at(std::string_view text, std::size_t i) {
  return static_cast<unsigned char>(text[i]);
}

// \w of Unicode's Technical Standard 18: alphabetic, marks, digits, connectors, joiners.
bool is_word(char32_t c) {
  static constexpr std::pair<char32_t, char32_t> kAlphabeticSymbols[] = {
      {0x200c, 0x200d},   {0x24b6, 0x24e9},   {0x1f130, 0x1f149},
      {0x1f150, 0x1f169}, {0x1f170, 0x1f189},
  };
  constexpr ClassSet kWord = kLetters | set_of(CharClass::kMark, CharClass::kDigit,
                                               CharClass::kLetterNumber, CharClass::kConnector);
  return is_in(c, kWord) || std::ranges::any_of(kAlphabeticSymbols, [c](const auto& range) {
           return range.first <= c && c <= range.second;
         });
}

// The character that ends before `at`, from where it begins.
std::pair<char32_t, std::size_t> before(std::string_view text, std::size_t at) {
  std::size_t begin = at - 1;
  while (begin > 0 && (byte_at(text, begin) & 0xc0) == 0x80) --begin;
  return {code_point_at(text, begin).value, begin};
}

bool touches_word(std::string_view text, std::size_t begin, std::size_t end) {
  return (begin > 0 && is_word(before(text, begin).first)) ||
         (end < text.size() && is_word(code_point_at(text, end).value));
}

// Finds the end of white space. Asked from places that ascend, it looks at each character once.
class SpaceRun {
 public:
  explicit SpaceRun(std::string_view text) : text_(text) {}

  std::size_t end_from(std::size_t begin) {
    if (begin_ <= begin && begin <= end_) return end_;
    begin_ = end_ = begin;
    while (end_ < text_.size()) {
      const CodePoint point = code_point_at(text_, end_);
      if (!is_in(point.value, kSpaces)) break;
      end_ += point.bytes;
    }
    return end_;
  }

 private:
  std::string_view text_;
  std::size_t begin_ = 1, end_ = 0;  // of the run that was found last; at first there is none
};

}  // namespace

AddedTokens::AddedTokens(std::vector<AddedToken> tokens) : tokens_(std::move(tokens)) {
  std::erase_if(tokens_, [](const AddedToken& token) { return token.text.empty(); });
  std::ranges::stable_sort(tokens_, {}, &AddedToken::text);
  const auto same = [](const AddedToken& a, const AddedToken& b) { return a.text == b.text; };
  std::ranges::reverse(tokens_);
  tokens_.erase(std::unique(tokens_.begin(), tokens_.end(), same), tokens_.end());
  std::ranges::reverse(tokens_);
}

// Those that begin as the text does lie together: byte by byte fewer of them.
const AddedToken* AddedTokens::longest_at(std::string_view text) const {
  const AddedToken* longest = nullptr;
  auto first = tokens_.begin(), last = tokens_.end();
  for (std::size_t i = 0; first != last; ++i) {
    if (first->text.size() == i) {  // the shortest one comes first
      longest = &*first;
      ++first;
    }
    if (i == text.size()) break;
    const auto at_i = [i](const AddedToken& token) { return byte_at(token.text, i); };
    const unsigned char byte = byte_at(text, i);
    // Most often all of them go on alike.
    if (first != last && at_i(*first) == byte && at_i(*std::prev(last)) == byte) continue;
    const auto same = std::ranges::equal_range(first, last, byte, {}, at_i);
    first = same.begin();
    last = same.end();
  }
  return longest;
}

std::vector<TextPart> AddedTokens::parts_of(std::string_view text) const {
  std::vector<TextPart> out;
  std::size_t done = 0;
  SpaceRun spaces(text);
  std::array<bool, 256> begins{};
  for (const AddedToken& token : tokens_) begins[byte_at(token.text, 0)] = true;
  for (std::size_t at = 0; at < text.size();) {
    const AddedToken* token = begins[byte_at(text, at)] ? longest_at(text.substr(at)) : nullptr;
    if (token == nullptr) {
      ++at;
      continue;
    }
    std::size_t begin = at, end = at + token->text.size();
    at = end;
    if (token->alone && touches_word(text, begin, end)) continue;
    if (token->takes_left) {
      for (std::size_t left = begin; left > done; begin = left) {
        const auto [c, start] = before(text, left);
        if (!is_in(c, kSpaces)) break;
        left = start;
      }
      begin = std::max(begin, done);
    }
    if (token->takes_right) end = spaces.end_from(end);
    if (begin >= end) continue;
    if (done < begin) out.push_back({-1, text.substr(done, begin - done)});
    out.push_back({token->id, text.substr(begin, end - begin)});
    done = end;
  }
  if (done < text.size()) out.push_back({-1, text.substr(done)});
  return out;
}

}  // namespace mnm
