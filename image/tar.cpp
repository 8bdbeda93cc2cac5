#include "image/tar.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <optional>
#include <string_view>

#include "base/error.h"

namespace mnm {
namespace {

constexpr std::size_t kBlock = 512;
constexpr std::uint64_t kLongestName = 1 << 16;  // bytes of a header for the next member

// A header block: POSIX.1-1988 ustar, whose fields are at fixed places.
class Header {
 public:
  Header(std::span<const std::byte> block)
      : text_(reinterpret_cast<const char*>(block.data()), kBlock) {}

  bool blank() const { return text_.find_first_not_of('\0') == std::string_view::npos; }
  bool ustar() const { return text_.substr(257, 5) == "ustar"; }
  char type() const { return text_[156]; }

  std::string name() const {
    const std::string_view prefix = field(345, 155), name = field(0, 100);
    // GNU tar keeps times where POSIX has the prefix.
    if (prefix.empty() || text_.substr(257, 6) != std::string_view("ustar\0", 6)) {
      return std::string(name);
    }
    return std::string(prefix).append("/").append(name);
  }
  std::optional<std::uint64_t> size() const { return number(124, 12); }

  bool sound() const {
    std::uint64_t sum = 0;
    for (std::size_t i = 0; i < kBlock; ++i) {
      sum += i >= 148 && i < 156 ? ' ' : static_cast<unsigned char>(text_[i]);
    }
    return number(148, 8) == sum;
  }

 private:
  std::string_view field(std::size_t at, std::size_t length) const {
    const std::string_view whole = text_.substr(at, length);
    return whole.substr(0, whole.find('\0'));
  }
  // Octal, with spaces around it; or GNU's binary, whose first bit is set.
  std::optional<std::uint64_t> number(std::size_t at, std::size_t length) const {
    std::string_view digits = text_.substr(at, length);
    std::uint64_t value = 0;
    if (static_cast<unsigned char>(digits[0]) & 0x80) {
      for (std::size_t i = 1; i < length; ++i) {
        if (value >> 55) return std::nullopt;
        value = value << 8 | static_cast<unsigned char>(digits[i]);
      }
      return value;
    }
    while (digits.starts_with(' ')) digits.remove_prefix(1);
    const auto [end, error] =
        std::from_chars(digits.data(), digits.data() + digits.size(), value, 8);
    if (error != std::errc()) return std::nullopt;
    return value;
  }

  std::string_view text_;
};

// The value of a key in a pax header, whose lines are "LENGTH KEY=VALUE\n".
std::optional<std::string> pax_value(std::string_view text, std::string_view key) {
  std::optional<std::string> found;
  while (!text.empty()) {
    std::size_t length = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), length);
    const auto digits = static_cast<std::size_t>(end - text.data());
    if (error != std::errc() || length > text.size() || length < digits + 2) break;
    const std::string_view line = text.substr(digits + 1, length - digits - 2);
    if (line.starts_with(key) && line.substr(key.size()).starts_with('=')) {
      found = line.substr(key.size() + 1);
    }
    text.remove_prefix(length);
  }
  return found;
}

class Archive {
 public:
  Archive(std::span<const std::byte> bytes, const std::string& name) : bytes_(bytes), name_(name) {}

  std::vector<TarMember> list() {
    std::vector<TarMember> members;
    while (bytes_.size() - at_ >= kBlock) {
      const Header header(bytes_.subspan(at_, kBlock));
      if (header.blank()) {
        require_nothing_more();
        return members;
      }
      if (!header.sound()) refuse(header.name(), "its header has a wrong checksum");
      at_ += kBlock;
      take(header, members);
    }
    fail("cannot read {}: the tar archive is truncated: it has no block of zeros at its end",
         name_);
  }

 private:
  // Of archives that were joined, only the first would be read.
  void require_nothing_more() const {
    const auto rest = bytes_.subspan(at_);
    const auto more = std::ranges::find_if(rest, [](std::byte b) { return b != std::byte{0}; });
    if (more == rest.end()) return;
    fail(
        "cannot read {}: the tar archive ends at byte {}, and more follows at byte {}; if it is "
        "several that were joined, give them one by one",
        name_, at_, at_ + static_cast<std::uint64_t>(more - rest.begin()));
  }

  void take(const Header& header, std::vector<TarMember>& members) {
    std::string member = next_name_.value_or(header.name());
    std::optional<std::uint64_t> size = next_size_ ? next_size_ : header.size();
    if (!size) refuse(member, "its size is no number");
    if (*size > bytes_.size() - at_) refuse(member, "the archive ends before it does");
    const std::string_view text(reinterpret_cast<const char*>(bytes_.data() + at_), *size);
    const std::uint64_t offset = at_;
    at_ += std::min<std::uint64_t>((*size + kBlock - 1) / kBlock * kBlock, bytes_.size() - at_);
    switch (header.type()) {
      case 'x':
        if (*size > kLongestName) refuse(member, "its pax header is too long");
        if (auto path = pax_value(text, "path")) next_name_ = path;
        if (auto bytes = pax_value(text, "size"))
          next_size_ = std::strtoull(bytes->c_str(), nullptr, 10);
        if (pax_value(text, "GNU.sparse.major")) refuse(member, "it is a sparse file");
        return;
      case 'L':
        if (*size > kLongestName) refuse(member, "its name is too long");
        next_name_ = std::string(text.substr(0, text.find('\0')));
        return;
      case 'g':
        return;
      case '5':
        break;
      case '0':
      case '\0':
      case '7':
        require_inside(member);
        members.push_back({std::move(member), offset, *size});
        break;
      case '1':
      case '2':
      case 'K':
        refuse(member, "it is a link, expected files");
      default:
        refuse(member, "it is neither a file nor a directory");
    }
    next_name_.reset();
    next_size_.reset();
  }

  void require_inside(const std::string& member) const {
    const std::filesystem::path path(member);
    if (path.is_absolute()) refuse(member, "its name is an absolute path");
    for (const auto& part : path) {
      if (part == "..") refuse(member, "its name leads out of the archive");
    }
  }

  [[noreturn]] void refuse(const std::string& member, std::string_view why) const {
    fail("cannot read {}: its member '{}' is refused: {}", name_, member, why);
  }

  std::span<const std::byte> bytes_;
  const std::string& name_;
  std::uint64_t at_ = 0;
  std::optional<std::string> next_name_;
  std::optional<std::uint64_t> next_size_;
};

}  // namespace

bool has_tar_header(std::span<const std::byte> archive) {
  return archive.size() >= kBlock && Header(archive.first(kBlock)).ustar();
}

std::vector<TarMember> list_tar(std::span<const std::byte> archive, const std::string& name) {
  return Archive(archive, name).list();
}

}  // namespace mnm
