#include "dataset/token_format.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <set>
#include <span>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "base/progress.h"
#include "dataset/tokens.h"
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
      {"tokens.pt", std::string("PK\3\4") + std::string(26, '\1') + "x/data.pkl",
       "torch.load(sys.argv[1], weights_only=True)"},
      {"old.pt", "\x80\x02\x8a\x0al\xfc\x9c\x46\xf9 j\xa8P\x19.", "a Python pickle"},
      {"shard.bin", shard(20240899, false, packed<std::uint16_t>()), "\"<u2\", offset=1024"},
      {"big.bin", shard(20240520, true, packed<std::uint16_t>(true)), "\">u2\", offset=1024"},
      {"wiki.jsonl", lines, "jq -r .text"},
      {"wiki.txt", prose,
       "looks like text; the checkpoint's tokenizer is not read (there is none)"},
      {"wide.txt", "\xff\xfe" + wide, "iconv -f UTF-16 -t UTF-8 < "},
      {"unmarked.txt", wide, "iconv -f UTF-16LE -t UTF-8 < "},
      {"wiki.gz", std::string("\x1f\x8b\x08\0\0\0", 6), "unpack it first: gunzip < "},
      {"wiki.zst", "\x28\xb5\x2f\xfd zstd", "unpack it first: unzstd < "},
      {"wiki.xz",
       std::string("\xfd"
                   "7zXZ\0\0",
                   7),
       "unpack it first: unxz < "},
      {"gpt2_124M.bin", shard(20240326, false, packed<std::uint16_t>()),
       "a model's weights of llm.c, which hold no tokens"},
      {"state_00000020_00000.bin", shard(20240527, false, packed<std::uint16_t>()),
       "an optimizer's state of llm.c, which holds no tokens"},
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

// Only what --token-format reads as it is has such a format.
TEST(TokenFormat, NumbersSayByWhichFormatTheyAreRead) {
  const TempDir dir;
  const std::pair<std::string, std::optional<TokenFormat>> cases[] = {
      {packed<std::uint16_t>(), TokenFormat::kU16}, {packed<std::uint32_t>(), TokenFormat::kU32},
      {packed<std::int64_t>(), std::nullopt},       {packed<float>(), std::nullopt},
      {packed<std::uint16_t>(true), std::nullopt},  {packed<std::uint32_t>(true), std::nullopt}};
  for (const auto& [bytes, format] : cases) {
    const Resemblance like =
        resemblance_of(std::as_bytes(std::span(bytes)), dir / "tokens.bin", 600);
    EXPECT_EQ(like.kind, Resemblance::Kind::kNumbers) << like.what;
    EXPECT_EQ(like.format, format) << like.what;
  }
}

TEST(TokenFormat, WhereBytesAreTokensOnlyWhatIsPlainlyAnotherFormatIsRefused) {
  const TempDir dir;
  for (const std::string file : {"wiki.txt", "noise"}) {
    for (const Case& c : foreign()) {
      if (c.file != file) continue;
      spew(dir / file, c.bytes);
      EXPECT_EQ(TokenFile(dir / file).format(), "bytes");
      EXPECT_EQ(TokenFile(dir / file).size(), c.bytes.size());
    }
  }
  for (const std::string file :
       {"tokens.npz", "tokens.pt", "text_document.idx", "shard.bin", "wiki.jsonl"}) {
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

TEST(TokenFormat, ATextThatIsWrittenBeforeItIsTokenizedIsRefused) {
  const TempDir dir;
  spew(dir / "wiki.txt", "ab ab");
  const auto writes = [&] {
    spew(dir / "wiki.txt", "cd cd");
    return TextTokens{
        false,
        [](std::string_view text) { return std::vector<std::int64_t>(text.size() / 2, 321); }, ""};
  };
  for (const TokenFormat format : {TokenFormat::kRecognised, TokenFormat::kText}) {
    const std::string error = error_of([&] { TokenFile(dir / "wiki.txt", {format, 600, writes}); });
    EXPECT_TRUE(contains(error, "the file was written since it was opened")) << error;
  }
}

// Texts that are no text of a corpus, and what the refusal says.
std::vector<Case> texts_of_ids() {
  std::string lines, table = "id,token\n", spaced, pretty = "{\n \"tokens\": [\n", floats, sets;
  for (int i = 0; i < 300; ++i) {
    lines += std::to_string(i * 7 % 600) + "\n";
    table += fmt::format("{},{}\n", i, i * 7 % 600);
    spaced += std::to_string(i * 7 % 600) + " ";
    pretty += fmt::format("  {},\n", i * 7 % 600);
    floats += fmt::format("{:.18e}\n", i * 7 % 600 * 1.0);
    sets += "{\n  \"text\": \"a thing\"\n}\n";
  }
  const std::string bom = "\xef\xbb\xbf", array = "[" + spaced + "1]";
  std::string commas = array;
  std::ranges::replace(commas, ' ', ',');
  std::string many = "[";
  while (many.size() < (1 << 20) + 100) many += "{\"text\": \"a thing\"},\n";
  const std::string ids = "token ids written as text";
  return {
      {"ids.csv", lines, ids},
      {"table.csv", table, ids},
      {"ids.txt", spaced, ids},
      {"savetxt.txt", floats, ids},
      {"marked.txt", bom + spaced, ids},
      {"arr.json", commas, ids},
      {"crlf.jsonl", "[1,2,3]\r\n[4,5,6]\r\n", ids},
      {"pretty.json", pretty + "  7\n ]\n}\n", "jq -c .tokens"},
      {"dolma.jsonl", bom + "{\"text\": \"abc\"}\n{\"text\": \"abc\"}\n", "jq -r .text"},
      {"objects.json", sets, "looks like JSON"},
      {"large.json", many, "looks like JSON"},
      {"strings.json", "[\n\"a thing\",\n\"another\"\n]\n", "looks like JSON"},
      {"lfs.bin", "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n",
       "git lfs pull"},
      {"404.html", "\n<!DOCTYPE html>\n<html><title>404</title></html>", "a web page"},
      {"small.htm", "<HTML><body>gone</body></HTML>", "a web page"},
      {"denied.xml", "<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code></Error>", "XML"},
  };
}

// The commands of the help, run in a shell by programs that write down what they are given.
TEST(TokenFormat, ANameIsOneWordOfAnAdvisedCommandAndNoPartOfItsProgram) {
  const TempDir dir, bin;
  const std::string given = (dir / "given").string(), pwned = (dir / "pwned").string();
  for (const char* const program : {"python3", "jq"}) {
    spew(bin / program, fmt::format("#!/bin/sh\nprintf '%s\\0' \"$@\" > '{}'\n", given));
    std::filesystem::permissions(bin / program, std::filesystem::perms::owner_all);
  }
  std::vector<Case> cases = foreign();
  for (Case& c : texts_of_ids()) cases.push_back(std::move(c));
  const std::vector<std::string> names = {"-rf",
                                          "a b",
                                          "'$(touch $PWNED)'",
                                          "`touch $PWNED`;",
                                          "\"); import os; os.system(\"touch $PWNED\"); (\"",
                                          "''\"\"\"\\",
                                          "\n\t",
                                          "caf\xe9"};
  const auto help = [](const Case& c, const std::filesystem::path& file) {
    return resemblance_of(std::as_bytes(std::span(c.bytes)), file, 600).help;
  };
  std::set<std::string> tried;  // without the last word, the file
  int ran = 0;
  for (const Case& c : cases) {
    const auto extension = std::filesystem::path(c.file).extension();
    const std::string plain = help(c, std::filesystem::path("a").replace_extension(extension));
    if (!tried.insert(plain.substr(0, plain.rfind(" a."))).second) continue;
    for (const std::string& name : names) {
      const std::filesystem::path file = name + extension.string();
      const std::string advice = help(c, file);
      const std::size_t at = std::min(advice.find("python3 -c "), advice.find("jq -"));
      if (at == std::string::npos) continue;
      spew(bin / "advised", advice.substr(at));
      const std::string shell =
          fmt::format("cd '{0}' && PATH='{1}':$PATH PWNED='{2}' sh '{1}/advised'",
                      dir.path().string(), bin.path().string(), pwned);
      ASSERT_EQ(std::system(shell.c_str()), 0) << advice;
      std::vector<std::string> words;
      std::istringstream in(test::slurp(given));
      for (std::string word; std::getline(in, word, '\0');) words.push_back(word);
      ASSERT_EQ(words.size(), 3u) << advice;
      EXPECT_EQ(words[1].find(name), std::string::npos) << advice;
      EXPECT_EQ(words[2], (name.starts_with('-') ? "./" : "") + file.string()) << advice;
      ++ran;
    }
  }
  EXPECT_GT(ran, 50);
  EXPECT_FALSE(std::filesystem::exists(pwned));
}

TextTokens words() {
  return {false,
          [](std::string_view text) { return std::vector<std::int64_t>(text.size() / 2, 321); },
          ""};
}

TEST(TokenFormat, TextThatIsNoTextOfACorpusIsRefusedUnlessItIsCalledText) {
  const TempDir dir;
  for (const Case& c : texts_of_ids()) {
    spew(dir / c.file, c.bytes);
    const std::string error = error_of([&] {
      TokenFile(dir / c.file, {TokenFormat::kRecognised, 600, words});
    });
    EXPECT_TRUE(contains(error, c.phrase)) << c.file << ": " << error;
    EXPECT_TRUE(contains(error, "--token-format text")) << c.file << ": " << error;
    EXPECT_EQ(TokenFile(dir / c.file, {TokenFormat::kText, 600, words}).format(), "text") << c.file;
    // A model of bytes would take them in silence as well.
    const std::string of_bytes = error_of([&] { TokenFile{dir / c.file}; });
    EXPECT_TRUE(contains(of_bytes, c.phrase)) << c.file << ": " << of_bytes;
    EXPECT_TRUE(contains(of_bytes, "--token-format bytes")) << c.file << ": " << of_bytes;
    EXPECT_EQ(TokenFile(dir / c.file, {TokenFormat::kBytes}).size(), c.bytes.size());
  }
}

TEST(TokenFormat, TextIsTokenizedUpToALimit) {
  const TempDir dir;
  const TokenReading reading = {TokenFormat::kRecognised, 600, words};
  spew(dir / "a text", std::string(TokenFile::kMostText, 'a'));
  EXPECT_EQ(TokenFile(dir / "a text", reading).size(), TokenFile::kMostText / 2);
  spew(dir / "a text", std::string(TokenFile::kMostText + 1, 'a'));
  const std::string error = error_of([&] { TokenFile(dir / "a text", reading); });
  EXPECT_TRUE(contains(error, "16777217 bytes, and at most 16777216")) << error;
  EXPECT_TRUE(contains(error, "mixnmatch tokenize '" + (dir / "a text").string() + "'")) << error;
}

TEST(TokenFormat, TokenizingIsStopped) {
  const TempDir dir;
  spew(dir / "text", "some text");
  const auto stopping = []() -> TextTokens {
    return {false, [](std::string_view) -> std::vector<std::int64_t> { throw Stopped(); }, ""};
  };
  EXPECT_THROW(TokenFile(dir / "text", {TokenFormat::kText, 600, stopping}), Stopped);
}

TEST(TokenFormat, TextThatOnlyBeginsAsSomethingElseIsText) {
  const TempDir dir;
  for (const std::string text :
       {"[1] A. Author. A title, 2020.\n[2] B. Author.", "{ is a brace, and so is }.\n", "[ab",
        "1984 was written in 1948.", "BZh is how it begins", "ORC and elf", "RIFF raff",
        "x^2 + y^2 = 1", "version 2 of git-lfs", "<p>html</p>", "---\n+++\n", "(see above)"}) {
    spew(dir / "a.txt", text);
    EXPECT_EQ(TokenFile(dir / "a.txt", {TokenFormat::kRecognised, 600, words}).format(), "text")
        << text;
    EXPECT_EQ(TokenFile(dir / "a.txt").format(), "bytes") << text;
  }
}

std::string repeated(const std::string& begin, const std::string& text) {
  std::string bytes = begin;
  while (bytes.size() < 1600) bytes += text;
  return bytes;
}

TEST(TokenFormat, ForeignBinariesAreNoBytesOfAModelOfBytes) {
  const TempDir dir;
  const std::string prose = "some text about a thing\n";
  std::string noise, floats, wide;
  std::uint32_t state = 1;
  for (int i = 0; i < 1600; ++i)
    noise += static_cast<char>((state = state * 1664525 + 1013904223) >> 24);
  for (const std::int64_t id : ids()) {
    const auto value = static_cast<float>(id % 256);
    floats.append(reinterpret_cast<const char*>(&value), sizeof value);
  }
  for (const char c : repeated("", prose)) wide += {'\0', c};
  const std::vector<Case> cases = {
      {"a.arrow", repeated({"\xff\xff\xff\xff\x58\2\0\0", 8}, prose), "an Arrow stream"},
      {"a.bz2", "BZh1" + noise, "bunzip2"},
      {"a.lz4", repeated("\x04\x22\x4d\x18", prose), "unlz4"},
      {"a.lzo", repeated({"\x89LZO\0\r\n\x1a\n", 9}, prose), "lzop -d"},
      {"a.z", "x\x9c" + noise, "nothing that is known"},
      {"a.avro", repeated("Obj\1", prose), "Avro"},
      {"a.ftr", repeated("FEA1", prose), "Feather"},
      {"a.orc", "ORC" + noise, "ORC"},
      // A length of 3, its checksum as TensorFlow masks it, and a record.
      {"a.tfrecord", std::string("\3\0\0\0\0\0\0\0", 8) + "\xb0\x99\x49\x0e" + noise, "TFRecord"},
      {"a.mds", repeated({"\3\0\0\0\x14\0\0\0\x90\1\0\0", 12}, prose), "nothing that is known"},
      {"a.tar", repeated("a.txt" + std::string(95, '\0') + "0000644", prose),
       "nothing that is known"},
      {"a.f32", floats, "may be float32"},
      {"a.utf16", repeated("\xff\xfe", "\x22\x6f\x57\x5b"), "UTF-16"},
      {"odd.utf16", repeated("\xff\xfe", {"a\0b\0", 4}) + "\n", "UTF-16"},
      {"big.utf16", wide, "UTF-16BE"},
      {"a.utf32", repeated({"\0\0\xfe\xff", 4}, {"\0\0\0a", 4}), "UTF-32"},
      {"noise", noise, "nothing that is known"},
      {"zeros", std::string(1600, '\0'), "nothing that is known"},
  };
  for (const Case& c : cases) {
    spew(dir / c.file, c.bytes);
    const std::string error = error_of([&] { TokenFile{dir / c.file}; });
    EXPECT_TRUE(contains(error, c.phrase)) << c.file << ": " << error;
    EXPECT_TRUE(contains(error, "--token-format bytes")) << c.file << ": " << error;
    EXPECT_EQ(TokenFile(dir / c.file, {TokenFormat::kBytes}).size(), c.bytes.size()) << c.file;
  }
  // With many words a file of floats is none of 16-bit numbers.
  const std::string error = error_of([&] { TokenFile(dir / "a.f32", {.vocab_size = 49152}); });
  EXPECT_TRUE(contains(error, "may be float32") && contains(error, "\"<f4\"")) << error;
}

TEST(TokenFormat, WhatTokenizeWritesForAModelOfBytesIsReadUnasked) {
  const TempDir dir;
  std::string page = "<html><p>one page</p></html>", records = "{\"text\": \"a\"}\n",
              numbers = "1 2\n";
  for (std::string text : {std::string("plain text\n"), page, records, numbers,
                           std::string("caf\xe9 in latin-1, "), std::string("\xc3\xa9\f\x1b[0m")}) {
    const std::string bytes = repeated("", text + std::string(1, '\0'));
    spew(dir / "train.bin", bytes);
    EXPECT_EQ(TokenFile(dir / "train.bin").size(), bytes.size()) << text;
  }
  // A rare control character is in many a file of source code.
  spew(dir / "train.bin", repeated("", std::string(300, 'a') + "\1\n"));
  EXPECT_EQ(TokenFile(dir / "train.bin").format(), "bytes");
  // Ids of a vocabulary that has not all bytes need not be text.
  std::string below = repeated({"\0\0", 2}, "\1\2\3\4\5\6\7");
  spew(dir / "ids.bin", below);
  EXPECT_EQ(TokenFile(dir / "ids.bin", {.vocab_size = 65}).format(), "bytes");
}

}  // namespace
}  // namespace mnm
