#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <limits>
#include <string>
#include <thread>
#include <vector>

#include "dataset/tokens.h"
#include "tests/support/error_of.h"
#include "tests/support/temp_dir.h"

namespace mnm {
namespace {

using test::contains;
using test::error_of;
using test::spew;
using test::TempDir;
using test::usage_error_of;

template <typename T>
std::string packed(const std::vector<T>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
}

std::string shard(std::int32_t magic, std::int32_t version, std::int32_t count,
                  const std::string& data) {
  std::vector<std::int32_t> header(256, 0);
  header[0] = magic;
  header[1] = version;
  header[2] = count;
  return packed(header) + data;
}

std::string npy(int version, const std::string& header, const std::string& data) {
  std::string bytes = "\x93NUMPY";
  bytes += {static_cast<char>(version), '\0'};
  const auto size = static_cast<std::uint32_t>(header.size());
  bytes.append(reinterpret_cast<const char*>(&size), version == 1 ? 2 : 4);
  return bytes + header + data;
}

std::string npy_dict(const std::string& descr, const std::string& shape) {
  return "{'descr': '" + descr + "', 'fortran_order': False, 'shape': " + shape + ", }";
}

// The same six tokens in every format.
const std::vector<std::int64_t> kTokens = {3, 0, 99, 7, 7, 255};
template <typename T>
std::string tokens() {
  return packed(std::vector<T>(kTokens.begin(), kTokens.end()));
}

struct Format {
  std::string format, file, bytes;
};
std::vector<Format> formats() {
  return {
      {"bytes", "a.txt", tokens<std::uint8_t>()},
      {"llm.c uint16", "a.bin", shard(20240520, 1, 6, tokens<std::uint16_t>())},
      {"llm.c uint32", "b.bin", shard(20240801, 7, 6, tokens<std::uint32_t>())},
      {"npy uint8", "u1.npy", npy(1, npy_dict("|u1", "(6,)"), tokens<std::uint8_t>())},
      {"npy uint16", "u2.npy", npy(1, npy_dict("<u2", "(6,)"), tokens<std::uint16_t>())},
      {"npy int32", "i4.npy", npy(2, npy_dict("<i4", "(6,)") + "  \n", tokens<std::int32_t>())},
      {"npy uint32", "u4.npy", npy(3, npy_dict("<u4", "(6,)"), tokens<std::uint32_t>())},
      // Unaligned data, other quotes and order, no trailing comma, a name that says nothing.
      {"npy int64", "i8",
       npy(1, "{\"shape\":(6,),\"fortran_order\":True,\"descr\":\"<i8\"}", tokens<std::int64_t>())},
  };
}

TEST(TokenFile, ReadsEveryFormat) {
  const TempDir dir;
  for (const Format& format : formats()) {
    spew(dir / format.file, format.bytes);
    const TokenFile file(dir / format.file);
    EXPECT_EQ(file.format(), format.format);
    ASSERT_EQ(file.size(), kTokens.size());
    std::vector<std::int64_t> out(kTokens.size());
    file.read(0, out, 256);
    EXPECT_EQ(out, kTokens) << format.format;
    std::vector<std::int64_t> part(2), nothing;
    file.read(4, part, 256);
    EXPECT_EQ(part, (std::vector<std::int64_t>{7, 255}));
    file.read(6, nothing, 256);
    EXPECT_TRUE(contains(error_of([&] { file.read(5, part, 256); }), "it has 6"));
    EXPECT_TRUE(
        contains(error_of([&] { file.read(std::numeric_limits<std::uint64_t>::max(), part, 256); }),
                 "it has 6"));
    const std::string outside = error_of([&] { file.read(1, {out.data(), 5}, 255); });
    EXPECT_TRUE(contains(outside, "token 255 at position 5 is outside the vocabulary of 255"))
        << outside;
  }
}

TEST(TokenFile, EveryTruncationIsRefused) {
  const TempDir dir;
  for (const Format& format : formats()) {
    if (format.format == "bytes") continue;
    // Shorter than its magic a file is bytes, except where its name says more.
    const bool named = format.file.ends_with(".npy");
    const std::size_t magic = named ? 0 : format.file == "i8" ? 6 : 4;
    spew(dir / format.file, format.bytes);
    for (std::size_t size = format.bytes.size(); size-- > 0;) {
      std::filesystem::resize_file(dir / format.file, size);
      const std::string error = error_of([&] { TokenFile{dir / format.file}; });
      EXPECT_EQ(error.empty(), size < magic) << format.format << " cut to " << size;
      EXPECT_TRUE(error.empty() || contains(error, "cannot read tokens from")) << error;
    }
    spew(dir / format.file, format.bytes + "x");
    EXPECT_TRUE(contains(error_of([&] { TokenFile{dir / format.file}; }), "bytes follow"));
  }
}

TEST(TokenFile, HostileHeadersAreRefused) {
  struct Case {
    std::string bytes, phrase;
  };
  const auto dict = [](const std::string& header) { return npy(1, header, "xx"); };
  const std::string order = "'fortran_order': False, ";
  const std::vector<Case> cases = {
      {shard(20240520, 7, 1, "xx"), "version 7, expected 1"},
      {shard(20240801, 1, 1, "xxxx"), "version 1, expected 7"},
      {shard(20240520, 1, -1, "xx"), "says -1 tokens"},
      {shard(20240520, 1, std::numeric_limits<std::int32_t>::max(), "xx"), "but 2 bytes follow"},
      {shard(20240520, 1, std::numeric_limits<std::int32_t>::min(), ""), "tokens"},
      {npy(4, npy_dict("|u1", "(2,)"), "xx"), "version 4"},
      {npy(0, npy_dict("|u1", "(2,)"), "xx"), "version 0"},
      {npy(2, npy_dict("|u1", "(2,)"), "xx").replace(8, 4, "\xff\xff\xff\xff"), "is cut off after"},
      {dict(npy_dict(">u2", "(1,)")), "'>u2'"},
      {dict(npy_dict("<f4", "(1,)")), "'<f4'"},
      {dict(npy_dict("<u8", "(1,)")), "'<u8'"},
      {dict(npy_dict("|O", "(1,)")), "'|O'"},
      {dict(npy_dict("|u1", "(1, 2)")), "2 dimensions"},
      {dict(npy_dict("|u1", "()")), "0 dimensions"},
      {dict(npy_dict("|u1", "(3,)")), "says 3 tokens of 1 bytes, but 2 bytes follow"},
      {dict(npy_dict("|u1", "(0,)")), "says 0 tokens"},
      {dict(npy_dict("<u2", "(9223372036854775809,)")), "but 2 bytes follow"},  // wraps to 2 bytes
      {dict(npy_dict("|u1", "(99999999999999999999999,)")), "shape is not a tuple"},
      {dict(npy_dict("|u1", "(-2,)")), "shape is not a tuple"},
      {dict(npy_dict("|u1", "(2 2)")), "shape is not a tuple"},
      {dict(npy_dict("|u1", "2")), "expected '('"},
      {dict(npy_dict("|u1", "(2")), "shape is not a tuple"},
      {dict(""), "expected '{'"},
      {dict("{"), "expected a quoted string"},
      {dict("{}"), "is missing"},
      {dict("{'descr"), "does not end"},
      {dict("{'descr'}"), "expected ':'"},
      {dict("{'descr': [('a', '<u2')], " + order + "'shape': (1,)}"), "are structures"},
      {dict("{'descr': '|u1', 'shape': (2,)}"), "is missing"},
      {dict("{'descr': '|u1', " + order + "'shape': (2,)} x"), "follows the closing brace"},
      {dict("{'descr': '|u1' " + order + "'shape': (2,)}"), "a comma is missing"},
      {dict("{'descr': '|u1', 'descr': '|u1', " + order + "'shape': (2,)}"), "there twice"},
      {dict("{'descr': '|u1', " + order + order + "'shape': (2,)}"), "there twice"},
      {dict("{'descr': '|u1', " + order + "'shape': (2,), 'shape': (2,)}"), "there twice"},
      {dict("{'descr': '|u1', 'fortran_order': 0, 'shape': (2,)}"), "neither True nor False"},
      {dict("{'descr': '|u1', 'align': 1, " + order + "'shape': (2,)}"), "'align' is unknown"},
  };
  const TempDir dir;
  for (const Case& c : cases) {
    spew(dir / "tokens.dat", c.bytes);
    const std::string error = error_of([&] { TokenFile{dir / "tokens.dat"}; });
    EXPECT_TRUE(contains(error, c.phrase)) << c.phrase << "\n" << error;
  }
  spew(dir / "text.npy", "no array at all");
  EXPECT_TRUE(contains(error_of([&] { TokenFile{dir / "text.npy"}; }), "named .npy"));
  EXPECT_TRUE(contains(error_of([&] { TokenFile{dir / "absent"}; }), "absent"));
}

TEST(TokenFile, NegativeAndHugeTokensAreOutsideTheVocabulary) {
  const TempDir dir;
  std::vector<std::int64_t> out(1);
  spew(dir / "a.npy", npy(1, npy_dict("<i8", "(1,)"), packed<std::int64_t>({-1})));
  EXPECT_TRUE(contains(error_of([&] { TokenFile(dir / "a.npy").read(0, out, 256); }), "token -1"));
  spew(dir / "b.npy", npy(1, npy_dict("<u4", "(1,)"), packed<std::uint32_t>({4294967295u})));
  EXPECT_TRUE(
      contains(error_of([&] { TokenFile(dir / "b.npy").read(0, out, 256); }), "token 4294967295"));
}

TEST(TokenFile, FingerprintIsOfFormatAndTokens) {
  const TempDir dir;
  spew(dir / "a", tokens<std::uint16_t>());
  spew(dir / "b", tokens<std::uint16_t>());
  spew(dir / "c", shard(20240520, 1, 6, tokens<std::uint16_t>()));
  EXPECT_EQ(TokenFile(dir / "a").fingerprint(), TokenFile(dir / "b").fingerprint());
  EXPECT_NE(TokenFile(dir / "a").fingerprint(), TokenFile(dir / "c").fingerprint());
}

TEST(Dataset, SequencesDoNotOverlapAndEveryTokenButTheFirstIsATarget) {
  const TempDir dir;
  std::string bytes;
  for (int i = 0; i < 23; ++i) bytes += static_cast<char>(i);
  spew(dir / "tokens", bytes);
  struct Case {
    std::int64_t context, max_tokens, sequences;
  };
  const Case cases[] = {{4, 0, 5},  {22, 0, 1}, {1, 0, 22},   {5, 0, 4},
                        {5, 11, 2}, {5, 5, 1},  {7, 1000, 3}, {11, 0, 2}};
  for (const Case& c : cases) {
    const TokenExamples data = load_token_examples(
        {.path = dir / "tokens", .context = c.context, .max_tokens = c.max_tokens}, 256, 64);
    EXPECT_EQ(data.name, "tokens");
    EXPECT_EQ(data.context, c.context);
    ASSERT_EQ(data.count, c.sequences);
    ASSERT_EQ(data.size(), static_cast<std::size_t>(c.sequences * c.context + 1));
    EXPECT_EQ(data.kind(), "tokens");
    EXPECT_EQ(data.input().shape, std::vector{c.context});
    for (std::int64_t begin = 0; begin < c.sequences; ++begin) {
      for (std::int64_t count = 0; begin + count <= c.sequences; ++count) {
        std::vector<std::int64_t> input(static_cast<std::size_t>(count * c.context));
        std::vector<std::int64_t> target = input;
        data.read_inputs(begin, count, std::as_writable_bytes(std::span(input)));
        data.read_targets(begin, count, target);
        for (std::size_t i = 0; i < input.size(); ++i) {
          EXPECT_EQ(input[i], begin * c.context + static_cast<std::int64_t>(i));
          EXPECT_EQ(target[i], input[i] + 1);
        }
      }
    }
  }
}

// Tokens stay in the file, in every format.
TEST(Dataset, TakesNoMemoryForItsTokensAndSeesAFileThatChanges) {
  const TempDir dir;
  for (const TokenFormat format : {TokenFormat::kBytes, TokenFormat::kU16, TokenFormat::kU32}) {
    spew(dir / "tokens", std::string(4004, '\0'));
    const TokenExamples data =
        load_token_examples({.path = dir / "tokens", .context = 10, .format = format}, 256, 64);
    EXPECT_EQ(data.tokens.capacity(), 0u);
    std::vector<std::int64_t> input(10, 1);
    data.read_targets(data.count - 1, 1, input);
    EXPECT_EQ(input, std::vector<std::int64_t>(10));
    std::this_thread::sleep_for(std::chrono::milliseconds(20));  // past a tick of the file's time
    spew(dir / "tokens", std::string(4004, '\1'));
    EXPECT_THROW(data.read_targets(0, 1, input), Error);
    std::filesystem::resize_file(dir / "tokens", 5);
    EXPECT_THROW(data.read_targets(data.count - 1, 1, input), Error);
  }
}

TEST(Dataset, ContextIsTheModelsUpTo256UnlessAsked) {
  const TempDir dir;
  spew(dir / "tokens", std::string(1000, 'a'));
  EXPECT_EQ(load_token_examples({.path = dir / "tokens"}, 256, 4096).context, 256);
  EXPECT_EQ(load_token_examples({.path = dir / "tokens"}, 256, 64).context, 64);
}

TEST(Dataset, RefusesWhatHoldsNoSequence) {
  const TempDir dir;
  spew(dir / "tokens", std::string(20, 'a'));
  spew(dir / "empty", "");
  struct Case {
    ExampleOptions options;
    std::string phrase;
  };
  const Case cases[] = {
      {{dir / "tokens", 20, 0}, "not one sequence of 20 tokens"},
      {{dir / "tokens", 10, 9}, "of which at most 9 may be used"},
      {{dir / "empty", 1, 0}, "holds 0 tokens"},
      {{dir / "tokens", 65, 0}, "longer than the model's 64 positions"},
      {{dir / "tokens", -1, 0}, "must not be negative"},
      {{dir / "tokens", 1, -1}, "must not be negative"},
  };
  for (const Case& c : cases) {
    const std::string error = usage_error_of([&] { load_token_examples(c.options, 256, 64); });
    EXPECT_TRUE(contains(error, c.phrase)) << error;
  }
  EXPECT_TRUE(contains(error_of([&] {
                         load_token_examples({dir / "tokens", 4, 0}, 97, 64);
                       }),
                       "token 97 at position 0 is outside the vocabulary of 97"));
}

TEST(Dataset, FingerprintIsOfTheTokensUsedAndTheContext) {
  const TempDir dir;
  std::string text = "the quick brown fox jumps";
  spew(dir / "a", text);
  spew(dir / "longer", text + "?");  // not one sequence of 8 more
  spew(dir / "wide.bin",
       shard(20240520, 1, 25, packed(std::vector<std::uint16_t>(text.begin(), text.end()))));
  text[24] = '!';
  spew(dir / "other", text);
  const auto fingerprint = [&](const char* name, std::int64_t context, std::int64_t max_tokens) {
    return load_token_examples({dir / name, context, max_tokens}, 256, 64).fingerprint;
  };
  const std::string all = fingerprint("a", 8, 0);
  EXPECT_EQ(all, fingerprint("longer", 8, 0));
  EXPECT_EQ(all, fingerprint("wide.bin", 8, 0));
  EXPECT_NE(all, fingerprint("other", 8, 0));  // its last target differs
  EXPECT_EQ(fingerprint("a", 8, 16), fingerprint("other", 8, 16));
  EXPECT_NE(all, fingerprint("a", 4, 0));
  EXPECT_NE(all, fingerprint("a", 8, 16));
}

}  // namespace
}  // namespace mnm
