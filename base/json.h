// JSON that comes from outside: files of checkpoints and of other people's programs.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace mnm {

// Parses JSON text that comes from outside. Error names `what` if the text is no JSON, repeats a
// key, or nests deeper than 64 levels; if it is no JSON, also the line and the column, in bytes.
// `line`: the number of the text's first one.
nlohmann::json parse_json(std::string_view text, const std::string& what, std::int64_t line = 1);
// The same for a file. Python's Infinity, -Infinity and NaN are read as null in arrays. As the
// value of a key they are read as strings of their names, since null stands for a default.
nlohmann::json read_json(const std::filesystem::path& path);

}  // namespace mnm
