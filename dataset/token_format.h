// Which format a file of tokens has: what the user says, what a header says, and what a file
// without a header looks like.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace mnm {

enum class TokenFormat : std::uint8_t {
  kRecognised,  // as its header says; else bytes or text, if the model allows it
  kBytes,       // one token a byte, whatever the file is
  kU16,         // little-endian, without a header: nanoGPT, dolma
  kU32,         // the same with 32 bits; Megatron's int32 is equal
  kLlmC,        // a shard with its header of 1,024 bytes
  kText,        // UTF-8, tokenized as the checkpoint's tokenizer does
};
// In the order of the enumeration, without the first value.
inline constexpr std::string_view kTokenFormats[] = {"bytes", "u16", "u32", "llm.c", "text"};
// Never returns kRecognised. UsageError names the formats.
TokenFormat parse_token_format(std::string_view name);

// How a checkpoint turns text into tokens.
struct TextTokens {
  bool bytes = false;  // token i is byte i, and no text becomes anything else
  std::function<std::vector<std::int64_t>(std::string_view)> encode;  // empty: text is not read
  std::string why_not;  // where it is empty: "there is no tokenizer.json"
};

// What a file of tokens is read for.
struct TokenReading {
  TokenFormat format = TokenFormat::kRecognised;
  std::int64_t vocab_size = 256;
  std::function<TextTokens()> text{};  // called only if it matters; empty: no tokenizer
};

// What a file without a header that we read seems to be.
struct Resemblance {
  enum class Kind : std::uint8_t {
    kForeign,  // a format of other programs, known by its signature
    kText,     // UTF-8 without control characters
    kNumbers,  // numbers without a header, more than a byte each
    kUnknown,
  };
  Kind kind = Kind::kUnknown;
  std::string what;                        // "a zip archive, as .npz and .pt are"; empty if unknown
  std::string help;                        // what to do about it, a command where there is one
  std::optional<TokenFormat> format = {};  // by which it is read, if its numbers are u16 or u32
};

// Guesses from the first bytes, the size, and the files beside it. A file is taken for numbers if
// all of them are below vocab_size. With a vocabulary of at most 256 any byte is a token, so there
// the upper bytes of all numbers must be zero.
Resemblance resemblance_of(std::span<const std::byte> bytes, const std::filesystem::path& path,
                           std::int64_t vocab_size);

}  // namespace mnm
