#include "dataset/npy.h"

#include <fmt/ranges.h>

#include <bit>
#include <charconv>
#include <cstring>
#include <optional>

#include "base/error.h"

namespace mnm {
namespace {

static_assert(std::endian::native == std::endian::little);

template <typename T>
T load(std::span<const std::byte> bytes, std::uint64_t offset) {
  T value;
  std::memcpy(&value, bytes.data() + offset, sizeof value);
  return value;
}

// The header of a .npy file is a Python dict literal with the keys descr, fortran_order and shape.
// Only what NumPy itself writes is read.
class HeaderText {
 public:
  HeaderText(std::string_view text, const std::string& path, std::string_view what)
      : text_(text), path_(path), what_(what) {
    expect('{');
    while (!take('}')) {
      const std::string_view key = quoted();
      expect(':');
      if (key == "descr" && !descr) {
        if (peek() != '\'' && peek() != '"') {
          fail("cannot read {} from {}: its elements are structures, expected numbers", what_,
               path_);
        }
        descr = quoted();
      } else if (key == "fortran_order" && !fortran_order) {
        fortran_order = take_word("True");
        if (!*fortran_order && !take_word("False")) {
          refuse("fortran_order is neither True nor False");
        }
      } else if (key == "shape" && shape.empty()) {
        read_shape();
      } else {
        refuse(fmt::format("key '{}' is unknown or there twice", key));
      }
      if (!take(',') && peek() != '}') refuse("a comma is missing");
    }
    skip_space();
    if (at_ != text_.size()) refuse("something follows the closing brace");
    if (!descr || !fortran_order || shape.empty()) {
      refuse("descr, fortran_order or shape is missing");
    }
  }

  std::optional<std::string_view> descr;
  std::optional<bool> fortran_order;
  std::vector<std::uint64_t> shape;

 private:
  [[noreturn]] void refuse(const std::string& why) const {
    fail("cannot read {} from {}: its .npy header is malformed at byte {}: {}", what_, path_, at_,
         why);
  }
  void skip_space() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n')) ++at_;
  }
  char peek() {
    skip_space();
    return at_ < text_.size() ? text_[at_] : '\0';
  }
  bool take(char c) {
    if (peek() != c || at_ == text_.size()) return false;
    ++at_;
    return true;
  }
  void expect(char c) {
    if (!take(c)) refuse(fmt::format("expected '{}'", c));
  }
  bool take_word(std::string_view word) {
    skip_space();
    if (text_.substr(at_, word.size()) != word) return false;
    at_ += word.size();
    return true;
  }
  std::string_view quoted() {
    const char quote = peek();
    if (quote != '\'' && quote != '"') refuse("expected a quoted string");
    const std::size_t begin = ++at_, end = text_.find(quote, begin);
    if (end == std::string_view::npos) refuse("a string does not end");
    at_ = end + 1;
    return text_.substr(begin, end - begin);
  }
  void read_shape() {
    expect('(');
    while (!take(')')) {
      skip_space();
      std::uint64_t size = 0;
      const char* begin = text_.data() + at_;
      const auto [end, error] = std::from_chars(begin, text_.data() + text_.size(), size);
      if (error != std::errc()) refuse("shape is not a tuple of sizes");
      at_ += static_cast<std::size_t>(end - begin);
      shape.push_back(size);
      if (!take(',') && peek() != ')') refuse("shape is not a tuple of sizes");
    }
    if (shape.empty() || shape.size() > kNpyDimensions) {
      fail("cannot read {} from {}: the array has {} dimensions, expected 1 to {}", what_, path_,
           shape.size(), kNpyDimensions);
    }
  }

  std::string_view text_;
  const std::string& path_;
  std::string_view what_;
  std::size_t at_ = 0;
};

}  // namespace

std::optional<std::uint64_t> NpyHeader::elements_in(std::uint64_t file_bytes,
                                                    std::uint64_t element) const {
  const std::uint64_t room = file_bytes - offset;
  std::uint64_t elements = 1;
  for (const std::uint64_t size : shape) {
    if (size != 0 && elements > room / element / size) return std::nullopt;
    elements *= size;
  }
  if (elements * element != room) return std::nullopt;
  return elements;
}

NpyHeader read_npy_header(std::span<const std::byte> file, const std::string& name,
                          std::string_view what) {
  const auto refuse = [&](const std::string& why) {
    fail("cannot read {} from {}: {}", what, name, why);
  };
  if (file.size() < 10) refuse("its .npy header is cut off");
  const auto major = load<std::uint8_t>(file, 6);
  if (major < 1 || major > 3) {
    refuse(fmt::format(".npy version {}, expected 1, 2 or 3", major));
  }
  const std::uint64_t begin = major == 1 ? 10 : 12;
  if (file.size() < begin) refuse("its .npy header is cut off");
  const std::uint64_t length =
      major == 1 ? load<std::uint16_t>(file, 8) : load<std::uint32_t>(file, 8);
  if (length > file.size() - begin) {
    refuse(fmt::format("its .npy header of {} bytes is cut off after {}", length,
                       file.size() - begin));
  }
  const auto* const text = reinterpret_cast<const char*>(file.data() + begin);
  const HeaderText header({text, static_cast<std::size_t>(length)}, name, what);
  return {*header.descr, begin + length, header.shape, *header.fortran_order};
}

std::string npy_head(std::string_view descr, std::span<const std::int64_t> shape,
                     std::size_t bytes) {
  constexpr std::size_t kPrefix = 10;  // magic, version, header length
  std::string head = fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': ({}{}), }}",
                                 descr, fmt::join(shape, ", "), shape.size() == 1 ? "," : "");
  std::size_t whole = (kPrefix + head.size() + 1 + 63) / 64 * 64;
  while (whole < bytes) whole += 64;
  head.append(whole - 1 - (kPrefix + head.size()), ' ').append(1, '\n');
  std::string file(kNpyMagic);
  file += std::string_view("\x01\x00", 2);  // version
  file += static_cast<char>(head.size() & 0xff);
  file += static_cast<char>(head.size() >> 8);
  return file + head;
}

std::string npy_f32(std::span<const float> values) {
  const auto count = static_cast<std::int64_t>(values.size());
  std::string file = npy_head("<f4", {&count, 1});
  file.append(reinterpret_cast<const char*>(values.data()), values.size_bytes());
  return file;
}

}  // namespace mnm
