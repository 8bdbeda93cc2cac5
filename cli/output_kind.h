// How the files that commands write are recognised, so that --force replaces no other file.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string_view>

namespace mnm {

struct OutputKind {
  std::string_view what;  // "a picture that this program drew"
  // Whether the file at `path`, which is there and not empty, is one. It may throw an Error where
  // the file cannot be read.
  std::function<bool(const std::filesystem::path& path)> is_at;
};

OutputKind picture_kind();        // SVG
OutputKind evidence_page_kind();  // HTML
OutputKind scores_kind();         // NumPy, f32 of one dimension
OutputKind vectors_kind();        // NumPy, f32 of two dimensions
OutputKind classes_kind();        // NumPy, int64 of one dimension
OutputKind task_file_kind();
OutputKind shortlist_kind();  // of retrieve: lines of numbers with commas
OutputKind part_list_kind();  // of tokenize: lines of a part, a tab and a name

// A shard of llm.c, numbers of 16 or 32 bits that are all below vocab_size, or texts as bytes with
// a zero byte after each. A single text without that byte is a text like any other, so it is none.
OutputKind token_file_kind(std::int64_t vocab_size);

// Whether --force may replace what is at `path`: nothing, an empty file, or one of that kind.
bool is_replaceable_file(const std::filesystem::path& path, const OutputKind& kind);

}  // namespace mnm
