// Which of the formats a file of tokens has: what the user says, what a header says, and what a
// file without a header resembles.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace mnm {

enum class TokenFormat : std::uint8_t {
  kRecognised,  // what its header says; without a header bytes or text, where the model allows it
  kBytes,       // one token a byte, whatever the file is
  kU16,         // little-endian, without a header: nanoGPT, dolma
  kU32,         // likewise; Megatron's int32 is the same
  kLlmC,        // a shard with its header of 1,024 bytes
  kText,        // UTF-8, tokenized as the checkpoint's tokenizer does
};
// In the order of the enumeration, without the first.
inline constexpr std::string_view kTokenFormats[] = {"bytes", "u16", "u32", "llm.c", "text"};
// Nothing is kRecognised. UsageError names the others.
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
  std::function<TextTokens()> text{};  // asked where it matters alone; empty: no tokenizer
};

// What a file seems to be that has neither of the headers that are read.
struct Resemblance {
  enum class Kind : std::uint8_t {
    kForeign,  // a format of other programs, known by its signature
    kText,     // UTF-8 without control characters
    kNumbers,  // numbers without a header, more than a byte each
    kUnknown,
  };
  Kind kind = Kind::kUnknown;
  std::string what;  // "a zip archive, as .npz and .pt are"; empty if unknown
  std::string help;  // what to do about it, a command where there is one
};

// By the first bytes, the size and the files beside it. Numbers are those that are all below
// vocab_size, so they are a guess; for a vocabulary of at most 256 only where their upper bytes are
// all zero, since there any byte is a token.
Resemblance resemblance_of(std::span<const std::byte> bytes, const std::filesystem::path& path,
                           std::int64_t vocab_size);

}  // namespace mnm
