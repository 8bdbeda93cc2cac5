// The secret that clients show: "Authorization: Bearer SECRET".
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace mnm {

// The first line of the file. UsageError if it is empty, or has white space or characters that no
// header carries.
std::string read_bearer_token(const std::filesystem::path& file);

// Whether `authorization`, the header's value, shows the secret. The time that it takes depends on
// the length of the header alone, and not on how much of it is right.
bool shows_token(std::string_view authorization, std::string_view secret);

}  // namespace mnm
