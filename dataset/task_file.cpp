#include "dataset/task_file.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <limits>
#include <map>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "model/fingerprint.h"
#include "model/safetensors.h"

namespace mnm {
namespace {

constexpr std::string_view kFormat = "mixnmatch-task-1";
constexpr std::string_view kKinds[] = {"questions", "texts"};
constexpr std::int64_t kMostWords = std::numeric_limits<std::int32_t>::max();

using Metadata = std::map<std::string, std::string>;
using Numbers = std::vector<std::int64_t>;

// The arrays of a file beside its tokens, under their names.
template <typename Task>
auto arrays_of(Task& task) {
  using Array = std::pair<std::string_view, decltype(&task.scored)>;
  std::vector<Array> arrays = {{"answer_begin", &task.answer_begin},
                               {"scored", &task.scored},
                               {"document_begin", &task.document_begin}};
  const std::vector<Array> more =
      task.protocol.kind == TaskKind::kQuestions
          ? std::vector<Array>{{"code_points", &task.code_points},
                               {"bytes", &task.bytes},
                               {"gold", &task.gold}}
          : std::vector<Array>{{"words", &task.words}, {"text_bytes", &task.text_bytes}};
  arrays.insert(arrays.end(), more.begin(), more.end());
  return arrays;
}

Metadata metadata_of(const TaskProtocol& protocol) {
  return {{"format", std::string(kFormat)},
          {"kind", std::string(to_string(protocol.kind))},
          {"window", std::to_string(protocol.window)},
          {"prefix", std::to_string(protocol.prefix)},
          {"delimiter", protocol.delimiter},
          {"cut", std::to_string(protocol.cut)},
          {"vocab_size", std::to_string(protocol.vocab_size)},
          {"vocabulary", protocol.vocabulary},
          {"source", protocol.source}};
}

// A file that is read, and what is wrong with it.
class Reader {
 public:
  explicit Reader(const std::filesystem::path& path)
      : file_(path),
        name_(path.string()),
        header_(parse_safetensors(file_.bytes(), file_.bytes().size(), name_)) {
    if (text("format") != kFormat) {
      wrong("its format is '{}', where '{}' is expected", text("format"), kFormat);
    }
  }

  template <typename... Args>
  [[noreturn]] void wrong(fmt::format_string<Args...> what, Args&&... args) const {
    fail("cannot read the task {}: {}", name_, fmt::format(what, std::forward<Args>(args)...));
  }

  std::string text(const std::string& key) const {
    const auto found = header_.metadata.find(key);
    return found == header_.metadata.end() ? "" : found->second;
  }

  std::int64_t number(const std::string& key, std::int64_t least) const {
    const std::string digits = text(key);
    std::int64_t value = 0;
    const char* const end = digits.data() + digits.size();
    const auto [stop, error] = std::from_chars(digits.data(), end, value);
    if (error != std::errc() || stop != end || value < least || value > kMostWords) {
      wrong("its {} is '{}', expected a number from {} to {}", key, digits, least, kMostWords);
    }
    return value;
  }

  template <typename Element>
  std::vector<Element> array(std::string_view name) const {
    constexpr std::string_view kType = sizeof(Element) == 4 ? "I32" : "I64";
    const auto found = std::ranges::find(header_.others, name, &OtherTensor::name);
    if (found == header_.others.end() || found->dtype != kType || found->shape.size() != 1) {
      wrong("it has no list '{}' of type {}", name, kType);
    }
    std::vector<Element> values(static_cast<std::size_t>(found->shape.front()));
    file_.read(header_.data_offset + found->begin, std::as_writable_bytes(std::span(values)));
    return values;
  }

 private:
  MappedFile file_;
  std::string name_;
  SafetensorsHeader header_;
};

TaskProtocol read_protocol(const Reader& reader) {
  TaskProtocol protocol;
  const auto* const kind = std::ranges::find(kKinds, reader.text("kind"));
  if (kind == std::end(kKinds)) {
    reader.wrong("it holds '{}', expected {} or {}", reader.text("kind"), kKinds[0], kKinds[1]);
  }
  protocol.kind = static_cast<TaskKind>(kind - kKinds);
  protocol.window = reader.number("window", 1);
  protocol.prefix = reader.number("prefix", -1);
  protocol.delimiter = reader.text("delimiter");
  protocol.cut = reader.number("cut", 0);
  protocol.vocab_size = reader.number("vocab_size", 1);
  protocol.vocabulary = reader.text("vocabulary");
  protocol.source = reader.text("source");
  return protocol;
}

// Places that ascend from 0 to `end`, each by one at least.
void check_places(const Reader& reader, std::string_view name, const Numbers& places,
                  std::int64_t end) {
  const bool ascend = places.size() > 1 && places.front() == 0 && places.back() == end &&
                      std::ranges::adjacent_find(places, std::greater_equal<>()) == places.end();
  if (!ascend) reader.wrong("the places in '{}' do not ascend from 0 to {}", name, end);
}

void check_size(const Reader& reader, std::string_view name, const Numbers& values,
                std::int64_t size, std::int64_t least) {
  if (std::cmp_not_equal(values.size(), size)) {
    reader.wrong("'{}' has {} numbers, expected {}", name, values.size(), size);
  }
  for (const std::int64_t value : values) {
    if (value < least) reader.wrong("'{}' holds {}, which is below {}", name, value, least);
  }
}

void check_answers(const Reader& reader, const TaskFile& task) {
  for (std::int64_t answer = 0; answer < task.answers(); ++answer) {
    const auto length = static_cast<std::int64_t>(task.tokens_of(answer).size());
    const std::int64_t scored = task.scored[static_cast<std::size_t>(answer)];
    if (scored >= length) {
      reader.wrong("answer {} scores {} of its {} tokens, and the first is never scored", answer,
                   scored, length);
    }
    if (length - 1 > task.protocol.window) {
      reader.wrong("answer {} reads {} tokens, more than the window of {}", answer, length - 1,
                   task.protocol.window);
    }
  }
}

void check_documents(const Reader& reader, const TaskFile& task) {
  const std::int64_t documents = task.documents();
  if (task.protocol.kind == TaskKind::kTexts) {
    check_size(reader, "words", task.words, documents, 1);
    return check_size(reader, "text_bytes", task.text_bytes, documents, 1);
  }
  check_size(reader, "code_points", task.code_points, task.answers(), 1);
  check_size(reader, "bytes", task.bytes, task.answers(), 1);
  check_size(reader, "gold", task.gold, documents, 0);
  for (std::size_t document = 0; document < task.gold.size(); ++document) {
    const std::int64_t choices = task.document_begin[document + 1] - task.document_begin[document];
    if (task.gold[document] >= choices) {
      reader.wrong("the right choice of question {} is {}, and it has {} choices", document,
                   task.gold[document], choices);
    }
  }
}

}  // namespace

std::string_view to_string(TaskKind kind) { return kKinds[static_cast<std::size_t>(kind)]; }

std::string protocol_text(const TaskProtocol& protocol) {
  const bool questions = protocol.kind == TaskKind::kQuestions;
  std::string text = fmt::format("{}, window {}", to_string(protocol.kind), protocol.window);
  text += questions ? ", no stride" : fmt::format(", stride {}", protocol.window);
  text += protocol.prefix < 0 ? ", no prefix" : fmt::format(", prefix {}", protocol.prefix);
  text += ", unit token";
  if (questions && protocol.cut > 0) text += fmt::format(", {} answers cut", protocol.cut);
  return text;
}

std::span<const std::int32_t> TaskFile::tokens_of(std::int64_t answer) const {
  const auto at = static_cast<std::size_t>(answer);
  const auto begin = static_cast<std::size_t>(answer_begin[at]);
  return std::span(tokens).subspan(begin, static_cast<std::size_t>(answer_begin[at + 1]) - begin);
}

std::string TaskFile::fingerprint() const {
  Fingerprint of;
  for (const auto& [key, value] : metadata_of(protocol)) {
    if (key == "source") continue;  // a name, which may change
    of.add(key);
    of.add(value);
  }
  for (const auto& [name, values] : arrays_of(*this)) {
    of.add(name);
    of.add(std::to_string(values->size()));
    of.add(std::as_bytes(std::span(*values)));
  }
  of.add(std::as_bytes(std::span(tokens)));
  return of.hex();
}

bool is_task_file(const std::filesystem::path& path) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error)) return false;
  const MappedFile file(path);
  std::string head(std::min<std::size_t>(file.bytes().size(), 1024), '\0');
  file.read(0, std::as_writable_bytes(std::span(head)));
  return head.size() > 8 && head[8] == '{' && head.find("mixnmatch-task-") != std::string::npos;
}

void write_task_file(const std::filesystem::path& path, const TaskFile& task) {
  Metadata metadata = metadata_of(task.protocol);
  metadata.emplace("fingerprint", task.fingerprint());
  std::vector<OtherTensor> tensors;
  std::vector<std::span<const std::byte>> parts;
  for (const auto& [name, values] : arrays_of(task)) {
    tensors.push_back({std::string(name), "I64", {static_cast<std::int64_t>(values->size())}});
    parts.push_back(std::as_bytes(std::span(*values)));
  }
  // Last, so that the numbers before it are aligned.
  tensors.push_back({"tokens", "I32", {static_cast<std::int64_t>(task.tokens.size())}});
  parts.push_back(std::as_bytes(std::span(task.tokens)));
  const std::string head = safetensors_head(tensors, metadata);
  AtomicFile target(path);
  OutputFile out(target.path());
  out.write(head);
  out.write(parts);
  out.close();
  target.commit();
}

TaskFile read_task_file(const std::filesystem::path& path) {
  const Reader reader(path);
  TaskFile task;
  task.protocol = read_protocol(reader);
  for (const auto& [name, values] : arrays_of(task)) *values = reader.array<std::int64_t>(name);
  task.tokens = reader.array<std::int32_t>("tokens");
  check_places(reader, "answer_begin", task.answer_begin,
               static_cast<std::int64_t>(task.tokens.size()));
  const auto answers = static_cast<std::int64_t>(task.answer_begin.size()) - 1;
  check_size(reader, "scored", task.scored, answers, 1);
  check_places(reader, "document_begin", task.document_begin, answers);
  check_answers(reader, task);
  check_documents(reader, task);
  for (const std::int32_t token : task.tokens) {
    if (token < 0 || token >= task.protocol.vocab_size) {
      reader.wrong("it holds token {}, outside its vocabulary of {}", token,
                   task.protocol.vocab_size);
    }
  }
  if (task.fingerprint() != reader.text("fingerprint")) {
    reader.wrong("its contents do not have the fingerprint that it states, so it was altered");
  }
  return task;
}

}  // namespace mnm
