#include "dataset/file_signature.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>

#include "base/shell_word.h"
#include "dataset/llm_c_shard.h"
#include "dataset/numpy_command.h"

namespace mnm {
namespace {

using Kind = Resemblance::Kind;
using namespace std::string_view_literals;

template <typename T>
T load(std::string_view bytes, std::size_t offset) {
  T value;
  std::memcpy(&value, bytes.data() + offset, sizeof value);
  return value;
}

constexpr std::string_view kAsArray = "save its tokens as a one-dimensional array with numpy.save";
constexpr std::string_view kUnpack = "unpack it first";
constexpr std::string_view kOther = "give a file of tokens or text";
constexpr std::string_view kConvert = "convert it first";
constexpr std::string_view kFromUtf16 = "iconv -f UTF-16 -t UTF-8";
constexpr std::string_view kFromUtf32 = "iconv -f UTF-32 -t UTF-8";

struct Signature {
  std::size_t at;
  std::string_view magic, what, help;
  std::string_view filter = {};  // a program that does what the help says
  bool begins_text = false;      // a text may begin so too
};
constexpr Signature kSignatures[] = {
    {0, "\x1f\x8b\x08"sv, "gzip", kUnpack, "gunzip"},
    {0, "\x28\xb5\x2f\xfd"sv, "zstd", kUnpack, "unzstd"},
    {0,
     "\xfd"
     "7zXZ\0"sv,
     "xz", kUnpack, "unxz"},
    {0, "BZh"sv, "bzip2", kUnpack, "bunzip2", true},
    {0, "\x04\x22\x4d\x18"sv, "lz4", kUnpack, "unlz4"},
    {0, "\x02\x21\x4c\x18"sv, "lz4", kUnpack, "unlz4"},
    {0, "\x89LZO\0\r\n\x1a\n"sv, "lzop", kUnpack, "lzop -d"},
    {0, "Rar!"sv, "a RAR archive", kUnpack},
    {0, "7z\xbc\xaf\x27\x1c"sv, "a 7z archive", kUnpack},
    {257, "ustar"sv, "a tar archive", kUnpack},
    {0, "PAR1"sv, "Parquet", kAsArray},
    {0, "ARROW1"sv, "Arrow", kAsArray},
    {0, "FEA1"sv, "Feather", kAsArray},
    {0, "Obj\x01"sv, "Avro", kAsArray},
    {0, "ORC"sv, "ORC", kAsArray, "", true},
    {0, "\x89HDF\r\n\x1a\n"sv, "HDF5", kAsArray},
    {0, "SQLite format 3"sv, "an SQLite database", kAsArray},
    {0, "GGUF"sv, "a GGUF model", kOther},
    {0, "RIFF"sv, "RIFF (sound, pictures)", kOther, "", true},
    {0, "%PDF-"sv, "PDF", "extract its text first"},
    {0, "\x89PNG\r\n"sv, "a PNG image", kOther},
    {0, "\xff\xd8\xff"sv, "a JPEG image", kOther},
    {0,
     "\x7f"
     "ELF"sv,
     "a program", kOther},
    // The longer marks come first.
    {0, "\xff\xfe\0\0"sv, "text in UTF-32", kConvert, kFromUtf32},
    {0, "\0\0\xfe\xff"sv, "text in UTF-32", kConvert, kFromUtf32},
    {0, "\xff\xfe"sv, "text in UTF-16", kConvert, kFromUtf16},
    {0, "\xfe\xff"sv, "text in UTF-16", kConvert, kFromUtf16},
};

Resemblance foreign(std::string_view what, std::string help) {
  return {Kind::kForeign, std::string(what), std::move(help)};
}

std::string help_of(const Signature& signature, const std::filesystem::path& path) {
  if (signature.filter.empty()) return std::string(signature.help);
  const bool text = signature.help == kConvert;
  return fmt::format("{}: {}", signature.help,
                     filter_command(signature.filter, path, text ? ".utf8" : ""));
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
  const auto magic = load<std::int32_t>(bytes, 0);
  if (magic == kWeightsMagic || magic == kOptimizerMagic) {
    return foreign(magic == kWeightsMagic ? "a model's weights of llm.c, which hold no tokens"
                                          : "an optimizer's state of llm.c, which holds no tokens",
                   std::string(kOther));
  }
  std::string reversed(bytes.substr(0, 4));
  std::ranges::reverse(reversed);
  const auto there = load<std::int32_t>(reversed, 0);
  if (there == kShardMagicU16 || there == kShardMagicU32) {
    return foreign(
        "an llm.c shard whose numbers are big-endian",
        save_npy_of_numbers(path, there == kShardMagicU16 ? ">u2" : ">u4", ", offset=1024"));
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
        save_npy_of_numbers(path, width == 2 ? "<u2" : "<u4", ", offset=1024"));
  }
  return {};
}

// CRC-32C (Castagnoli), as TFRecord masks and stores it: "masked_crc32_of_length".
std::uint32_t masked_crc(std::string_view bytes) {
  std::uint32_t crc = ~0u;
  for (const char byte : bytes) {
    crc ^= static_cast<unsigned char>(byte);
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ (0x82f63b78u & (0u - (crc & 1u)));
  }
  crc = ~crc;
  return ((crc >> 15) | (crc << 17)) + 0xa282ead8u;
}

// What says itself by more than a few fixed bytes.
Resemblance structured_like(std::string_view bytes) {
  if (bytes.size() >= 16 && load<std::uint32_t>(bytes, 8) == masked_crc(bytes.substr(0, 8))) {
    return foreign("TFRecord", std::string(kAsArray));
  }
  // A message of the Arrow stream: a mark, and the length of its metadata, a multiple of 8.
  if (bytes.size() > 8 && bytes.starts_with("\xff\xff\xff\xff"sv)) {
    const auto length = load<std::uint32_t>(bytes, 4);
    if (length > 0 && length % 8 == 0 && length < bytes.size()) {
      return foreign("an Arrow stream", std::string(kAsArray));
    }
  }
  if (bytes.size() > 10 && bytes.substr(8, 2) == "{\"" &&
      load<std::uint64_t>(bytes, 0) <= bytes.size() - 8) {
    return foreign("safetensors", std::string(kAsArray));
  }
  return {};
}

}  // namespace

Resemblance foreign_like(std::string_view bytes, const std::filesystem::path& path, bool text) {
  if (bytes.starts_with("PK\x03\x04") || bytes.starts_with("PK\x05\x06")) {
    const std::string_view head = bytes.substr(0, 256);
    if (head.find(".pkl") != std::string_view::npos || path.extension() == ".pt") {
      return foreign("a pickled tensor of PyTorch (.pt)",
                     save_npy("torch", "torch.load(sys.argv[1], weights_only=True).numpy()", path));
    }
    return foreign("a zip archive, as NumPy's .npz",
                   save_npy("", "[*numpy.load(sys.argv[1]).values()][0]", path));
  }
  if (bytes.size() > 2 && bytes[0] == '\x80' && bytes[1] >= 2 && bytes[1] <= 5 &&
      bytes.back() == '.') {
    return foreign("a Python pickle", std::string(kAsArray));
  }
  if (bytes.starts_with("MMIDIDX\0\0"sv)) {
    return foreign("the index of a Megatron dataset", megatron_help(path));
  }
  if (Resemblance found = structured_like(bytes); found.kind != Kind::kUnknown) return found;
  for (const Signature& signature : kSignatures) {
    if (signature.begins_text && text) continue;
    if (bytes.size() > signature.at && bytes.substr(signature.at).starts_with(signature.magic)) {
      return foreign(signature.what, help_of(signature, path));
    }
  }
  return shard_like(bytes, path);
}

}  // namespace mnm
