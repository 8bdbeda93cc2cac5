// Token files, and the sequences that models are scored on.
//
// A token file is cut into sequences. With a context of C, sequence i is tokens [i*C, i*C + C] of
// the file. The first C of them are the input, and position t predicts token t + 1. So each
// sequence has C targets, of which a drawn share may be scored. Every token except the first of the
// file is a target once, and no model sees across the border of a sequence. Tokens left over at the
// end are not used.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "dataset/examples.h"
#include "dataset/token_format.h"
#include "model/files.h"

namespace mnm {

// Raw bytes (one token a byte), llm.c's .bin shards (1,024-byte header, magic 20240520 uint16 or
// 20240801 uint32), .npy (one-dimensional, little-endian uint8/uint16/int32/uint32/int64), numbers
// without a header where `reading` says so, or text. Tokens stay in the file, but for those of
// text, which are held.
//
// A header is recognised by content, whatever the name, and tells more than --token-format does. A
// file without one is bytes only where a byte is a token of the model: it has at most 256, or its
// tokenizer maps token i to byte i. Else text is tokenized, if the checkpoint's tokenizer is read.
// All others are Errors that name what the file looks like and what helps, as are headers that are
// cut off, contradict the file's size, or name another element type. So is a file that is written
// between two reads.
class TokenFile {
 public:
  explicit TokenFile(const std::filesystem::path& path, const TokenReading& reading = {});

  std::uint64_t size() const { return size_; }  // tokens
  std::string_view format() const;              // "bytes", "u16", "llm.c uint16", "text", ...
  // out[i] = token at begin + i. Error if any is outside [0, vocab_size): names file and position.
  void read(std::uint64_t begin, std::span<std::int64_t> out, std::int64_t vocab_size) const;
  const std::filesystem::path& path() const { return file_.path(); }
  std::string fingerprint() const;  // of format and tokens

 private:
  enum class Kind : std::uint8_t { kU8, kU16, kI32, kU32, kI64 };
  bool read_header();
  void read_npy();
  void read_shard(bool narrow);
  void read_without_header(const TokenReading& reading);
  void read_text(const TextTokens& text);
  void take_numbers(Kind kind, std::string_view format);
  std::span<const std::byte> tokens() const;  // where the numbers lie

  MappedFile file_;
  std::vector<std::int32_t> text_;  // its tokens, where it is text
  Kind kind_ = Kind::kU8;
  std::uint64_t offset_ = 0;  // of the first token's byte
  std::uint64_t size_ = 0;
  std::string format_;
};

// Sequences of tokens: each predicts the token after every one of its own. The tokens of a file
// stay there and are read as they are needed, so that a set takes no memory, however large it is.
class TokenExamples final : public Examples {
 public:
  // [count * context + 1]: the first of a file, or, without one, these.
  std::shared_ptr<const TokenFile> file;
  std::int64_t vocab_size = 0;  // of the model, which those of the file are held to
  std::vector<std::int32_t> tokens;

  std::uint64_t size() const;
  // out[i] = token at begin + i; Error as TokenFile::read has it.
  void read(std::uint64_t begin, std::span<std::int64_t> out) const;

  std::string_view kind() const override { return "tokens"; }
  InputSpec input() const override { return {InputType::kTokenIds, {context}}; }
  void read_inputs(std::int64_t begin, std::int64_t n, std::span<std::byte> out) const override;
  void read_targets(std::int64_t begin, std::int64_t n, std::span<std::int64_t> out) const override;
  std::int64_t shared_with(const Examples& other) const override;
};

// load_examples (dataset/examples.h) for a token file and a vocabulary of this size.
TokenExamples load_token_examples(const ExampleOptions& options, std::int64_t vocab_size,
                                  std::int64_t max_context);

}  // namespace mnm
