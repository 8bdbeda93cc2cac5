#include "dataset/token_format.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>

#include "dataset/llm_c_shard.h"
#include "model/error.h"
#include "model/shell_word.h"

namespace mnm {
namespace {

using Kind = Resemblance::Kind;

constexpr std::size_t kSample = 1 << 20;  // bytes that a guess looks at

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

// A command that makes a .npy file of what `expression` reads.
std::string save_npy(std::string_view imports, std::string_view expression) {
  return fmt::format(
      "save it as one array: python3 -c {}",
      shell_quoted(fmt::format("import {}; numpy.save(\"tokens.npy\", {})", imports, expression)));
}

std::string from_file(const std::filesystem::path& path, std::string_view type,
                      std::string_view more = "") {
  return save_npy("numpy", fmt::format("numpy.fromfile(r\"{}\", \"{}\"{}).astype(\"<i4\")",
                                       path.string(), type, more));
}

struct Signature {
  std::size_t at;
  std::string_view magic, what, help;
};
constexpr std::string_view kAsArray = "save its tokens as a one-dimensional array with numpy.save";
constexpr std::string_view kUnpack = "unpack it first";
constexpr Signature kSignatures[] = {
    {0, {"\x1f\x8b\x08", 3}, "gzip", "unpack it first: gunzip -k"},
    {0, {"\x28\xb5\x2f\xfd", 4}, "zstd", "unpack it first: unzstd"},
    {0,
     {"\xfd"
      "7zXZ\0",
      6},
     "xz",
     "unpack it first: unxz -k"},
    {0, "BZh9", "bzip2", "unpack it first: bunzip2 -k"},
    {0, "Rar!", "a RAR archive", kUnpack},
    {0, {"7z\xbc\xaf\x27\x1c", 6}, "a 7z archive", kUnpack},
    {257, "ustar", "a tar archive", kUnpack},
    {0, "PAR1", "Parquet", kAsArray},
    {0, "ARROW1", "Arrow", kAsArray},
    {0, "\x89HDF\r\n\x1a\n", "HDF5", kAsArray},
    {0, "SQLite format 3", "an SQLite database", kAsArray},
    {0, "GGUF", "a GGUF model", "give a file of tokens or text"},
    {0, "%PDF-", "PDF", "extract its text first"},
    {0, "\x89PNG\r\n", "a PNG image", "give a file of tokens or text"},
    {0, "\xff\xd8\xff", "a JPEG image", "give a file of tokens or text"},
    {0,
     "\x7f"
     "ELF",
     "a program", "give a file of tokens or text"},
};

Resemblance foreign(std::string_view what, std::string help) {
  return {Kind::kForeign, std::string(what), std::move(help)};
}

// Of the numbers that a Megatron index names by a code: what reads them.
std::string megatron_help(const std::filesystem::path& index) {
  return fmt::format(
      "its tokens are in {} beside it: give that one with --token-format u16 or u32, whichever its "
      "type is",
      std::filesystem::path(index).replace_extension(".bin").string());
}

// A shard of llm.c's shape: 256 int32, the third of which is the number of tokens that follow.
Resemblance shard_like(std::string_view bytes, const std::filesystem::path& path) {
  if (bytes.size() < kShardHeader) return {};
  const auto magic = load<std::int32_t>(bytes, 0), there = swapped(magic);
  if (there == kShardMagicU16 || there == kShardMagicU32) {
    return foreign("an llm.c shard whose numbers are big-endian",
                   from_file(path, there == kShardMagicU16 ? ">u2" : ">u4", ", offset=1024"));
  }
  const auto count = load<std::int32_t>(bytes, 8);
  if (count <= 0) return {};
  for (const std::size_t width : {2, 4}) {
    if ((bytes.size() - kShardHeader) / width != static_cast<std::size_t>(count) ||
        (bytes.size() - kShardHeader) % width != 0) {
      continue;
    }
    return foreign(
        fmt::format("a shard of another project, whose header begins with {} and says {} tokens",
                    magic, count),
        from_file(path, width == 2 ? "<u2" : "<u4", ", offset=1024"));
  }
  return {};
}

Resemblance foreign_like(std::string_view bytes, const std::filesystem::path& path) {
  if (bytes.starts_with("PK\x03\x04") || bytes.starts_with("PK\x05\x06")) {
    const std::string_view head = bytes.substr(0, 256);
    const std::string file = fmt::format("r\"{}\"", path.string());
    if (head.find(".pkl") != std::string_view::npos || path.extension() == ".pt") {
      return foreign("a pickled tensor of PyTorch (.pt)",
                     save_npy("numpy, torch", fmt::format("torch.load({}).numpy()", file)));
    }
    return foreign("a zip archive, as NumPy's .npz",
                   save_npy("numpy", fmt::format("[*numpy.load({}).values()][0]", file)));
  }
  if (bytes.size() > 2 && bytes[0] == '\x80' && bytes[1] >= 2 && bytes[1] <= 5 &&
      bytes.back() == '.') {
    return foreign("a Python pickle", std::string(kAsArray));
  }
  if (bytes.starts_with(std::string_view("MMIDIDX\0\0", 9))) {
    return foreign("the index of a Megatron dataset", megatron_help(path));
  }
  if (bytes.size() > 10 && bytes.substr(8, 2) == "{\"" &&
      load<std::uint64_t>(bytes, 0) <= bytes.size() - 8) {
    return foreign("safetensors", std::string(kAsArray));
  }
  const bool marked = bytes.size() >= 4 && bytes.size() % 2 == 0 &&
                      ((bytes.starts_with("\xff\xfe") && bytes[3] == 0) ||
                       (bytes.starts_with("\xfe\xff") && bytes[2] == 0));
  if (marked) return foreign("text in UTF-16", "convert it first: iconv -f UTF-16 -t UTF-8");
  for (const Signature& signature : kSignatures) {
    if (bytes.size() > signature.at && bytes.substr(signature.at).starts_with(signature.magic)) {
      return foreign(signature.what, std::string(signature.help));
    }
  }
  return shard_like(bytes, path);
}

// UTF-8 without control characters other than those of white space. What a sample cuts off is let
// be.
bool is_text(std::string_view bytes) {
  const bool cut = bytes.size() > kSample;
  if (cut) bytes = bytes.substr(0, kSample);
  for (std::size_t at = 0; at < bytes.size();) {
    const auto lead = static_cast<unsigned char>(bytes[at]);
    if ((lead < 0x20 && (lead < '\t' || lead > '\r') && lead != 0x1b) || lead == 0x7f) return false;
    const std::size_t length = lead < 0x80                   ? 1
                               : lead >= 0xc2 && lead < 0xe0 ? 2
                               : lead >= 0xe0 && lead < 0xf0 ? 3
                               : lead >= 0xf0 && lead < 0xf5 ? 4
                                                             : 0;
    if (length == 0) return false;
    if (at + length > bytes.size()) return cut;
    for (std::size_t i = 1; i < length; ++i) {
      if ((static_cast<unsigned char>(bytes[at + i]) & 0xc0) != 0x80) return false;
    }
    at += length;
  }
  return true;
}

bool is_json_lines(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(" \t\r\n");
  if (begin == std::string_view::npos || text[begin] != '{') return false;
  const std::string_view line = text.substr(begin, text.find('\n', begin) - begin);
  return line.size() < kSample && nlohmann::json::accept(line);
}

// Whether the file is numbers of that type, each of them a token.
template <typename T>
bool numbers_below(std::string_view bytes, std::int64_t limit, bool big_endian = false) {
  if (bytes.size() % sizeof(T) != 0 || bytes.size() < 4 * sizeof(T)) return false;
  const std::size_t count = std::min(bytes.size(), kSample) / sizeof(T);
  for (std::size_t i = 0; i < count; ++i) {
    T value = load<T>(bytes, i * sizeof(T));
    if (big_endian) value = swapped(value);
    if (std::cmp_less(value, 0) || std::cmp_greater_equal(value, limit)) return false;
  }
  return true;
}

Resemblance numbers_like(std::string_view bytes, const std::filesystem::path& path,
                         std::int64_t vocab_size) {
  // Where a byte is a token any file is one of tokens: nothing but zeros between them says more.
  const std::string_view sample = bytes.substr(0, kSample);
  if (vocab_size <= 256 &&
      (bytes.size() < 64 || sample.find_first_not_of('\0') == std::string_view::npos)) {
    return {};
  }
  const std::int64_t limit = std::max<std::int64_t>(vocab_size, 1);
  const auto numbers = [](std::string_view type, std::string help) {
    return Resemblance{Kind::kNumbers, fmt::format("{} numbers without a header", type),
                       std::move(help)};
  };
  if (numbers_below<std::int64_t>(bytes, limit)) return numbers("int64", from_file(path, "<i8"));
  if (numbers_below<std::uint32_t>(bytes, limit)) {
    return numbers("uint32 or int32", "say so with --token-format u32");
  }
  if (numbers_below<std::uint16_t>(bytes, limit)) {
    return numbers("uint16", "say so with --token-format u16");
  }
  if (numbers_below<std::int64_t>(bytes, limit, true)) {
    return numbers("big-endian int64", from_file(path, ">i8"));
  }
  if (numbers_below<std::uint32_t>(bytes, limit, true)) {
    return numbers("big-endian uint32", from_file(path, ">u4"));
  }
  if (numbers_below<std::uint16_t>(bytes, limit, true)) {
    return numbers("big-endian uint16", from_file(path, ">u2"));
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
  if (Resemblance found = foreign_like(view, path); found.kind != Kind::kUnknown) return found;
  if (is_text(view)) {
    if (!is_json_lines(view)) return {Kind::kText, "text", ""};
    return {Kind::kText, "lines of JSON",
            fmt::format("write their text to a file of its own: jq -r .text {} > text.txt",
                        shell_quoted(path.string()))};
  }
  return numbers_like(view, path, vocab_size);
}

}  // namespace mnm
