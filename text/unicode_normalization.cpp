#include "text/unicode_normalization.h"

#include <algorithm>
#include <iterator>
#include <unordered_map>
#include <utility>
#include <vector>

#include "text/utf8.h"

namespace mnm {
namespace {

// Hangul's syllables are computed: The Unicode Standard, section 3.12.
constexpr char32_t kSyllables = 0xac00, kLeading = 0x1100, kVowels = 0x1161, kTrailing = 0x11a7;
constexpr char32_t kVowelCount = 21, kTrailingCount = 28, kLeadingCount = 19;
constexpr char32_t kSyllableCount = kLeadingCount * kVowelCount * kTrailingCount;

struct Decompositions {
  std::unordered_map<char32_t, std::u32string> canonical, compatible;  // in full
  std::unordered_map<std::uint64_t, char32_t> composed;                // of two characters
};

std::uint64_t pair_key(char32_t first, char32_t second) {
  return static_cast<std::uint64_t>(first) << 32 | second;
}

char32_t read_hex(std::string_view text, std::size_t& at) {
  char32_t value = 0;
  for (; at < text.size(); ++at) {
    const char c = text[at];
    const int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
    if (digit < 0) break;
    value = value * 16 + static_cast<char32_t>(digit);
  }
  return value;
}

char32_t composed_by_table(const Decompositions& tables, char32_t first, char32_t second) {
  const auto found = tables.composed.find(pair_key(first, second));
  return found == tables.composed.end() ? 0 : found->second;
}

// What a composed character is made of last, and before it: all but the last of its decomposition
// is composed itself.
void add_composed(Decompositions& tables, char32_t c, const std::u32string& parts) {
  char32_t first = parts.front();
  for (std::size_t i = 1; i + 1 < parts.size(); ++i) {
    first = composed_by_table(tables, first, parts[i]);
  }
  tables.composed.emplace(pair_key(first, parts.back()), c);
}

Decompositions read_decompositions() {
  // "CODE=CODE+CODE": composes again; "~": canonical only; ":": compatible.
  static constexpr std::string_view kTable =
#include "text/unicode_decompositions.inc"
      ;
  Decompositions out;
  std::vector<std::pair<char32_t, std::u32string>> composed;
  for (std::size_t at = 0; at < kTable.size(); ++at) {
    const char32_t c = read_hex(kTable, at);
    const char kind = kTable[at];
    std::u32string parts;
    do {
      ++at;
      parts += read_hex(kTable, at);
    } while (kTable[at] == '+');
    (kind == ':' ? out.compatible : out.canonical).emplace(c, parts);
    if (kind == '=') composed.emplace_back(c, parts);
  }
  // Of two parts before of three, which need them.
  std::ranges::stable_sort(composed, {}, [](const auto& row) { return row.second.size(); });
  for (const auto& [c, parts] : composed) add_composed(out, c, parts);
  return out;
}

const Decompositions& decompositions() {
  static const Decompositions tables = read_decompositions();
  return tables;
}

struct CombiningRange {
  char32_t first, last;
  std::uint8_t kind;
};
constexpr CombiningRange kCombining[] = {
#include "text/unicode_combining.inc"
};

std::uint8_t combining_class(char32_t c) {
  if (c < kCombining[0].first) return 0;
  const CombiningRange* const found =
      std::ranges::lower_bound(kCombining, c, {}, &CombiningRange::last);
  return found != std::end(kCombining) && found->first <= c ? found->kind : 0;
}

void append_decomposed(std::u32string& out, char32_t c, bool compatible) {
  if (c < 0x80) {
    out += c;
    return;
  }
  if (c - kSyllables < kSyllableCount) {
    const char32_t index = c - kSyllables, trailing = index % kTrailingCount;
    out += kLeading + index / kTrailingCount / kVowelCount;
    out += kVowels + index / kTrailingCount % kVowelCount;
    if (trailing > 0) out += kTrailing + trailing;
    return;
  }
  const Decompositions& tables = decompositions();
  if (compatible) {
    if (const auto found = tables.compatible.find(c); found != tables.compatible.end()) {
      out += found->second;
      return;
    }
  }
  const auto found = tables.canonical.find(c);
  found == tables.canonical.end() ? out += c : out += found->second;
}

// Marks of one base in the order of their classes.
void sort_marks(std::u32string& text) {
  for (std::size_t begin = 0; begin < text.size(); ++begin) {
    if (combining_class(text[begin]) == 0) continue;
    std::size_t end = begin + 1;
    while (end < text.size() && combining_class(text[end]) != 0) ++end;
    std::stable_sort(text.begin() + static_cast<std::ptrdiff_t>(begin),
                     text.begin() + static_cast<std::ptrdiff_t>(end), [](char32_t a, char32_t b) {
                       return combining_class(a) < combining_class(b);
                     });
    begin = end;
  }
}

char32_t composition(char32_t first, char32_t second) {
  if (first - kLeading < kLeadingCount && second - kVowels < kVowelCount) {
    return kSyllables + ((first - kLeading) * kVowelCount + (second - kVowels)) * kTrailingCount;
  }
  if (first - kSyllables < kSyllableCount && (first - kSyllables) % kTrailingCount == 0 &&
      second - kTrailing - 1 < kTrailingCount - 1) {
    return first + (second - kTrailing);
  }
  return composed_by_table(decompositions(), first, second);
}

// A base takes up every mark that nothing of its class, or of none, stands before.
std::u32string composed(const std::u32string& text) {
  std::u32string out;
  std::size_t base = 0;
  bool has_base = false;
  std::uint8_t last = 0;  // the class of the character before, of those that stayed
  for (const char32_t c : text) {
    const std::uint8_t kind = combining_class(c);
    const bool adjacent = has_base && base + 1 == out.size();
    if (has_base && (adjacent || (last < kind && last != 0))) {
      if (const char32_t both = composition(out[base], c)) {
        out[base] = both;
        continue;
      }
    }
    if (kind == 0) {
      base = out.size();
      has_base = true;
    }
    last = kind;
    out += c;
  }
  return out;
}

bool is_ascii(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}

struct LowercaseRange {
  char32_t first, last, step;
  std::int32_t add;
};
constexpr LowercaseRange kLowercase[] = {
#include "text/unicode_lowercase.inc"
};

}  // namespace

std::string normalized(std::string_view text, NormalForm form) {
  if (is_ascii(text)) return std::string(text);
  const bool compatible = form == NormalForm::kNfkc || form == NormalForm::kNfkd;
  std::u32string letters;
  for (std::size_t at = 0; at < text.size();) {
    const CodePoint point = code_point_at(text, at);
    append_decomposed(letters, point.value, compatible);
    at += point.bytes;
  }
  sort_marks(letters);
  if (form == NormalForm::kNfc || form == NormalForm::kNfkc) letters = composed(letters);
  std::string out;
  for (const char32_t c : letters) append_utf8(out, c);
  return out;
}

std::string lowercase(std::string_view text) {
  std::string out;
  for (std::size_t at = 0; at < text.size();) {
    const CodePoint point = code_point_at(text, at);
    const LowercaseRange* const found =
        std::ranges::lower_bound(kLowercase, point.value, {}, &LowercaseRange::last);
    char32_t c = point.value;
    if (found != std::end(kLowercase) && found->first <= c &&
        (c - found->first) % found->step == 0) {
      c += static_cast<char32_t>(found->add);
    }
    if (c == 0x130) {
      out += "i\xcc\x87";
    } else {
      append_utf8(out, c);
    }
    at += point.bytes;
  }
  return out;
}

}  // namespace mnm
