#include "dataset/npy.h"

#include <fmt/ranges.h>

#include <bit>
#include <charconv>
#include <cstring>
#include <optional>

#include "model/error.h"

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
// Only what NumPy itself writes for a one-dimensional array is read.
class HeaderText {
 public:
  HeaderText(std::string_view text, const std::string& path) : text_(text), path_(path) {
    expect('{');
    while (!take('}')) {
      const std::string_view key = quoted();
      expect(':');
      if (key == "descr" && !descr) {
        if (peek() != '\'' && peek() != '"') {
          fail("cannot read tokens from {}: its elements are structures, expected integers", path_);
        }
        descr = quoted();
      } else if (key == "fortran_order" && !ordered_) {
        ordered_ = take_word("False") || take_word("True");  // alike in one dimension
        if (!ordered_) refuse("fortran_order is neither True nor False");
      } else if (key == "shape" && !length) {
        read_shape();
      } else {
        refuse(fmt::format("key '{}' is unknown or there twice", key));
      }
      if (!take(',') && peek() != '}') refuse("a comma is missing");
    }
    skip_space();
    if (at_ != text_.size()) refuse("something follows the closing brace");
    if (!descr || !ordered_ || !length) refuse("descr, fortran_order or shape is missing");
  }

  std::optional<std::string_view> descr;
  std::optional<std::uint64_t> length;

 private:
  [[noreturn]] void refuse(const std::string& why) const {
    fail("cannot read tokens from {}: its .npy header is malformed at byte {}: {}", path_, at_,
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
    std::size_t dimensions = 0;
    while (!take(')')) {
      skip_space();
      std::uint64_t size = 0;
      const char* begin = text_.data() + at_;
      const auto [end, error] = std::from_chars(begin, text_.data() + text_.size(), size);
      if (error != std::errc()) refuse("shape is not a tuple of sizes");
      at_ += static_cast<std::size_t>(end - begin);
      length = size;
      ++dimensions;
      if (!take(',') && peek() != ')') refuse("shape is not a tuple of sizes");
    }
    if (dimensions != 1) {
      fail("cannot read tokens from {}: the array has {} dimensions, expected one", path_,
           dimensions);
    }
  }

  std::string_view text_;
  const std::string& path_;
  std::size_t at_ = 0;
  bool ordered_ = false;
};

}  // namespace

NpyHeader read_npy_header(std::span<const std::byte> file, const std::string& name) {
  if (file.size() < 10) fail("cannot read tokens from {}: its .npy header is cut off", name);
  const auto major = load<std::uint8_t>(file, 6);
  if (major < 1 || major > 3) {
    fail("cannot read tokens from {}: .npy version {}, expected 1, 2 or 3", name, major);
  }
  const std::uint64_t begin = major == 1 ? 10 : 12;
  if (file.size() < begin) fail("cannot read tokens from {}: its .npy header is cut off", name);
  const std::uint64_t length =
      major == 1 ? load<std::uint16_t>(file, 8) : load<std::uint32_t>(file, 8);
  if (length > file.size() - begin) {
    fail("cannot read tokens from {}: its .npy header of {} bytes is cut off after {}", name,
         length, file.size() - begin);
  }
  const auto* const text = reinterpret_cast<const char*>(file.data() + begin);
  const HeaderText header({text, static_cast<std::size_t>(length)}, name);
  return {*header.descr, begin + length, *header.length};
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
