#include "dataset/token_format.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <vector>

#include "dataset/token_file.h"
#include "tests/support/error_of.h"
#include "tests/support/temp_dir.h"

namespace mnm {
namespace {

using test::contains;
using test::error_of;
using test::spew;
using test::TempDir;

// 600 tokens below 600, in some type and order of bytes.
std::vector<std::int64_t> ids() {
  std::vector<std::int64_t> ids;
  for (std::int64_t i = 0; i < 600; ++i) ids.push_back(i * 7 % 600);
  return ids;
}
template <typename T>
std::string packed(bool big_endian = false) {
  std::string bytes;
  for (const std::int64_t id : ids()) {
    const auto value = static_cast<T>(id);
    std::string one(reinterpret_cast<const char*>(&value), sizeof value);
    bytes += big_endian ? std::string(one.rbegin(), one.rend()) : one;
  }
  return bytes;
}

std::string shard(std::int32_t magic, bool swapped, const std::string& data) {
  std::string header(1024, '\0');
  const std::int32_t numbers[] = {magic, 1, 600};
  std::string begin(reinterpret_cast<const char*>(numbers), sizeof numbers);
  if (swapped) {
    for (std::size_t i = 0; i < 12; i += 4) std::reverse(&begin[i], &begin[i] + 4);
  }
  return header.replace(0, 12, begin) + data;
}

struct Case {
  std::string file, bytes, phrase;
};

// What other programs write, none of which says itself that it is tokens for a model of 600.
std::vector<Case> foreign() {
  const std::string text = "some text about a thing\n";
  std::string lines, prose, wide;
  for (int i = 0; i < 200; ++i) lines += "{\"text\": \"" + text.substr(0, 23) + "\"}\n";
  for (int i = 0; i < 200; ++i) prose += text;
  for (const char c : prose) wide += {c, '\0'};
  return {
      {"train.bin", packed<std::uint16_t>(), "uint16 numbers without a header"},
      {"text_document.bin", packed<std::int32_t>(), "--token-format u32"},
      {"ids.i64", packed<std::int64_t>(), "\"<i8\""},
      {"big.u16", packed<std::uint16_t>(true), "big-endian uint16"},
      {"big.u32", packed<std::uint32_t>(true), "big-endian uint32"},
      {"big.i64", packed<std::int64_t>(true), "big-endian int64"},
      {"dolma.npy", packed<std::uint16_t>(), "--token-format u16"},
      {"text_document.idx", std::string("MMIDIDX\0\0\1\0\0\0", 13), "text_document.bin"},
      {"tokens.npz", std::string("PK\3\4") + std::string(26, '\1') + "tokens.npy", "NumPy's .npz"},
      {"tokens.pt", std::string("PK\3\4") + std::string(26, '\1') + "x/data.pkl", "torch.load"},
      {"old.pt", "\x80\x02\x8a\x0al\xfc\x9c\x46\xf9 j\xa8P\x19.", "a Python pickle"},
      {"shard.bin", shard(20240899, false, packed<std::uint16_t>()), "\"<u2\", offset=1024"},
      {"big.bin", shard(20240520, true, packed<std::uint16_t>(true)), "\">u2\", offset=1024"},
      {"wiki.jsonl", lines, "jq -r .text"},
      {"wiki.txt", prose,
       "looks like text; the checkpoint's tokenizer is not read (there is none)"},
      {"wide.txt", "\xff\xfe" + wide, "UTF-16"},
      {"wiki.gz", std::string("\x1f\x8b\x08\0\0\0", 6), "gunzip"},
      {"part.parquet", std::string("PAR1\x15\0", 6), "Parquet"},
      {"model.safetensors", std::string("\x02\0\0\0\0\0\0\0{\"", 10) + "}  ", "safetensors"},
      {"noise", "\xff\x01\xff\xff\x80\x81\xfe", "--token-format"},
  };
}

TEST(TokenFormat, WhatIsNoFileOfTokensIsNamedAndRefused) {
  const TempDir dir;
  for (const Case& c : foreign()) {
    spew(dir / c.file, c.bytes);
    const std::string error = error_of([&] { TokenFile(dir / c.file, {.vocab_size = 600}); });
    EXPECT_TRUE(contains(error, c.phrase)) << c.file << ": " << error;
    EXPECT_TRUE(contains(error, "cannot read tokens from")) << error;
  }
}

TEST(TokenFormat, WhereBytesAreTokensOnlyWhatIsPlainlyAnotherFormatIsRefused) {
  const TempDir dir;
  for (const std::string file : {"wiki.jsonl", "wiki.txt", "noise"}) {
    for (const Case& c : foreign()) {
      if (c.file != file) continue;
      spew(dir / file, c.bytes);
      EXPECT_EQ(TokenFile(dir / file).format(), "bytes");
      EXPECT_EQ(TokenFile(dir / file).size(), c.bytes.size());
    }
  }
  for (const std::string file : {"tokens.npz", "tokens.pt", "text_document.idx", "shard.bin"}) {
    for (const Case& c : foreign()) {
      if (c.file != file) continue;
      spew(dir / file, c.bytes);
      EXPECT_TRUE(contains(error_of([&] { TokenFile{dir / file}; }), c.phrase)) << file;
    }
  }
  // A vocabulary of 65 letters as nanoGPT stores it.
  std::string letters;
  for (int i = 0; i < 100; ++i) letters += {static_cast<char>(i % 65), '\0'};
  spew(dir / "train.bin", letters);
  EXPECT_TRUE(contains(error_of([&] { TokenFile(dir / "train.bin", {.vocab_size = 65}); }),
                       "--token-format u16"));
  EXPECT_EQ(TokenFile(dir / "train.bin", {TokenFormat::kBytes, 65}).size(), 200u);
  EXPECT_EQ(TokenFile(dir / "train.bin", {TokenFormat::kU16, 65}).size(), 100u);
}

TEST(TokenFormat, WhatTheUserSaysIsRead) {
  const TempDir dir;
  spew(dir / "train.bin", packed<std::uint16_t>());
  spew(dir / "wide.bin", packed<std::int32_t>());
  std::vector<std::int64_t> out(600);
  for (const auto& [file, format] :
       {std::pair{"train.bin", TokenFormat::kU16}, {"wide.bin", TokenFormat::kU32}}) {
    const TokenFile tokens(dir / file, {format, 600});
    ASSERT_EQ(tokens.size(), 600u);
    tokens.read(0, out, 600);
    EXPECT_EQ(out, ids());
  }
  EXPECT_EQ(TokenFile(dir / "train.bin", {TokenFormat::kBytes, 600}).size(), 1200u);
  EXPECT_TRUE(contains(error_of([&] {
                         TokenFile(dir / "train.bin", {TokenFormat::kLlmC, 600});
                       }),
                       "does not begin as a shard"));
  spew(dir / "odd", "abc");
  EXPECT_TRUE(contains(error_of([&] {
                         TokenFile(dir / "odd", {TokenFormat::kU16, 600});
                       }),
                       "no multiple of 2"));
  // A header says more than the option.
  spew(dir / "shard.bin", shard(20240520, false, packed<std::uint16_t>()));
  EXPECT_EQ(TokenFile(dir / "shard.bin", {TokenFormat::kU32, 600}).format(), "llm.c uint16");
  EXPECT_EQ(parse_token_format("llm.c"), TokenFormat::kLlmC);
  EXPECT_EQ(parse_token_format(""), TokenFormat::kRecognised);
  EXPECT_TRUE(contains(test::usage_error_of([] { parse_token_format("u8"); }), "bytes, u16"));
}

TEST(TokenFormat, TextIsTokenizedWhereTheTokenizerIsRead) {
  const TempDir dir;
  spew(dir / "wiki.txt", "ab ab");
  const auto words = [] {
    return TextTokens{
        false,
        [](std::string_view text) { return std::vector<std::int64_t>(text.size() / 2, 321); }, ""};
  };
  const auto letters = [] { return TextTokens{true, {}, ""}; };
  for (const TokenFormat format : {TokenFormat::kRecognised, TokenFormat::kText}) {
    const TokenFile file(dir / "wiki.txt", {format, 600, words});
    EXPECT_EQ(file.format(), "text");
    ASSERT_EQ(file.size(), 2u);
    std::vector<std::int64_t> out(2);
    file.read(0, out, 600);
    EXPECT_EQ(out, (std::vector<std::int64_t>{321, 321}));
    EXPECT_EQ(TokenFile(dir / "wiki.txt", {format, 600, letters}).format(), "bytes");
  }
  EXPECT_EQ(TokenFile(dir / "wiki.txt", {TokenFormat::kBytes, 600, words}).size(), 5u);
  EXPECT_TRUE(contains(error_of([&] {
                         TokenFile(dir / "wiki.txt", {TokenFormat::kText, 600});
                       }),
                       "there is none"));
  // Of a vocabulary of 256 whose tokenizer is no byte's, text is text and the rest is bytes.
  EXPECT_EQ(TokenFile(dir / "wiki.txt", {TokenFormat::kRecognised, 256, words}).format(), "text");
  spew(dir / "ids", "\x80\x02\xff");
  EXPECT_EQ(TokenFile(dir / "ids", {TokenFormat::kRecognised, 256, words}).format(), "bytes");
}

}  // namespace
}  // namespace mnm
