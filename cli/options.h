// The option table of a command. It drives the parsing, --help, the defaults and the settings that
// are printed.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cli/command.h"
#include "cli/option_value.h"

namespace mnm {

class OptionTable {
 public:
  // `summary`: a paragraph for --help.
  OptionTable(std::string command, std::string summary);

  // An argument without a dash. Arguments are in order. One that repeats takes all that are left,
  // so it must be the last.
  OptionTable& argument(std::string name, OptionValue value, std::string help);
  // An option. The name has no leading dashes ("seed") and is unique. "help" exists already.
  OptionTable& option(std::string name, OptionValue value, std::string help);
  // The heading of the options that follow in --help.
  OptionTable& section(std::string title);

  // Sets the variables of the options. False: --help was asked for and has been printed, and
  // nothing is left to do. UsageError: an unknown option (names the nearest), a value that is
  // missing, wrong or given twice, an argument too many, or a required one that is missing.
  bool parse(const Arguments& arguments);

  // Whether it was on the command line.
  bool given(std::string_view name) const;
  // The text that was given, or else the default's. Several texts are joined by commas.
  std::string text(std::string_view name) const;
  // Every option and argument with its text, in the order of the table.
  std::vector<std::pair<std::string, std::string>> settings() const;
  // Sets an option as if these texts had been given. A resumed run gets its settings back this way.
  void restore(std::string_view name, const std::vector<std::string>& texts);
  std::vector<std::string> texts(std::string_view name) const;  // as given; empty: not given
  std::string fallback(std::string_view name) const;            // the default's text
  // Those that make a run the run it is (of_run), in table order.
  std::vector<std::string> names_of_run() const;
  bool is_path(std::string_view name) const;

  std::string help() const;

 private:
  struct Entry {
    std::string name;
    OptionValue value;
    std::string help;
    std::string section;
    std::vector<std::string> texts;  // as given
  };
  void set_arguments(const std::vector<std::string>& words);
  void require_all() const;
  Entry* find(std::string_view name);
  const Entry* find(std::string_view name) const;
  void set(Entry& entry, const std::vector<std::string>& texts, std::string_view spelling);

  std::string command_, summary_, section_ = "options";
  std::vector<Entry> arguments_, options_;
};

}  // namespace mnm
