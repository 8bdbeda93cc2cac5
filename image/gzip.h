// Reads gzip files, by zlib. Only image/gzip.cpp includes that library.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace mnm {

// Of deflate: how many bytes one byte becomes at most (https://zlib.net/zlib_tech.html).
inline constexpr std::uint64_t kMostRatio = 1032;

bool is_gzip(std::span<const std::byte> file);

// The first bytes of what a gzip file holds, at most `most`; fewer if it holds fewer. Error, which
// names the file `name`, if it is damaged or ends before its end.
std::vector<std::byte> gunzip(std::span<const std::byte> file, const std::string& name,
                              std::uint64_t most);

}  // namespace mnm
