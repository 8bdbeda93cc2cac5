#include "cli/output_kind.h"

#include <algorithm>
#include <string>

#include "base/error.h"
#include "base/file.h"
#include "dataset/llm_c_shard.h"
#include "dataset/npy.h"
#include "dataset/task_file.h"
#include "dataset/token_format.h"
#include "report/html.h"
#include "report/svg.h"

namespace mnm {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kHead = 64u << 10;  // bytes of a text that say what it is

std::string_view text_of(const MappedFile& file) {
  return {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()};
}

// Of a text whose first bytes `begins` knows.
OutputKind text_kind(std::string_view what, std::function<bool(std::string_view head)> begins) {
  return {what, [=](const fs::path& path) {
            const MappedFile file(path);
            return begins(text_of(file).substr(0, kHead));
          }};
}

OutputKind array_kind(std::string_view what, std::string_view descr, std::size_t dimensions) {
  return {what, [=](const fs::path& path) {
            const MappedFile file(path);
            if (!text_of(file).starts_with(kNpyMagic)) return false;
            const NpyHeader header = read_npy_header(file.bytes(), path.string(), "an array");
            return header.descr == descr && header.shape.size() == dimensions;
          }};
}

// Texts with a zero byte after each, none of them empty, as no picture or program is.
bool are_texts(std::string_view bytes) {
  using namespace std::string_view_literals;
  return bytes.front() != '\0' && bytes.find('\0') != std::string_view::npos &&
         bytes.find("\0\0"sv) == std::string_view::npos;
}

// Without the line that the head cuts off. A head of one cut line stays as it is, so it is refused.
std::string_view whole_lines(std::string_view head) {
  const std::size_t end = head.rfind('\n');
  return head.size() == kHead && end != std::string_view::npos ? head.substr(0, end + 1) : head;
}

bool all_lines(std::string_view head, const std::function<bool(std::string_view line)>& holds) {
  while (!head.empty()) {
    const std::size_t end = head.find('\n');
    if (end == std::string_view::npos || !holds(head.substr(0, end))) return false;
    head.remove_prefix(end + 1);
  }
  return true;
}

}  // namespace

OutputKind picture_kind() { return text_kind("a picture that this program drew", is_own_svg); }

OutputKind evidence_page_kind() {
  return text_kind("a page that 'mixnmatch report' wrote", is_evidence_page);
}

OutputKind scores_kind() { return array_kind("a NumPy array of f32 of one dimension", "<f4", 1); }

OutputKind vectors_kind() { return array_kind("a NumPy array of f32 of two dimensions", "<f4", 2); }

OutputKind classes_kind() {
  return array_kind("a NumPy array of int64 of one dimension", "<i8", 1);
}

OutputKind task_file_kind() { return {"a task file of 'mixnmatch tasks'", is_task_file}; }

OutputKind shortlist_kind() {
  return text_kind("a list of 'mixnmatch retrieve'", [](std::string_view head) {
    return all_lines(whole_lines(head), [](std::string_view line) {
      return line.find_first_not_of("0123456789,-") == std::string_view::npos;
    });
  });
}

OutputKind part_list_kind() {
  return text_kind("a list of 'mixnmatch tokenize'", [](std::string_view head) {
    return all_lines(whole_lines(head), [](std::string_view line) {
      static constexpr std::string_view kParts[] = {"train\t", "search\t", "confirm\t",
                                                    "skipped\t"};
      return std::ranges::any_of(kParts, [&](auto part) { return line.starts_with(part); });
    });
  });
}

OutputKind token_file_kind(std::int64_t vocab_size) {
  return {
      "a token file with a header, with numbers of its own vocabulary, or with a zero byte "
      "after each text",
      [=](const fs::path& path) {
        const MappedFile file(path);
        const std::string_view bytes = text_of(file);
        if (is_shard(file.bytes())) return true;
        // Past 256 also a short file is asked whether it is numbers.
        const std::int64_t words = std::max<std::int64_t>(vocab_size, 257);
        const Resemblance like = resemblance_of(file.bytes(), path, words);
        if (like.kind == Resemblance::Kind::kNumbers) return like.format.has_value();
        return like.kind == Resemblance::Kind::kUnknown && are_texts(bytes);
      }};
}

bool is_replaceable_file(const fs::path& path, const OutputKind& kind) {
  std::error_code error;
  // A link to nothing is there, too. Of other things than files require_place_of_file speaks.
  if (!fs::is_regular_file(path, error) || fs::is_empty(path, error)) return true;
  try {
    return kind.is_at(path);
  } catch (const Error&) {  // it is damaged, or may not be read
    return false;
  }
}

}  // namespace mnm
