#include "dataset/task_maker.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "base/error.h"
#include "base/json.h"
#include "dataset/python_text.h"

namespace mnm {
namespace {

using Ids = std::vector<std::int64_t>;

struct Pair {
  std::string context, continuation;
};

class TaskMaker {
 public:
  TaskMaker(const std::string& name, const TaskTokens& tokens, const TaskSettings& settings)
      : name_(name), tokens_(tokens), settings_(settings) {
    TaskProtocol& protocol = task_.protocol;
    protocol.window = settings.window;
    protocol.prefix = settings.prefix;
    protocol.delimiter = settings.delimiter;
    protocol.vocab_size = tokens.vocab_size;
    protocol.vocabulary = tokens.vocabulary;
    protocol.source = name;
    task_.answer_begin = task_.document_begin = {0};
  }

  void add(std::string_view line) {
    ++line_;
    if (line.size() == trailing_space(line)) return;  // an empty line
    const nlohmann::json document = parse_json(line, where(), line_);
    if (!document.is_object()) wrong("it is no JSON object");
    const TaskKind kind = document.contains("text") ? TaskKind::kTexts : TaskKind::kQuestions;
    if (task_.documents() == 0) {
      task_.protocol.kind = kind;
    } else if (task_.protocol.kind != kind) {
      wrong("the lines before it hold {}, and this one is none", to_string(task_.protocol.kind));
    }
    kind == TaskKind::kTexts ? add_text(document) : add_question(document);
    task_.document_begin.push_back(task_.answers());
  }

  TaskFile finish() {
    if (task_.documents() == 0) fail("cannot make a task of {}: it holds no line", name_);
    if (task_.protocol.kind == TaskKind::kTexts) task_.protocol.delimiter.clear();
    return std::move(task_);
  }

 private:
  std::string where() const { return fmt::format("{}, line {}", name_, line_); }

  template <typename... Args>
  [[noreturn]] void wrong(fmt::format_string<Args...> what, Args&&... args) const {
    fail("cannot make a task of {}: {}", where(), fmt::format(what, std::forward<Args>(args)...));
  }

  std::string text_of(const nlohmann::json& document, const char* key) const {
    const auto found = document.find(key);
    if (found == document.end()) wrong("it has no \"{}\"", key);
    if (!found->is_string()) wrong("its \"{}\" is no text", key);
    return found->get<std::string>();
  }

  std::vector<std::string> texts_of(const nlohmann::json& document, const char* key) const {
    const auto found = document.find(key);
    if (found == document.end()) wrong("it has no \"{}\"", key);
    if (!found->is_array() || found->empty()) wrong("its \"{}\" are no list of texts", key);
    std::vector<std::string> texts;
    for (const nlohmann::json& text : *found) {
      if (!text.is_string()) wrong("its \"{}\" hold something that is no text", key);
      if (text.get_ref<const std::string&>().empty()) wrong("its \"{}\" hold an empty text", key);
      texts.push_back(text.get<std::string>());
    }
    return texts;
  }

  void add_question(const nlohmann::json& document) {
    const bool gap = document.contains("contexts");
    const std::vector<std::string> choices = texts_of(document, gap ? "contexts" : "choices");
    const std::string one = text_of(document, gap ? "continuation" : "context");
    if (gap && one.empty()) wrong("its \"continuation\" is empty");
    const auto gold = document.find("gold");
    if (gold == document.end() || !gold->is_number_integer()) {
      wrong("it has no \"gold\", the number of the right choice from 0");
    }
    if (!gold->is_number_unsigned() || gold->get<std::uint64_t>() >= choices.size()) {
      wrong("its \"gold\" is {}, and it has {} choices, counted from 0", gold->dump(),
            choices.size());
    }
    task_.gold.push_back(gold->get<std::int64_t>());
    for (const std::string& choice : choices) {
      const Pair pair =
          gap ? Pair{choice, settings_.delimiter + one} : Pair{one, settings_.delimiter + choice};
      const auto [before, after] = encode_pair(pair);
      add_answer(before, after);
      task_.code_points.push_back(code_points(choice));
      task_.bytes.push_back(static_cast<std::int64_t>(choice.size()));
    }
  }

  Ids encode(const std::string& text, bool around) const {
    const bool begins = !tokens_.prefix_text.empty() && text.starts_with(tokens_.prefix_text);
    try {
      return tokens_.encode(text, around && !begins);
    } catch (const Error& error) {
      wrong("it cannot be tokenized: {}", error.what());
    }
  }

  std::int64_t prefix() const {
    if (settings_.prefix < 0) {
      wrong(
          "nothing comes before its first token, and the tokenizer names no token that begins or "
          "ends a text: name one with --prefix");
    }
    return settings_.prefix;
  }

  // The tokens of a context and of what follows it.
  std::pair<Ids, Ids> encode_pair(const Pair& pair) const {
    const std::size_t space = trailing_space(pair.context);
    const std::string context = pair.context.substr(0, pair.context.size() - space);
    const std::string continuation = pair.context.substr(context.size()) + pair.continuation;
    if (Ids before; !context.empty() && !(before = encode(context, true)).empty()) {
      Ids after = encode(context + continuation, true);
      after.erase(after.begin(), after.begin() + static_cast<std::ptrdiff_t>(
                                                     std::min(before.size(), after.size())));
      return {std::move(before), std::move(after)};
    }
    Ids after = encode(continuation, false);
    if (after.empty() || after.front() != prefix()) return {{prefix()}, std::move(after)};
    after.erase(after.begin());
    return {{prefix()}, std::move(after)};
  }

  void add_answer(const Ids& before, const Ids& after) {
    const auto window = static_cast<std::size_t>(settings_.window);
    if (after.empty()) {
      wrong("what follows a context has no token of its own: a token reaches over both");
    }
    const std::size_t length = before.size() + after.size();
    if (length - 1 > window && (!settings_.cut || after.size() > window)) {
      wrong("a context and its choice read {} tokens, more than the window of {}{}", length - 1,
            window,
            after.size() > window ? std::string(", and the choice alone has more")
                                  : std::string(": raise --window, or cut contexts on the left "
                                                "with --cut"));
    }
    Ids all = before;
    all.insert(all.end(), after.begin(), after.end());
    const std::size_t first = length - std::min(length, window + 1);
    if (first > 0) ++task_.protocol.cut;
    keep(std::span(all).subspan(first), after.size());
  }

  void keep(std::span<const std::int64_t> tokens, std::size_t scored) {
    for (const std::int64_t token : tokens) {
      if (token < 0 || token >= tokens_.vocab_size) {
        wrong("it has token {}, outside the vocabulary of {}", token, tokens_.vocab_size);
      }
      task_.tokens.push_back(static_cast<std::int32_t>(token));
    }
    task_.scored.push_back(static_cast<std::int64_t>(scored));
    task_.answer_begin.push_back(static_cast<std::int64_t>(task_.tokens.size()));
  }

  // Windows whose targets are disjoint. The first reads the prefix first. Each later one reads as
  // many tokens as fit, and predicts those that no window before it has predicted.
  void add_text(const nlohmann::json& document) {
    const std::string text = text_of(document, "text");
    const std::string counted = document.contains("counted") ? text_of(document, "counted") : text;
    if (counted.empty()) wrong("the text is empty");
    Ids all = encode(text, true);
    if (all.empty()) wrong("the text has no token");
    all.insert(all.begin(), prefix());
    const auto window = static_cast<std::size_t>(settings_.window);
    for (std::size_t done = 1; done < all.size();) {
      const std::size_t end = std::min(all.size(), done + window);
      const std::size_t begin = end - std::min(end, window + 1);
      keep(std::span(all).subspan(begin, end - begin), end - done);
      done = end;
    }
    task_.words.push_back(words_of_text(counted));
    task_.text_bytes.push_back(static_cast<std::int64_t>(counted.size()));
  }

  const std::string& name_;
  const TaskTokens& tokens_;
  const TaskSettings& settings_;
  TaskFile task_;
  std::int64_t line_ = 0;
};

}  // namespace

TaskFile make_task(std::string_view lines, const std::string& name, const TaskTokens& tokens,
                   const TaskSettings& settings) {
  TaskMaker maker(name, tokens, settings);
  for (std::size_t begin = 0; begin < lines.size();) {
    const std::size_t end = std::min(lines.find('\n', begin), lines.size());
    maker.add(lines.substr(begin, end - begin));
    begin = end + 1;
  }
  return maker.finish();
}

}  // namespace mnm
