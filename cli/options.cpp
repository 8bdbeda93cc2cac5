#include "cli/options.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/program_options.hpp>
#include <cassert>
#include <cstdio>

#include "base/error.h"
#include "base/spelling.h"
#include "cli/print.h"

namespace mnm {
namespace {

namespace po = boost::program_options;

constexpr std::size_t kHelpColumn = 30;
constexpr std::size_t kHelpWidth = 100;

// Words of `text` wrapped to the width, every line but the first indented.
std::string wrapped(const std::string& text, std::size_t indent) {
  std::string out;
  std::size_t column = indent;
  std::size_t at = 0;
  while (at < text.size()) {
    const std::size_t end = std::min(text.find(' ', at), text.size());
    const std::size_t length = end - at;
    if (column > indent) {
      if (column + 1 + length > kHelpWidth) {
        out.append(1, '\n').append(indent, ' ');
        column = indent;
      } else {
        out += ' ';
        ++column;
      }
    }
    out.append(text, at, length);
    column += length;
    at = end + 1;
  }
  return out;
}

std::string help_line(const std::string& left, const std::string& right) {
  std::string line = fmt::format("  {}", left);
  if (line.size() + 2 > kHelpColumn) {
    line.append(1, '\n').append(kHelpColumn, ' ');
  } else {
    line.resize(kHelpColumn, ' ');
  }
  return line + wrapped(right, kHelpColumn) + "\n";
}

constexpr char kPositional[] = "argument";

struct Known {
  std::string name;
  bool takes_value = false;
};

// What stands on the command line, in order; what is no option is a kPositional.
std::vector<po::option> read(const std::string& command, const Arguments& arguments,
                             const std::vector<Known>& known) {
  po::options_description description;
  auto add = description.add_options();
  add("help,h", "");
  for (const Known& option : known) {
    auto* const value = po::value<std::vector<std::string>>();
    add(option.name.c_str(), option.takes_value ? value->composing() : value->zero_tokens(), "");
  }
  add(kPositional, po::value<std::vector<std::string>>()->composing(), "");
  po::positional_options_description positional;
  positional.add(kPositional, -1);
  try {
    return po::command_line_parser(arguments)
        .options(description)
        .positional(positional)
        .style(po::command_line_style::unix_style & ~po::command_line_style::allow_guessing)
        .run()
        .options;
  } catch (const po::unknown_option& error) {
    std::vector<std::string> names = {"--help"};
    for (const Known& option : known) names.push_back(fmt::format("--{}", option.name));
    const std::string spelled = error.get_option_name();
    fail_usage("{}: there is no option '{}'{} ('mixnmatch help {}' lists all)", command, spelled,
               did_you_mean(spelled, names), command);
  } catch (const po::error& error) {
    fail_usage("{}: {}", command, error.what());
  }
}

}  // namespace

OptionTable::OptionTable(std::string command, std::string summary)
    : command_(std::move(command)), summary_(std::move(summary)) {}

OptionTable& OptionTable::argument(std::string name, OptionValue value, std::string help) {
  arguments_.push_back({std::move(name), std::move(value), std::move(help), "", {}});
  return *this;
}

OptionTable& OptionTable::option(std::string name, OptionValue value, std::string help) {
  assert(find(name) == nullptr && name != "help");
  options_.push_back({std::move(name), std::move(value), std::move(help), section_, {}});
  return *this;
}

OptionTable& OptionTable::section(std::string title) {
  section_ = std::move(title);
  return *this;
}

bool OptionTable::parse(const Arguments& arguments) {
  std::vector<Known> known;
  for (const Entry& entry : options_) {
    known.push_back({entry.name, !entry.value.placeholder.empty()});
  }
  const std::vector<po::option> parsed = read(command_, arguments, known);
  if (std::ranges::find(parsed, "help", &po::option::string_key) != parsed.end()) {
    print("{}", Lines{help()});
    return false;
  }
  std::vector<std::string> words;
  for (const po::option& option : parsed) {
    if (option.string_key == kPositional) {
      words.insert(words.end(), option.value.begin(), option.value.end());
      continue;
    }
    Entry& entry = *find(option.string_key);
    if (!entry.texts.empty() && !entry.value.repeats) {
      fail_usage("{}: --{} is given twice", command_, entry.name);
    }
    set(entry, option.value.empty() ? std::vector<std::string>{"yes"} : option.value,
        fmt::format("--{}", entry.name));
  }
  set_arguments(words);
  require_all();
  return true;
}

void OptionTable::set_arguments(const std::vector<std::string>& words) {
  std::size_t next = 0;
  for (Entry& entry : arguments_) {
    do {
      if (next < words.size()) set(entry, {words[next++]}, entry.name);
    } while (entry.value.repeats && next < words.size());
  }
  if (next < words.size()) {
    fail_usage("{}: '{}' is one argument too many ('mixnmatch help {}')", command_, words[next],
               command_);
  }
}

void OptionTable::require_all() const {
  for (const auto* entries : {&arguments_, &options_}) {
    for (const Entry& entry : *entries) {
      if (!entry.value.required || !entry.texts.empty()) continue;
      fail_usage("{}: {}{} is missing: {} ('mixnmatch help {}')", command_,
                 entries == &options_ ? "--" : "", entry.name, entry.help, command_);
    }
  }
}

void OptionTable::set(Entry& entry, const std::vector<std::string>& texts,
                      std::string_view spelling) {
  for (const std::string& text : texts) {
    try {
      entry.value.set(text);
    } catch (const UsageError& error) {
      fail_usage("{}: {}: {}", command_, spelling, error.what());
    }
    entry.texts.push_back(text);
  }
}

void OptionTable::restore(std::string_view name, const std::vector<std::string>& texts) {
  Entry* entry = find(name);
  if (entry == nullptr)
    fail("{} has no option --{}, which the stored run was given", command_, name);
  entry->texts.clear();
  set(*entry, texts, name);
}

bool OptionTable::given(std::string_view name) const {
  const Entry* entry = find(name);
  assert(entry != nullptr);
  return !entry->texts.empty();
}

std::vector<std::string> OptionTable::texts(std::string_view name) const {
  const Entry* entry = find(name);
  assert(entry != nullptr);
  return entry->texts;
}

std::string OptionTable::fallback(std::string_view name) const {
  const Entry* entry = find(name);
  assert(entry != nullptr);
  return entry->value.fallback;
}

std::vector<std::string> OptionTable::names_of_run() const {
  std::vector<std::string> names;
  for (const auto* entries : {&arguments_, &options_}) {
    for (const Entry& entry : *entries) {
      if (entry.value.of_run) names.push_back(entry.name);
    }
  }
  return names;
}

bool OptionTable::is_path(std::string_view name) const {
  const Entry* entry = find(name);
  assert(entry != nullptr);
  return entry->value.path;
}

std::string OptionTable::text(std::string_view name) const {
  const Entry* entry = find(name);
  assert(entry != nullptr);
  if (entry->texts.empty()) return entry->value.fallback;
  return fmt::format("{}", fmt::join(entry->texts, ", "));
}

std::vector<std::pair<std::string, std::string>> OptionTable::settings() const {
  std::vector<std::pair<std::string, std::string>> all;
  for (const auto* entries : {&arguments_, &options_}) {
    for (const Entry& entry : *entries) all.emplace_back(entry.name, text(entry.name));
  }
  return all;
}

std::string OptionTable::help() const {
  std::string usage = "usage: mixnmatch " + command_;
  for (const Entry& entry : arguments_) {
    const std::string word = fmt::format("{}{}", entry.name, entry.value.repeats ? "..." : "");
    usage += entry.value.required ? fmt::format(" {}", word) : fmt::format(" [{}]", word);
  }
  for (const Entry& entry : options_) {
    if (entry.value.required) usage += fmt::format(" --{} {}", entry.name, entry.value.placeholder);
  }
  std::string text = usage + " [options]\n\n" + wrapped(summary_, 0) + "\n";
  if (!arguments_.empty()) text += "\n";
  for (const Entry& entry : arguments_) text += help_line(entry.name, entry.help);
  std::string section;
  for (const Entry& entry : options_) {
    if (entry.section != section) text += fmt::format("\n{}\n", section = entry.section);
    std::string left = fmt::format("--{}", entry.name);
    if (!entry.value.placeholder.empty()) left.append(" ").append(entry.value.placeholder);
    std::string right = entry.help;
    if (entry.value.repeats) right += "; may be repeated";
    if (!entry.value.fallback.empty()) right += " (default " + entry.value.fallback + ")";
    text += help_line(left, right);
  }
  return text;
}

OptionTable::Entry* OptionTable::find(std::string_view name) {
  return const_cast<Entry*>(std::as_const(*this).find(name));
}

const OptionTable::Entry* OptionTable::find(std::string_view name) const {
  for (const auto* entries : {&arguments_, &options_}) {
    for (const Entry& entry : *entries) {
      if (entry.name == name) return &entry;
    }
  }
  return nullptr;
}

}  // namespace mnm
