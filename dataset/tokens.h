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

#include "base/file.h"
#include "dataset/examples.h"
#include "dataset/token_format.h"

namespace mnm {

// A file of tokens, in one of these formats: raw bytes (one token per byte); llm.c's .bin shards
// (1,024-byte header, magic 20240520 for uint16 or 20240801 for uint32); .npy (one-dimensional,
// little-endian uint8, uint16, int32, uint32 or int64); numbers without a header, if `reading` says
// so; or text. Tokens stay in the file. Only the tokens of a text are held in memory.
//
// 1. A header is recognised by its content, whatever the file's name is. It counts more than
//    --token-format.
// 2. Text without a header is bytes if a byte is a token of the model: the model has at most 256
//    tokens, or its tokenizer maps token i to byte i. So is text that is not UTF-8, texts with a
//    zero byte after each, a file of fewer than 64 bytes, and a file whose bytes are all below a
//    vocabulary of fewer than 256.
// 3. Else text of at most kMostText bytes is tokenized, if the checkpoint's tokenizer can be read.
//    Tokenizing takes some 20 bytes of memory for each byte of the text. Token ids written as text,
//    JSON, web pages and pointers of Git LFS are not taken as text, unless `reading` says so.
// 4. Any other file is an Error, which says what the file looks like and what helps. So is a header
//    that is cut off, contradicts the size of the file, or names another element type. So is a file
//    that is written between two reads.
class TokenFile {
 public:
  static constexpr std::uint64_t kMostText = 16 << 20;

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
  void read_shard();
  void read_without_header(const TokenReading& reading);
  void read_as_recognised(const Resemblance& like, const TokenReading& reading);
  void read_text(const TextTokens& text);
  void take_numbers(Kind kind, std::string_view format);

  MappedFile file_;
  std::vector<std::int32_t> text_;  // its tokens, where it is text
  Kind kind_ = Kind::kU8;
  std::uint64_t offset_ = 0;  // of the first token's byte
  std::uint64_t size_ = 0;
  std::string format_;
};

// Sequences of tokens. Each position predicts the next token. The tokens of a file stay there and
// are read as they are needed. So a set takes no memory, however large it is.
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
  std::int64_t outputs() const override { return context; }
  void read_inputs(std::int64_t begin, std::int64_t n, std::span<std::byte> out) const override;
  void read_targets(std::int64_t begin, std::int64_t n, std::span<std::int64_t> out) const override;
  std::int64_t shared_with(const Examples& other) const override;
};

// load_examples (dataset/examples.h) for a token file and a vocabulary of this size.
TokenExamples load_token_examples(const ExampleOptions& options, std::int64_t vocab_size,
                                  std::int64_t max_context);

}  // namespace mnm
