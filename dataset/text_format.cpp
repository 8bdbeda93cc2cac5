#include "dataset/text_format.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <string>

#include "dataset/numpy_command.h"

namespace mnm {
namespace {

constexpr std::string_view kSpace = " \t\r\n\v\f";
constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";

bool is_control(unsigned char byte) {
  return (byte < 0x20 && (byte < '\t' || byte > '\r') && byte != 0x1b) || byte == 0x7f;
}

bool begins_with_word(std::string_view text, std::string_view lower) {
  return text.size() >= lower.size() &&
         std::ranges::equal(text.substr(0, lower.size()), lower, {}, [](char c) {
           return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
         });
}

// Nothing but numbers, and what lists of numbers are written with.
bool only_numbers(std::string_view text) {
  return text.find_first_of("0123456789") != std::string_view::npos &&
         text.find_first_not_of("0123456789+-.eE,;:|()[]{}\"' \t\r\n\v\f") ==
             std::string_view::npos;
}

// The same below a line of names, as the first of a CSV file is.
bool is_ids(std::string_view text) {
  if (only_numbers(text)) return true;
  const std::size_t end = text.find('\n');
  constexpr std::size_t kNames = 200;  // bytes
  return end < kNames && only_numbers(text.substr(end)) && std::ranges::count(text, '\n') > 2;
}

// Takes no value of what it reads. Says whether a text is JSON as far as it goes.
class JsonPrefix : public nlohmann::json_sax<nlohmann::json> {
 public:
  bool null() override { return value(); }
  bool boolean(bool) override { return value(); }
  bool number_integer(number_integer_t) override { return value(); }
  bool number_unsigned(number_unsigned_t) override { return value(); }
  bool number_float(number_float_t, const string_t&) override { return value(); }
  bool string(string_t&) override { return value(); }
  bool binary(binary_t&) override { return value(); }
  bool start_object(std::size_t) override { return open(); }
  bool key(string_t&) override { return true; }
  bool end_object() override { return close(); }
  bool start_array(std::size_t) override { return open(); }
  bool end_array() override { return close(); }
  bool parse_error(std::size_t position, const std::string&,
                   const nlohmann::detail::exception&) override {
    error_at_ = position;
    return false;
  }

  // Where the text stopped being JSON, counted from 1.
  std::size_t error_at() const { return error_at_; }
  bool whole() const { return whole_; }  // a value came to its end

 private:
  bool value() { return true; }
  bool open() {
    ++depth_;
    return true;
  }
  bool close() {
    whole_ = --depth_ == 0;
    return true;
  }

  std::size_t error_at_ = 0, depth_ = 0;
  bool whole_ = false;
};

// A JSON value, several of them, the lines of JSON Lines, or the beginning of one that the sample
// cuts off.
bool is_json(std::string_view text, bool cut) {
  if (text.empty() || (text.front() != '{' && text.front() != '[')) return false;
  const std::string_view line = text.substr(0, text.find('\n'));
  if (nlohmann::json::accept(line)) return true;
  JsonPrefix prefix;
  if (nlohmann::json::sax_parse(text, &prefix)) return true;
  if (prefix.error_at() > text.size()) return cut;
  return prefix.whole() && prefix.error_at() > 0 && text[prefix.error_at() - 1] == '{';
}

std::string help_with_json(std::string_view text, const std::filesystem::path& path) {
  // The first key of a known name says what is in it.
  struct Key {
    std::string_view name;
    bool ids;
  };
  constexpr std::array kKeys = {Key{"text", false}, Key{"input_ids", true}, Key{"tokens", true},
                                Key{"ids", true}};
  const Key* found = kKeys.data();
  std::size_t first = std::string_view::npos;
  for (const Key& key : kKeys) {
    const std::size_t at = text.find(fmt::format("\"{}\"", key.name));
    if (at < first) {
      first = at;
      found = &key;
    }
  }
  if (!found->ids) {
    return fmt::format("write its text to a file of its own: jq -r .{} {} > text.txt", found->name,
                       path_word(path));
  }
  return fmt::format(
      "write its ids to a file of their own, and save that as .npy: jq -c .{} {} "
      "> ids.txt",
      found->name, path_word(path));
}

std::string help_with_ids(const std::filesystem::path& path) {
  return save_npy("re",
                  "numpy.array(re.findall(r\"-?\\d[\\d.eE+-]*\", "
                  "open(sys.argv[1]).read()), float).astype(\"<i4\")",
                  path);
}

std::string_view sample_of(std::string_view bytes) { return bytes.substr(0, kFormatSample); }

}  // namespace

bool is_text(std::string_view bytes) {
  const bool cut = bytes.size() > kFormatSample;
  const std::string_view sample = sample_of(bytes);
  for (std::size_t at = 0; at < sample.size();) {
    const auto lead = static_cast<unsigned char>(sample[at]);
    if (is_control(lead)) return false;
    const std::size_t length = lead < 0x80                   ? 1
                               : lead >= 0xc2 && lead < 0xe0 ? 2
                               : lead >= 0xe0 && lead < 0xf0 ? 3
                               : lead >= 0xf0 && lead < 0xf5 ? 4
                                                             : 0;
    if (length == 0) return false;
    if (at + length > sample.size()) {
      if (!cut) return false;
      break;
    }
    for (std::size_t i = 1; i < length; ++i) {
      if ((static_cast<unsigned char>(sample[at + i]) & 0xc0) != 0x80) return false;
    }
    at += length;
  }
  return bytes.find('\0') == std::string_view::npos;
}

bool is_documents(std::string_view bytes) {
  const std::string_view sample = sample_of(bytes);
  if (sample.empty() || sample.front() == '\0') return false;
  using namespace std::string_view_literals;
  if (sample.find("\0\0"sv) != std::string_view::npos) return false;
  const auto controls = std::ranges::count_if(
      sample, [](char c) { return c != '\0' && is_control(static_cast<unsigned char>(c)); });
  return static_cast<std::size_t>(controls) * 256 <= sample.size();
}

Resemblance text_like(std::string_view bytes, const std::filesystem::path& path) {
  const bool cut = bytes.size() > kFormatSample;
  std::string_view text = sample_of(bytes);
  if (text.starts_with(kByteOrderMark)) text.remove_prefix(kByteOrderMark.size());
  text.remove_prefix(std::min(text.find_first_not_of(kSpace), text.size()));
  using Kind = Resemblance::Kind;
  if (text.starts_with("version https://git-lfs") || text.starts_with("version https://hawser")) {
    return {Kind::kText, "the pointer that Git LFS leaves in the place of a file",
            "fetch the file itself: git lfs pull"};
  }
  for (const std::string_view begin : {"<!doctype", "<html", "<?xml"}) {
    if (!begins_with_word(text, begin)) continue;
    return {Kind::kText, "a web page or XML, as a failed download leaves it",
            "fetch the file again, or extract its text first"};
  }
  if (is_ids(text)) return {Kind::kText, "token ids written as text", help_with_ids(path)};
  if (is_json(text, cut)) return {Kind::kText, "JSON", help_with_json(text, path)};
  return {Kind::kText, "text", ""};
}

}  // namespace mnm
