#include "text/splits.h"

#include <algorithm>

#include "text/unicode_classes.h"
#include "text/utf8.h"

namespace mnm {
namespace {

struct Letter {
  char32_t value = 0;
  CharClass kind = CharClass::kOther;
  std::size_t begin = 0;  // in the text
};

// Text as code points with their classes, and how far each alternative of an expression reaches
// from a place: 0 letters is no match.
class Reader {
 public:
  explicit Reader(std::string_view text) {
    for (std::size_t at = 0; at < text.size();) {
      const CodePoint point = code_point_at(text, at);
      letters_.push_back({point.value, class_of(point.value), at});
      at += point.bytes;
    }
  }

  std::size_t size() const { return letters_.size(); }
  std::size_t begin(std::size_t i) const { return letters_[i].begin; }
  bool is(std::size_t i, CharClass kind) const { return i < size() && letters_[i].kind == kind; }
  bool is(std::size_t i, char32_t value) const { return i < size() && letters_[i].value == value; }
  bool is_break(std::size_t i) const { return is(i, U'\r') || is(i, U'\n'); }

  std::size_t run(std::size_t i, CharClass kind, std::size_t most = SIZE_MAX) const {
    std::size_t n = 0;
    while (n < most && is(i + n, kind)) ++n;
    return n;
  }

  // 's|'t|'re|'ve|'m|'ll|'d
  std::size_t contraction(std::size_t i, bool any_case) const {
    if (!is(i, U'\'') || i + 1 >= size()) return 0;
    static constexpr std::u32string_view kEnds[] = {U"s", U"t", U"re", U"ve", U"m", U"ll", U"d"};
    for (const std::u32string_view end : kEnds) {
      bool same = i + end.size() < size();
      for (std::size_t k = 0; same && k < end.size(); ++k) {
        const char32_t c = letters_[i + 1 + k].value;
        same = (any_case ? folded(c) : c) == end[k];
      }
      if (same) return 1 + end.size();
    }
    return 0;
  }

  // " ?" and then one or more of a class.
  std::size_t spaced(std::size_t i, CharClass kind) const {
    const std::size_t space = is(i, U' ') ? 1 : 0;
    const std::size_t n = run(i + space, kind);
    return n == 0 ? 0 : space + n;
  }

  // \s+(?!\S)|\s+: all but the last of a run that something follows
  std::size_t spaces(std::size_t i) const {
    const std::size_t n = run(i, CharClass::kSpace);
    return n > 1 && i + n < size() ? n - 1 : n;
  }

  // \s*[\r\n]+: up to the last line break of a run of spaces
  std::size_t breaks(std::size_t i) const {
    std::size_t n = run(i, CharClass::kSpace);
    while (n > 0 && !is_break(i + n - 1)) --n;
    return n;
  }

 private:
  // Lower case of what folds to a basic letter: those, and the long s.
  static char32_t folded(char32_t c) {
    if (c >= U'A' && c <= U'Z') return c - U'A' + U'a';
    return c == U'\u017f' ? U's' : c;
  }

  std::vector<Letter> letters_;
};

std::size_t piece_of_words(const Reader& text, std::size_t i) {
  if (const std::size_t n = text.contraction(i, false)) return n;
  for (const CharClass kind : {CharClass::kLetter, CharClass::kNumber, CharClass::kOther}) {
    if (const std::size_t n = text.spaced(i, kind)) return n;
  }
  return text.spaces(i);
}

std::size_t piece_of_signed_words(const Reader& text, std::size_t i, std::size_t digits) {
  if (const std::size_t n = text.contraction(i, true)) return n;
  const bool sign =
      !text.is(i, CharClass::kLetter) && !text.is(i, CharClass::kNumber) && !text.is_break(i);
  if (const std::size_t n = text.run(i + (sign ? 1 : 0), CharClass::kLetter)) {
    return n + (sign ? 1 : 0);
  }
  if (const std::size_t n = text.run(i, CharClass::kNumber, digits)) return n;
  if (std::size_t n = text.spaced(i, CharClass::kOther)) {
    while (text.is_break(i + n)) ++n;
    return n;
  }
  if (const std::size_t n = text.breaks(i)) return n;
  return text.spaces(i);
}

}  // namespace

std::string_view pattern_of(Split split) {
  switch (split) {
    case Split::kWords:
      return "";
    case Split::kThreeDigits:
      return R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
    case Split::kOneDigit:
      return R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
  }
  return "";
}

std::optional<Split> split_of(std::string_view pattern) {
  for (const Split split : {Split::kWords, Split::kThreeDigits, Split::kOneDigit}) {
    if (pattern_of(split) == pattern) return split;
  }
  return std::nullopt;
}

std::vector<std::string_view> split_text(Split split, std::string_view text) {
  const Reader reader(text);
  std::vector<std::string_view> pieces;
  for (std::size_t i = 0; i < reader.size();) {
    std::size_t n = split == Split::kWords
                        ? piece_of_words(reader, i)
                        : piece_of_signed_words(reader, i, split == Split::kOneDigit ? 1 : 3);
    n = std::max<std::size_t>(n, 1);  // every class is in some alternative
    const std::size_t begin = reader.begin(i);
    i += n;
    const std::size_t end = i < reader.size() ? reader.begin(i) : text.size();
    pieces.push_back(text.substr(begin, end - begin));
  }
  return pieces;
}

}  // namespace mnm
