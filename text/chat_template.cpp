#include "text/chat_template.h"

#include <fmt/format.h>

#include <algorithm>
#include <ctime>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "text/json_members.h"
#include "text/unicode_classes.h"
#include "text/utf8.h"

namespace mnm {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

bool has(std::string_view text, std::string_view part) { return text.find(part) != text.npos; }

// Without what Python's strip() takes for white space at both ends.
std::string_view trimmed(std::string_view text) {
  std::size_t first = text.size(), last = 0;  // of what is none
  for (std::size_t at = 0; at < text.size();) {
    const CodePoint point = code_point_at(text, at);
    const bool separator = point.value >= 0x1c && point.value <= 0x1f;
    if (!point.valid || (!separator && !is_in(point.value, kSpaces))) {
      first = std::min(first, at);
      last = at + point.bytes;
    }
    at += point.bytes;
  }
  return first < last ? text.substr(first, last - first) : std::string_view();
}

// A template's text, or of several the one called default.
std::string template_text(const Json& given) {
  if (given.is_string()) return given.get<std::string>();
  if (!given.is_array()) return "";
  for (const Json& one : given) {
    if (text_of(one, "name") == "default") return text_of(one, "template");
  }
  return "";
}

bool starts_with_line_end(std::string_view text) {
  return text.starts_with('\n') || text.starts_with("\\n");
}

// What follows a mark, past what ends a string of Jinja and joins the next one to it.
std::string_view past_joints(std::string_view text) {
  const std::size_t at = text.find_first_not_of("'\" +~");
  return at == text.npos ? std::string_view() : text.substr(at);
}

// Calls use(what follows) for each place of a mark in a template. Stops if one returns false.
template <typename Use>
bool for_all_after(std::string_view text, std::string_view mark, const Use& use) {
  for (std::size_t at = text.find(mark); at != text.npos; at = text.find(mark, at + 1)) {
    if (!use(text.substr(at + mark.size()))) return false;
  }
  return true;
}

std::string header_turn(std::string_view role, std::string_view words) {
  return fmt::format("<|start_header_id|>{}<|end_header_id|>\n\n{}<|eot_id|>", role,
                     trimmed(words));
}

std::string header_turns(const ChatTemplate& chat, const ChatTurn& turn, std::string_view today) {
  const bool two_lines = for_all_after(chat.text, "<|end_header_id|>", [](std::string_view rest) {
    return rest.starts_with("\n\n") || rest.starts_with("\\n\\n");
  });
  if (!two_lines) fail("its chat_template has no two ends of lines after <|end_header_id|>");
  const bool dated = has(chat.text, "Cutting Knowledge Date");
  if (!dated && !turn.system && has(chat.text, "<|start_header_id|>system<|end_header_id|>")) {
    fail(
        "its chat_template has a system turn of its own, which is not read here: give a system's "
        "words");
  }
  std::string out = chat.begin.empty() ? "<|begin_of_text|>" : chat.begin;
  if (dated) {
    const std::string_view date = has(chat.text, "strftime_now") ? today : "26 Jul 2024";
    out += fmt::format(
        "<|start_header_id|>system<|end_header_id|>\n\nCutting Knowledge Date: December 2023\n"
        "Today Date: {}\n\n{}<|eot_id|>",
        date, trimmed(turn.system.value_or("")));
  } else if (turn.system) {
    out += header_turn("system", *turn.system);
  }
  for (const auto& [user, assistant] : turn.earlier) {
    out += header_turn("user", user) + header_turn("assistant", assistant);
  }
  return out + header_turn("user", turn.user) + "<|start_header_id|>assistant<|end_header_id|>\n\n";
}

// With the characters that Jinja's strings spell as two.
std::string unescaped(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool two = text[i] == '\\' && i + 1 < text.size() &&
                     std::string_view("n'\"\\").find(text[i + 1]) != text.npos;
    if (two) ++i;
    out += two && text[i] == 'n' ? '\n' : text[i];
  }
  return out;
}

// Where a string of Jinja that `quote` began ends in `text`, or where Jinja begins, if the text is
// in no string.
std::size_t end_of_words(std::string_view text, char quote) {
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\') {
      ++i;
    } else if (text[i] == quote || (quote != '\'' && quote != '"' && text[i] == '{')) {
      return i;
    }
  }
  return text.size();
}

// The system turn of a template's own: words in one string with the marks around them.
std::optional<std::string> own_system(std::string_view text) {
  constexpr std::string_view kBegin = "<|im_start|>system", kEnd = "<|im_end|>";
  for (std::size_t at = text.find(kBegin); at != text.npos; at = text.find(kBegin, at + 1)) {
    std::string_view rest = text.substr(at + kBegin.size());
    if (!starts_with_line_end(rest)) continue;
    rest.remove_prefix(rest.front() == '\n' ? 1 : 2);
    const std::string_view words = rest.substr(0, end_of_words(rest, at > 0 ? text[at - 1] : ' '));
    const std::size_t end = words.find(kEnd);
    if (end != words.npos) return unescaped(words.substr(0, end));
  }
  return std::nullopt;
}

// Error unless all turns have the ends of lines that ChatML has.
void require_chat_ml(const ChatTemplate& chat) {
  const bool starts = for_all_after(chat.text, "<|im_start|>", [](std::string_view rest) {
    const std::size_t line = std::min(rest.find('\n'), rest.find("\\n"));
    return line != rest.npos && rest.substr(0, line).find("<|") == rest.npos;
  });
  // A bracket: the mark is asked about, as in endswith('<|im_end|>').
  const bool ends = for_all_after(chat.text, "<|im_end|>", [](std::string_view rest) {
    const std::string_view next = past_joints(rest);
    return next.starts_with(')') || starts_with_line_end(next);
  });
  if (!starts || !ends) {
    fail("its chat_template has turns from <|im_start|> to <|im_end|> that are not ChatML's: {}",
         starts ? "no line ends after <|im_end|>" : "no line ends after a role");
  }
}

// Whether a turn may be of any role that a message has, or of a system.
bool takes_system(const ChatTemplate& chat) {
  return !for_all_after(chat.text, "<|im_start|>", [](std::string_view rest) {
    return !rest.starts_with("system") && !rest.starts_with('\'') && !rest.starts_with('"') &&
           !rest.starts_with('{');
  });
}

// Templates of models that think leave out what was thought before an earlier answer.
std::string_view answer_of(const ChatTemplate& chat, std::string_view assistant) {
  constexpr std::string_view kEnd = "</think>";
  const std::size_t end = assistant.rfind(kEnd);
  if (end == assistant.npos || !has(chat.text, "split('</think>')")) return assistant;
  assistant.remove_prefix(end + kEnd.size());
  const std::size_t begin = assistant.find_first_not_of('\n');
  return begin == assistant.npos ? std::string_view() : assistant.substr(begin);
}

// Whether white space around what is said is left out.
bool trims_words(const ChatTemplate& chat) {
  bool trims = false;
  for (const std::string_view trim : {"content | trim", "content|trim", "content'] | trim",
                                      "content']|trim", "content\"] | trim", "content\"]|trim"}) {
    trims = trims || has(chat.text, trim);
  }
  return trims;
}

std::string chat_ml(const ChatTemplate& chat, const ChatTurn& turn) {
  require_chat_ml(chat);
  if (turn.system && !takes_system(chat)) {
    fail("its chat_template has no turn for what a system says");
  }
  const bool trims = trims_words(chat);
  const auto said = [&](std::string_view role, std::string_view words) {
    return fmt::format("<|im_start|>{}\n{}<|im_end|>\n", role, trims ? trimmed(words) : words);
  };
  std::string out = has(chat.text, "bos_token") ? chat.begin : "";
  if (turn.system) {
    out += said("system", *turn.system);
  } else if (const std::optional<std::string> own = own_system(chat.text)) {
    out += fmt::format("<|im_start|>system\n{}<|im_end|>\n", *own);
  }
  for (const auto& [user, assistant] : turn.earlier) {
    out += said("user", user) + said("assistant", answer_of(chat, assistant));
  }
  out += said("user", turn.user) + "<|im_start|>assistant\n";
  const bool thinks = has(chat.text, "<|im_start|>assistant\\n<think>\\n'") ||
                      has(chat.text, "<|im_start|>assistant\\n<think>\\n\"");
  return thinks ? out + "<think>\n" : out;
}

// There is no system turn: the first user says its words before their own.
std::string start_of_first_turn(const ChatTemplate& chat, const ChatTurn& turn) {
  if (!turn.system) return "";
  constexpr std::string_view kWords = "messages[0]['content'] + '";
  const std::size_t at = chat.text.find(kWords);
  if (at == chat.text.npos) fail("its chat_template has no place for what a system says");
  const std::string_view rest = std::string_view(chat.text).substr(at + kWords.size());
  return *turn.system + unescaped(rest.substr(0, rest.find('\'')));
}

std::string start_of_turns(const ChatTemplate& chat, const ChatTurn& turn) {
  const bool trims = trims_words(chat);
  std::string out = has(chat.text, "bos_token") ? chat.begin : "";
  std::string before = start_of_first_turn(chat, turn);
  const auto say = [&](std::string_view role, std::string_view words) {
    out += fmt::format("<start_of_turn>{}\n{}{}<end_of_turn>\n", role, before,
                       trims ? trimmed(words) : words);
    before.clear();
  };
  for (const auto& [user, assistant] : turn.earlier) {
    say("user", user);
    say("model", assistant);
  }
  say("user", turn.user);
  return out + "<start_of_turn>model\n";
}

}  // namespace

std::optional<ChatTemplate> find_chat_template(const fs::path& directory) {
  ChatTemplate out;
  Json config;
  if (fs::exists(fs::symlink_status(directory / "tokenizer_config.json"))) {
    config = read_json(directory / "tokenizer_config.json");
  }
  if (fs::exists(fs::symlink_status(directory / "chat_template.jinja"))) {
    out.text = read_text(directory / "chat_template.jinja");
  } else {
    out.text = template_text(member(config, "chat_template"));
  }
  if (out.text.empty()) return std::nullopt;
  constexpr std::size_t kLongest = 1 << 18;  // published templates have some thousand bytes
  if (out.text.size() > kLongest) {
    fail("its chat template has {} bytes, and at most {} are read", out.text.size(), kLongest);
  }
  const Json& begin = member(config, "bos_token");
  out.begin = begin.is_object() ? text_of(begin, "content") : text_of(config, "bos_token");
  return out;
}

std::string chat_prompt(const ChatTemplate& chat, const ChatTurn& turn, std::string_view today) {
  if (has(chat.text, "<|start_header_id|>") && has(chat.text, "<|eot_id|>")) {
    return header_turns(chat, turn, today);
  }
  // A template of this kind that asks for the date writes more than turns.
  if (has(chat.text, "<|im_start|>") && has(chat.text, "<|im_end|>") &&
      !has(chat.text, "strftime_now")) {
    return chat_ml(chat, turn);
  }
  if (has(chat.text, "<start_of_turn>model") && has(chat.text, "<end_of_turn>")) {
    return start_of_turns(chat, turn);
  }
  fail(
      "its chat_template has turns of no kind that is known here: <|start_header_id|> to "
      "<|eot_id|>, <|im_start|> to <|im_end|>, or <start_of_turn> to <end_of_turn>");
}

std::string chat_date() {
  const std::time_t now = std::time(nullptr);
  std::tm date{};
  localtime_r(&now, &date);
  static constexpr const char* kMonths[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                            "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  return fmt::format("{:02} {} {}", date.tm_mday, kMonths[date.tm_mon], 1900 + date.tm_year);
}

}  // namespace mnm
