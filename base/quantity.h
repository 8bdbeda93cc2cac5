// Numbers as people write them: quantities such as 1.2M and times such as 1h30m.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace mnm {

// "1.2M", "40B", "1.5GB", "3e9", "1200000". K M G B T are powers of 1000, KiB MiB GiB TiB powers of
// 1024, in upper or lower case. UsageError unless the text is a whole number from 0 up.
std::int64_t parse_quantity(std::string_view text);
std::string quantity(double value);  // 1234567 -> "1.23M", 65536 -> "65.5K", 1e9 -> "1G"

// Seconds from "90s", "10m", "1h30m" or "250ms". A bare number is seconds. UsageError otherwise.
double parse_duration(std::string_view text);
std::string duration_text(double seconds);  // "250ms", "3.2s", "45s", "10m05s", "1h30m"; "?"

}  // namespace mnm
