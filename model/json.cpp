#include "model/json.h"

#include <unordered_set>
#include <vector>

#include "model/error.h"
#include "model/files.h"

namespace mnm {
namespace {

constexpr std::size_t kMaxDepth = 64;

// Hostile text is quoted only in part.
std::string shortened(std::string text) {
  constexpr std::size_t kLongest = 200;
  if (text.size() > kLongest) text.replace(kLongest, std::string::npos, "...");
  return text;
}

// Whatever follows "[json.exception.parse_error.101] " in the library's message.
std::string plain_message(const std::exception& error) {
  const std::string_view text = error.what();
  const std::size_t end = text.find("] ");
  return shortened(std::string(end == std::string_view::npos ? text : text.substr(end + 2)));
}

// Looks at the text once, without building anything: depth, and keys that an object repeats. (The
// library's parser callback does both, in time that grows with the square of the members.)
class Checker final : public nlohmann::json_sax<nlohmann::json> {
 public:
  explicit Checker(const std::string& what) : what_(what) {}

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
  bool parse_error(std::size_t, const std::string&, const nlohmann::json::exception& e) override {
    fail("cannot read '{}': it is no JSON, {}", what_, plain_message(e));
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

  const std::string& what_;
  std::vector<std::unordered_set<std::string>> keys_;  // of every object or array that is open
};

// Infinity, -Infinity and NaN outside of strings become null in an array, as in [0.0, Infinity]. As
// the value of a key they become a string of their name: null would stand for the key's default.
void name_non_numbers(std::string& text) {
  static constexpr std::string_view kNames[] = {"-Infinity", "Infinity", "NaN"};
  bool in_string = false;
  char before = 0;  // the last that is no white space
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (in_string && text[i] == '\\') {
      ++i;
    } else if (text[i] == '"') {
      in_string = !in_string;
    } else if (!in_string) {
      for (const std::string_view name : kNames) {
        if (std::string_view(text).substr(i, name.size()) != name) continue;
        const std::string named = before == ':' ? fmt::format("\"{}\"", name) : "null";
        text.replace(i, name.size(), named);
        i += named.size() - 1;
        break;
      }
    }
    if (std::string_view(" \t\r\n").find(text[i]) == std::string_view::npos) before = text[i];
  }
}

}  // namespace

nlohmann::json parse_json(std::string_view text, const std::string& what) {
  // The library takes a zero byte for the end of its input.
  if (const std::size_t zero = text.find('\0'); zero != std::string_view::npos) {
    fail("cannot read '{}': it is no JSON, byte {} is zero", what, zero);
  }
  try {
    Checker checker(what);
    nlohmann::json::sax_parse(text.begin(), text.end(), &checker);
    return nlohmann::json::parse(text.begin(), text.end());
  } catch (const nlohmann::json::exception& error) {
    fail("cannot read '{}': it is no JSON, {}", what, plain_message(error));
  }
}

nlohmann::json read_json(const std::filesystem::path& path) {
  std::string text = read_text(path);
  name_non_numbers(text);
  return parse_json(text, path.string());
}

}  // namespace mnm
