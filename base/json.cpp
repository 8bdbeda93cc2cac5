#include "base/json.h"

#include <algorithm>
#include <unordered_set>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "base/seeded_hash.h"

namespace mnm {
namespace {

constexpr std::size_t kMaxDepth = 64;

// Hostile text is quoted only in part.
std::string shortened(std::string text) {
  constexpr std::size_t kLongest = 200;
  if (text.size() > kLongest) text.replace(kLongest, std::string::npos, "...");
  return text;
}

// "line 1, column 7" of the byte with this number, counted from 1. Columns are bytes. `line`: the
// number of the text's first one.
std::string place_of(std::string_view text, std::size_t number, std::int64_t line) {
  const std::string_view before =
      text.substr(0, std::min(number > 0 ? number - 1 : 0, text.size()));
  const std::size_t line_end = before.rfind('\n');
  const std::size_t line_begin = line_end == std::string_view::npos ? 0 : line_end + 1;
  return fmt::format("line {}, column {}", line + std::ranges::count(before, '\n'),
                     before.size() - line_begin + 1);
}

// Looks at the text once, without building anything: depth, and keys that an object repeats. (The
// library's parser callback does both, in time that grows with the square of the members.)
class Checker final : public nlohmann::json_sax<nlohmann::json> {
 public:
  Checker(std::string_view text, const std::string& what, std::int64_t line)
      : text_(text), what_(what), line_(line) {}

  bool null() override { return true; }
  bool boolean(bool) override { return true; }
  bool number_integer(number_integer_t) override { return true; }
  bool number_unsigned(number_unsigned_t) override { return true; }
  bool number_float(number_float_t, const string_t&) override { return true; }
  bool string(string_t&) override { return true; }
  bool binary(binary_t&) override { return true; }
  bool start_object(std::size_t) override { return open(); }
  bool start_array(std::size_t) override { return open(); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }
  bool key(string_t& key) override {
    if (keys_.back().insert(key).second) return true;
    fail("cannot read '{}': its JSON holds the key {} twice", what_,
         shortened(nlohmann::json(key).dump(-1, ' ', true)));
  }
  bool parse_error(std::size_t number, const std::string&,
                   const nlohmann::json::exception& error) override {
    const std::string place = place_of(text_, number, line_);
    if (number > text_.size()) {
      fail("cannot read '{}': it is no JSON, it ends at {}, where more is expected", what_, place);
    }
    if (dynamic_cast<const nlohmann::json::out_of_range*>(&error) != nullptr) {
      fail("cannot read '{}': it is no JSON, the number at {} is too large", what_, place);
    }
    fail("cannot read '{}': it is no JSON, what stands at {} is not allowed there", what_, place);
  }

 private:
  bool open() {
    if (keys_.size() == kMaxDepth) {
      fail("cannot read '{}': its JSON nests deeper than {} levels", what_, kMaxDepth);
    }
    keys_.emplace_back();
    return true;
  }
  bool close() {
    keys_.pop_back();
    return true;
  }

  std::string_view text_;
  const std::string& what_;
  std::int64_t line_;
  std::vector<std::unordered_set<std::string, SeededHash>>
      keys_;  // of every object or array that is open
};

// The text in which Infinity, -Infinity and NaN outside of strings became null in an array, as in
// [0.0, Infinity]. As the value of a key they become a string of their name: null would stand for
// the key's default.
std::string with_named_non_numbers(std::string_view text) {
  static constexpr std::string_view kNames[] = {"-Infinity", "Infinity", "NaN"};
  std::string out;
  out.reserve(text.size());
  bool in_string = false;
  char before = 0;  // the last that is no white space
  while (!text.empty()) {
    std::size_t taken = 1;
    if (in_string && text[0] == '\\') {
      taken = std::min<std::size_t>(2, text.size());
    } else if (text[0] == '"') {
      in_string = !in_string;
    } else if (const auto* name = std::ranges::find_if(
                   kNames, [&](std::string_view each) { return text.starts_with(each); });
               !in_string && name != std::end(kNames)) {
      out += before == ':' ? fmt::format("\"{}\"", *name) : "null";
      before = text[name->size() - 1];
      text.remove_prefix(name->size());
      continue;
    }
    out += text.substr(0, taken);
    if (std::string_view(" \t\r\n").find(text[0]) == std::string_view::npos) before = text[0];
    text.remove_prefix(taken);
  }
  return out;
}

}  // namespace

nlohmann::json parse_json(std::string_view text, const std::string& what, std::int64_t line) {
  // The library takes a zero byte for the end of its input.
  if (const std::size_t zero = text.find('\0'); zero != std::string_view::npos) {
    fail("cannot read '{}': it is no JSON, byte {} is zero", what, zero);
  }
  Checker checker(text, what, line);
  nlohmann::json::sax_parse(text.begin(), text.end(), &checker);
  return nlohmann::json::parse(text.begin(), text.end());
}

nlohmann::json read_json(const std::filesystem::path& path) {
  return parse_json(with_named_non_numbers(read_text(path)), path.string());
}

}  // namespace mnm
