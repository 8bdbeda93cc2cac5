// Tar archives, for tests of what reads them.
#pragma once

#include <fmt/format.h>

#include <string>
#include <string_view>

namespace mnm::test {

// One member with its header, padded to whole blocks. `type`: '0' a file, '2' a link, '5' a
// directory, 'L' GNU's long name, 'x' a pax header.
inline std::string tar_member(std::string_view name, std::string_view content, char type = '0') {
  std::string header(512, '\0');
  const auto put = [&](std::size_t at, std::string_view text) {
    header.replace(at, text.size(), text);
  };
  put(0, name.substr(0, 100));
  put(100, "0000644");
  put(124, fmt::format("{:011o}", content.size()));
  put(136, "00000000000");
  header[156] = type;
  put(257, std::string_view("ustar\00000", 8));
  put(148, "        ");
  unsigned sum = 0;
  for (const char c : header) sum += static_cast<unsigned char>(c);
  put(148, fmt::format("{:06o}", sum));
  header[154] = '\0';
  std::string member = header;
  member += content;
  member.append((512 - content.size() % 512) % 512, '\0');
  return member;
}

inline const std::string kTarEnd(1024, '\0');

}  // namespace mnm::test
