// JSON of somebody else's making: files.h's parse_json and read_json.
#include <set>
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

}  // namespace

nlohmann::json parse_json(std::string_view text, const std::string& what) {
  using Event = nlohmann::json::parse_event_t;
  std::vector<std::set<std::string>> keys;  // of every object or array that is open
  const auto check = [&](int, Event event, nlohmann::json& parsed) {
    switch (event) {
      case Event::object_start:
      case Event::array_start:
        if (keys.size() == kMaxDepth) {
          fail("cannot read '{}': its JSON nests deeper than {} levels", what, kMaxDepth);
        }
        keys.emplace_back();
        break;
      case Event::object_end:
      case Event::array_end:
        keys.pop_back();
        break;
      case Event::key:
        if (const auto& key = parsed.get_ref<const std::string&>();
            !keys.back().insert(key).second) {
          fail("cannot read '{}': its JSON holds the key {} twice", what,
               shortened(parsed.dump(-1, ' ', true)));
        }
        break;
      case Event::value:
        break;
    }
    return true;
  };
  // The library takes a zero byte for the end of its input.
  if (const std::size_t zero = text.find('\0'); zero != std::string_view::npos) {
    fail("cannot read '{}': it is no JSON, byte {} is zero", what, zero);
  }
  try {
    return nlohmann::json::parse(text.begin(), text.end(), check);
  } catch (const nlohmann::json::exception& error) {
    fail("cannot read '{}': it is no JSON, {}", what, plain_message(error));
  }
}

nlohmann::json read_json(const std::filesystem::path& path) {
  return parse_json(read_text(path), path.string());
}

}  // namespace mnm
