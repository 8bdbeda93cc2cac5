#include "dataset/token_format.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/error.h"
#include "base/shell_word.h"
#include "dataset/file_signature.h"
#include "dataset/numpy_command.h"
#include "dataset/text_format.h"

namespace mnm {
namespace {

using Kind = Resemblance::Kind;

template <typename T>
T load(std::string_view bytes, std::size_t offset) {
  T value;
  std::memcpy(&value, bytes.data() + offset, sizeof value);
  return value;
}

template <typename T>
T swapped(T value) {
  auto* const bytes = reinterpret_cast<unsigned char*>(&value);
  std::reverse(bytes, bytes + sizeof value);
  return value;
}

// Whether the file is numbers of that type, each of them a token.
template <typename T>
bool numbers_below(std::string_view bytes, std::int64_t limit, bool big_endian = false) {
  if (bytes.size() % sizeof(T) != 0 || bytes.size() < 4 * sizeof(T)) return false;
  const std::size_t count = std::min(bytes.size(), kFormatSample) / sizeof(T);
  for (std::size_t i = 0; i < count; ++i) {
    T value = load<T>(bytes, i * sizeof(T));
    if (big_endian) value = swapped(value);
    if (std::cmp_less(value, 0) || std::cmp_greater_equal(value, limit)) return false;
  }
  return true;
}

// Whether the file is floating-point numbers of 32 bits: each is zero or of a usual size, as pairs
// of integers of 16 bits are not.
bool usual_floats(std::string_view bytes) {
  if (bytes.size() % sizeof(float) != 0 || bytes.size() < 16 * sizeof(float)) return false;
  const std::size_t count = std::min(bytes.size(), kFormatSample) / sizeof(float);
  bool fraction = false;
  for (std::size_t i = 0; i < count; ++i) {
    const float value = load<float>(bytes, i * sizeof(float));
    const float size = std::fabs(value);
    if (value != 0 && !(size > 1e-12f && size < 1e12f)) return false;
    fraction |= value != 0;
  }
  return fraction;
}

// Whether the file is characters of ASCII, each in 16 bits.
bool wide_text(std::string_view bytes, bool big_endian) {
  if (bytes.size() % 2 != 0 || bytes.size() < 8) return false;
  const std::string_view sample = bytes.substr(0, kFormatSample);
  for (std::size_t i = 0; i < sample.size(); i += 2) {
    const char low = sample[i + (big_endian ? 1 : 0)], high = sample[i + (big_endian ? 0 : 1)];
    const bool printed = (low >= ' ' && low <= '~') || (low >= '\t' && low <= '\r');
    if (high != 0 || !printed) return false;
  }
  return true;
}

// As --token-format spells it; of any but kRecognised.
std::string_view name_of(TokenFormat format) {
  return kTokenFormats[static_cast<std::size_t>(format) - 1];
}

Resemblance numbers_like(std::string_view bytes, const std::filesystem::path& path,
                         std::int64_t vocab_size) {
  // Where a byte is a token any file is one of tokens: nothing but zeros between them says more.
  const std::string_view sample = bytes.substr(0, kFormatSample);
  if (vocab_size <= 256 &&
      (bytes.size() < 64 || sample.find_first_not_of('\0') == std::string_view::npos)) {
    return {};
  }
  const std::int64_t limit = std::max<std::int64_t>(vocab_size, 1);
  const auto numbers = [](std::string_view type, std::string help) {
    return Resemblance{Kind::kNumbers, fmt::format("{} numbers without a header", type),
                       std::move(help)};
  };
  const auto read_by = [&](TokenFormat format, std::string_view type) {
    Resemblance like =
        numbers(type, fmt::format("if it is, say so with --token-format {}", name_of(format)));
    like.format = format;
    return like;
  };
  if (wide_text(bytes, false) || wide_text(bytes, true)) {
    const std::string program =
        fmt::format("iconv -f UTF-16{} -t UTF-8", wide_text(bytes, true) ? "BE" : "LE");
    return {Kind::kForeign, "text in UTF-16",
            fmt::format("convert it first: {}", filter_command(program, path, ".utf8"))};
  }
  if (usual_floats(bytes)) {
    return numbers("float32", fmt::format("if its tokens are such numbers, {}",
                                          save_npy_of_numbers(path, "<f4")));
  }
  if (numbers_below<std::int64_t>(bytes, limit))
    return numbers("int64", save_npy_of_numbers(path, "<i8"));
  if (numbers_below<std::uint32_t>(bytes, limit)) {
    return read_by(TokenFormat::kU32, "uint32 or int32");
  }
  if (numbers_below<std::uint16_t>(bytes, limit)) {
    return read_by(TokenFormat::kU16, "uint16");
  }
  if (numbers_below<std::int64_t>(bytes, limit, true)) {
    return numbers("big-endian int64", save_npy_of_numbers(path, ">i8"));
  }
  if (numbers_below<std::uint32_t>(bytes, limit, true)) {
    return numbers("big-endian uint32", save_npy_of_numbers(path, ">u4"));
  }
  if (numbers_below<std::uint16_t>(bytes, limit, true)) {
    return numbers("big-endian uint16", save_npy_of_numbers(path, ">u2"));
  }
  return {};
}

}  // namespace

TokenFormat parse_token_format(std::string_view name) {
  if (name.empty()) return TokenFormat::kRecognised;
  const auto* const found = std::ranges::find(kTokenFormats, name);
  if (found == std::end(kTokenFormats)) {
    fail_usage("'{}' is no format of tokens, expected one of {}", name,
               fmt::join(kTokenFormats, ", "));
  }
  return static_cast<TokenFormat>(found - std::begin(kTokenFormats) + 1);
}

Resemblance resemblance_of(std::span<const std::byte> bytes, const std::filesystem::path& path,
                           std::int64_t vocab_size) {
  const std::string_view view(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (view.empty()) return {Kind::kText, "an empty file", ""};
  const bool text = is_text(view);
  if (Resemblance found = foreign_like(view, path, text); found.kind != Kind::kUnknown) {
    return found;
  }
  if (text) return text_like(view, path);
  return numbers_like(view, path, vocab_size);
}

}  // namespace mnm
