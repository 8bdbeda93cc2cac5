#include "text/pattern.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/error.h"
#include "text/json_members.h"
#include "text/utf8.h"

namespace mnm {
namespace {

using Kind = PatternStep::Kind;

constexpr std::size_t kMostSteps = 1024;
constexpr int kDeepest = 32;
constexpr ClassSet kAll = ~ClassSet{0};

struct Category {
  std::string_view name;
  ClassSet set;
};
constexpr Category kCategories[] = {
    {"L", kLetters},
    {"Lu", set_of(CharClass::kUpper)},
    {"Ll", set_of(CharClass::kLower)},
    {"Lt", set_of(CharClass::kTitle)},
    {"Lm", set_of(CharClass::kModifier)},
    {"Lo", set_of(CharClass::kOtherLetter)},
    {"M", set_of(CharClass::kMark)},
    {"N", kNumbers},
    {"Nd", set_of(CharClass::kDigit)},
    {"Nl", set_of(CharClass::kLetterNumber)},
    {"No", set_of(CharClass::kOtherNumber)},
    {"P", set_of(CharClass::kConnector, CharClass::kPunctuation)},
    {"Pc", set_of(CharClass::kConnector)},
    {"S", set_of(CharClass::kSymbol)},
    {"Z", set_of(CharClass::kSeparator)},
    {"C", set_of(CharClass::kOther, CharClass::kControlSpace)},
};

// A set while it is read: the union of its items.
struct Items {
  ClassSet classes = 0;
  std::vector<std::pair<char32_t, char32_t>> ranges;
  bool negated = false;
};

bool has(const Items& items, char32_t c) {
  const bool found =
      is_in(c, items.classes) || std::ranges::any_of(items.ranges, [c](const auto& range) {
        return range.first <= c && c <= range.second;
      });
  return found != items.negated;
}

CharSet finished(Items items) {
  CharSet set;
  for (char32_t c = 0; c < 128; ++c) set.ascii[c] = has(items, c);
  std::ranges::sort(items.ranges);
  for (const auto& [first, last] : items.ranges) {
    if (!set.ranges.empty() && first <= set.ranges.back().second + 1) {
      set.ranges.back().second = std::max(set.ranges.back().second, last);
    } else {
      set.ranges.emplace_back(first, last);
    }
  }
  set.classes = items.classes;
  set.negated = items.negated;
  return set;
}

// A parsed expression.
struct Node {
  enum class Kind : std::uint8_t {
    kEmpty,
    kSet,
    kSequence,
    kChoice,
    kRepeat,
    kFollowed,
    kUnfollowed,
    kLineStart,
    kLineEnd
  };
  Kind kind = Kind::kEmpty;
  std::uint32_t set = 0;
  std::uint32_t least = 0, most = 0;  // of a repeat; most 0: any number
  bool lazy = false, possessive = false;
  std::vector<Node> children = {};
};

bool may_be_empty(const Node& node) {
  switch (node.kind) {
    case Node::Kind::kSet:
      return false;
    case Node::Kind::kSequence:
      return std::ranges::all_of(node.children, may_be_empty);
    case Node::Kind::kChoice:
      return std::ranges::any_of(node.children, may_be_empty);
    case Node::Kind::kRepeat:
      return node.least == 0 || may_be_empty(node.children.front());
    default:
      return true;
  }
}

class Parser {
 public:
  Parser(std::string_view text, std::vector<CharSet>& sets) : text_(text), sets_(sets) {}

  Node parse() {
    Node node = choice(0);
    if (at_ != text_.size()) unknown(")");
    return node;
  }

 private:
  [[noreturn]] void unknown(std::string_view what) const {
    fail("it splits text by the expression '{}', and its {} is not read here", text_, what);
  }
  bool ends() const { return at_ == text_.size(); }
  bool takes(std::string_view token) {
    if (!text_.substr(at_).starts_with(token)) return false;
    at_ += token.size();
    return true;
  }
  char peek() const { return ends() ? '\0' : text_[at_]; }
  char32_t character() {
    const CodePoint point = code_point_at(text_, at_);
    if (!point.valid) unknown("malformed UTF-8");
    at_ += point.bytes;
    return point.value;
  }

  Node choice(int depth) {
    if (depth > kDeepest) unknown("depth");
    Node node{Node::Kind::kChoice};
    do {
      node.children.push_back(sequence(depth));
    } while (takes("|"));
    return node.children.size() == 1 ? Node(std::move(node.children.front())) : node;
  }

  Node sequence(int depth) {
    Node node{Node::Kind::kSequence};
    while (!ends() && peek() != '|' && peek() != ')') node.children.push_back(repeat(depth));
    return node;
  }

  Node repeat(int depth) {
    Node node = atom(depth);
    Node whole{Node::Kind::kRepeat};
    if (takes("?")) {
      whole.most = 1;
    } else if (takes("*")) {
    } else if (takes("+")) {
      whole.least = 1;
    } else if (peek() == '{') {
      braces(whole);
      if (peek() == '?' || peek() == '+') unknown("sign after '}'");
    } else {
      return node;
    }
    whole.lazy = takes("?");
    whole.possessive = !whole.lazy && takes("+");
    if (whole.possessive && node.kind != Node::Kind::kSet) unknown("possessive group");
    if (may_be_empty(node)) unknown("repetition of what may be empty");
    if (peek() == '?' || peek() == '*' || peek() == '+' || peek() == '{') {
      unknown("repetition of a repetition");
    }
    whole.children.push_back(std::move(node));
    return whole;
  }

  void braces(Node& whole) {
    ++at_;
    const auto number = [&]() -> std::optional<std::uint32_t> {
      if (peek() < '0' || peek() > '9') return std::nullopt;
      std::uint32_t n = 0;
      while (peek() >= '0' && peek() <= '9') {
        n = n * 10 + static_cast<std::uint32_t>(text_[at_++] - '0');
        if (n > kMostSteps) unknown("count of repetitions");
      }
      return n;
    };
    const auto least = number();
    if (!least) unknown("'{'");
    whole.least = whole.most = *least;
    if (takes(",")) whole.most = number().value_or(0);
    if (!takes("}") || (whole.most == 0 && *least == 0) ||
        (whole.most != 0 && whole.most < whole.least)) {
      unknown("'{'");
    }
  }

  Node atom(int depth) {
    if (takes("(?:") || takes("(?i:")) {
      const bool before = any_case_;
      any_case_ = any_case_ || text_[at_ - 2] == 'i';
      Node node = group(depth);
      any_case_ = before;
      return node;
    }
    if (takes("(?!") || takes("(?=")) {
      const bool not_followed = text_[at_ - 1] == '!';
      Node inner = group(depth);
      while (inner.kind == Node::Kind::kSequence && inner.children.size() == 1) {
        Node only = std::move(inner.children.front());
        inner = std::move(only);
      }
      if (inner.kind != Node::Kind::kSet) unknown("look ahead at more than one character");
      inner.kind = not_followed ? Node::Kind::kUnfollowed : Node::Kind::kFollowed;
      return inner;
    }
    if (text_.substr(at_).starts_with("(?")) unknown("'(?'");
    if (takes("(")) return group(depth);
    if (takes("^")) return {Node::Kind::kLineStart};
    if (takes("$")) return {Node::Kind::kLineEnd};
    if (peek() == '?' || peek() == '*' || peek() == '+' || peek() == '{' || peek() == ']') {
      unknown(fmt::format("'{}'", peek()));
    }
    Items items;
    if (takes("[")) {
      items = set();
    } else if (takes(".")) {
      items = {0, {{U'\n', U'\n'}}, true};
    } else {
      add_item(items);
    }
    return set_node(std::move(items));
  }

  Node set_node(Items items) {
    if (sets_.size() >= kMostSteps) unknown("length");
    Node node{Node::Kind::kSet};
    node.set = static_cast<std::uint32_t>(sets_.size());
    sets_.push_back(finished(std::move(items)));
    return node;
  }

  Node group(int depth) {
    Node node = choice(depth + 1);
    if (!takes(")")) unknown("open '('");
    return node;
  }

  // After its '['.
  Items set() {
    Items items;
    items.negated = takes("^");
    if (peek() == ']') unknown("']' first in a set");
    while (!takes("]")) {
      if (ends()) unknown("open '['");
      if (peek() == '[') unknown("set inside of a set");
      if (text_.substr(at_).starts_with("&&")) unknown("'&&'");
      const std::optional<char32_t> first = add_item(items);
      if (peek() != '-' || text_.substr(at_).starts_with("-]")) continue;
      ++at_;
      Items end;
      const std::optional<char32_t> last = add_item(end);
      if (!first || !last || *last < *first) unknown("range in a set");
      items.ranges.emplace_back(*first, *last);
      if (any_case_ && *last >= U'A' && *first <= U'z') unknown("range in any case");
    }
    return items;
  }

  // A character, which it gives, or a class.
  std::optional<char32_t> add_item(Items& items) {
    char32_t c = 0;
    if (takes("\\")) {
      if (ends()) unknown("last '\\'");
      if (const std::optional<ClassSet> classes = escaped_class()) {
        items.classes |= *classes;
        return std::nullopt;
      }
      c = escaped();
    } else {
      c = character();
    }
    items.ranges.emplace_back(c, c);
    if (any_case_) add_other_case(items, c);
    return c;
  }

  // What folds to a letter of ASCII: its other case, and of s and k one more.
  void add_other_case(Items& items, char32_t c) {
    if (c >= 128) unknown("letter outside of ASCII in any case");
    const char32_t lower = c | 0x20;
    if (lower < U'a' || lower > U'z') return;
    items.ranges.emplace_back(lower, lower);
    items.ranges.emplace_back(lower - 32, lower - 32);
    if (lower == U's') items.ranges.emplace_back(U'\u017f', U'\u017f');
    if (lower == U'k') items.ranges.emplace_back(U'\u212a', U'\u212a');
    // Two letters in any case are one character, too: sharp s, and the ligatures of f.
    const auto next = static_cast<char32_t>(peek() | 0x20);
    if ((lower == U's' && (next == U's' || next == U't')) ||
        (lower == U'f' && (next == U'f' || next == U'i' || next == U'l'))) {
      unknown("ligature in any case");
    }
  }

  // After its '\'.
  std::optional<ClassSet> escaped_class() {
    constexpr ClassSet kDigits = set_of(CharClass::kDigit);
    if (takes("s")) return kSpaces;
    if (takes("S")) return kAll & ~kSpaces;
    if (takes("d")) return kDigits;
    if (takes("D")) return kAll & ~kDigits;
    const bool inverse = peek() == 'P';
    if (!takes("p{") && !takes("P{")) return std::nullopt;
    const bool caret = takes("^");
    const std::size_t end = text_.find('}', at_);
    const std::string_view name = text_.substr(at_, end - at_);
    const auto found = std::ranges::find(kCategories, name, &Category::name);
    if (end == std::string_view::npos || found == std::end(kCategories)) {
      unknown(fmt::format("class \\p{{{}}}", name.substr(0, 40)));
    }
    at_ = end + 1;
    return inverse != caret ? kAll & ~found->set : found->set;
  }

  char32_t escaped() {
    static constexpr std::pair<char, char32_t> kControls[] = {
        {'n', U'\n'}, {'r', U'\r'}, {'t', U'\t'}, {'f', U'\f'}, {'v', U'\v'}};
    const char c = peek();
    for (const auto& [letter, value] : kControls) {
      if (c == letter) return ++at_, value;
    }
    if (takes("u")) return hex(4);
    if (takes("x{")) {
      const std::size_t end = text_.find('}', at_);
      if (end == std::string_view::npos || end - at_ > 8) unknown("'\\x'");
      const char32_t value = hex(end - at_);
      ++at_;
      return value;
    }
    const bool word = (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z');
    if (word) unknown(fmt::format("'\\{}'", c));
    return character();
  }

  char32_t hex(std::size_t digits) {
    char32_t value = 0;
    for (std::size_t i = 0; i < digits; ++i, ++at_) {
      const char c = peek();
      const int digit = c >= '0' && c <= '9'                     ? c - '0'
                        : (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10
                                                                 : -1;
      if (digit < 0) unknown("number of a character");
      value = value * 16 + static_cast<char32_t>(digit);
    }
    if (digits == 0 || value > 0x10ffff) unknown("number of a character");
    return value;
  }

  std::string_view text_;
  std::vector<CharSet>& sets_;
  std::size_t at_ = 0;
  bool any_case_ = false;
};

// The nodes as steps.
class Compiler {
 public:
  Compiler(std::string_view text, std::vector<PatternStep>& steps) : text_(text), steps_(steps) {}

  void add(const Node& node) {
    switch (node.kind) {
      case Node::Kind::kEmpty:
        return;
      case Node::Kind::kSet:
        step({Kind::kSet, node.set});
        return;
      case Node::Kind::kFollowed:
        step({Kind::kFollowed, node.set});
        return;
      case Node::Kind::kUnfollowed:
        step({Kind::kUnfollowed, node.set});
        return;
      case Node::Kind::kLineStart:
        step({Kind::kLineStart});
        return;
      case Node::Kind::kLineEnd:
        step({Kind::kLineEnd});
        return;
      case Node::Kind::kSequence:
        for (const Node& child : node.children) add(child);
        return;
      case Node::Kind::kChoice:
        add_choice(node);
        return;
      case Node::Kind::kRepeat:
        add_repeat(node);
        return;
    }
  }

  std::size_t step(PatternStep added) {
    if (steps_.size() >= kMostSteps) {
      fail("it splits text by the expression '{}', which is longer than is read here",
           text_.substr(0, 200));
    }
    if (added.kind == Kind::kSplit) added.set = splits++;
    steps_.push_back(added);
    return steps_.size() - 1;
  }

  std::uint32_t splits = 0;

 private:
  std::uint32_t here() const { return static_cast<std::uint32_t>(steps_.size()); }

  void add_choice(const Node& node) {
    std::vector<std::size_t> jumps;
    for (std::size_t i = 0; i < node.children.size(); ++i) {
      const bool last = i + 1 == node.children.size();
      const std::size_t split = last ? 0 : step({Kind::kSplit});
      if (!last) steps_[split].first = here();
      add(node.children[i]);
      if (last) break;
      jumps.push_back(step({Kind::kJump}));
      steps_[split].second = here();
    }
    for (const std::size_t jump : jumps) steps_[jump].first = here();
  }

  void add_repeat(const Node& node) {
    const Node& child = node.children.front();
    if (node.possessive) {
      step({Kind::kPossessive, child.set, node.least, node.most});
      return;
    }
    for (std::uint32_t i = 0; i < node.least; ++i) add(child);
    std::vector<std::size_t> exits;
    const auto enter = [&] {
      const std::size_t split = step({Kind::kSplit});
      (node.lazy ? steps_[split].second : steps_[split].first) = here();
      exits.push_back(split);
      return split;
    };
    if (node.most == 0) {
      const std::size_t split = enter();
      add(child);
      steps_[step({Kind::kJump})].first = static_cast<std::uint32_t>(split);
    }
    for (std::uint32_t i = node.least; i < node.most; ++i) {
      enter();
      add(child);
    }
    for (const std::size_t split : exits) {
      (node.lazy ? steps_[split].first : steps_[split].second) = here();
    }
  }

  std::string_view text_;
  std::vector<PatternStep>& steps_;
};

}  // namespace

bool CharSet::has(char32_t c) const {
  if (c < 128) return ascii[c];
  if (is_in(c, classes)) return !negated;
  const auto found =
      std::ranges::lower_bound(ranges, c, {}, [](const auto& r) { return r.second; });
  return (found != ranges.end() && found->first <= c) != negated;
}

Pattern::Pattern(std::string_view expression) : expression_(expression) {
  const Node node = Parser(expression_, sets_).parse();
  if (may_be_empty(node)) {
    fail("it splits text by the expression '{}', which matches nothing at all, too", expression_);
  }
  Compiler compiler(expression_, steps_);
  compiler.add(node);
  compiler.step({Kind::kMatch});
  splits_ = compiler.splits;
  find_first();
}

Pattern Pattern::literal(std::string_view text) {
  Pattern out;
  out.expression_ = text;
  out.literal_ = true;
  for (std::size_t at = 0; at < text.size();) {
    const CodePoint point = code_point_at(text, at);
    if (!point.valid) fail("it splits text by what is no UTF-8");
    if (out.steps_.size() >= kMostSteps) fail("it splits text by a text of {} bytes", text.size());
    out.steps_.push_back({Kind::kSet, static_cast<std::uint32_t>(out.sets_.size())});
    out.sets_.push_back(finished({0, {{point.value, point.value}}, false}));
    at += point.bytes;
  }
  if (out.steps_.empty()) fail("it splits text by an empty text");
  out.steps_.push_back({Kind::kMatch});
  out.find_first();
  return out;
}

// Through all steps that take no character.
void Pattern::find_first() {
  std::vector<bool> seen(steps_.size());
  std::vector<std::uint32_t> open = {0};
  while (!open.empty()) {
    const std::uint32_t at = open.back();
    open.pop_back();
    if (seen[at]) continue;
    seen[at] = true;
    const PatternStep& step = steps_[at];
    switch (step.kind) {
      case Kind::kSet:
        first_ |= sets_[step.set].ascii;
        break;
      case Kind::kPossessive:
        first_ |= sets_[step.set].ascii;
        if (step.first == 0) open.push_back(at + 1);
        break;
      case Kind::kSplit:
        open.push_back(step.first);
        open.push_back(step.second);
        break;
      case Kind::kJump:
        open.push_back(step.first);
        break;
      case Kind::kMatch:
        break;
      default:
        open.push_back(at + 1);
    }
  }
}

std::string replaced(std::string_view text, const Pattern& pattern, std::string_view by) {
  std::string out;
  std::size_t at = 0;
  for (const auto& [begin, end] : pattern.matches(text)) {
    out.append(text.substr(at, begin - at)).append(by);
    at = end;
  }
  return out.append(text.substr(at));
}

Pattern pattern_of(const nlohmann::json& step) {
  const nlohmann::json& pattern = member(step, "pattern");
  if (const std::string text = text_of(pattern, "Regex"); !text.empty()) return Pattern(text);
  return Pattern::literal(text_of(pattern, "String"));
}

}  // namespace mnm
