#include "base/json.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <functional>
#include <random>
#include <set>

#include "tests/support/cpu_seconds.h"
#include "tests/support/error_of.h"
#include "tests/support/temp_dir.h"

namespace mnm {
namespace {

using test::contains;
using test::error_of;

TEST(Json, ReadsWhatIsSound) {
  EXPECT_EQ(parse_json("{\"a\":{\"b\":1},\"c\":{\"b\":[{\"b\":2},{\"b\":3}]}} \n", "x").dump(),
            R"({"a":{"b":1},"c":{"b":[{"b":2},{"b":3}]}})");
  const std::string deep = std::string(64, '[') + std::string(64, ']');
  EXPECT_EQ(parse_json(deep, "x").dump(), deep);
}

TEST(Json, RefusesWithFileAndReason) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"", "no JSON, it ends at line 1, column 1"},
      {"{", "ends at line 1, column 2"},
      {"[1,\n 2", "ends at line 2, column 3"},
      {"hello", "what stands at line 1, column 1 is not allowed there"},
      {"{\"a\":1,}", "no JSON, what stands at line 1, column 8"},
      {"{\n\"a\": NaN}", "line 2, column 6"},
      {"{} {}", "line 1, column 4"},
      {std::string("{}\0{", 4), "byte 2 is zero"},
      {"[1e999]", "no JSON, the number at line 1"},
      {"\"\xff\"", "no JSON"},
      {"{\"a\":1,\"a\":1}", "\"a\" twice"},
      {"[{\"k\":{\"a\":1,\"b\":2,\"a\":3}}]", "\"a\" twice"},
      {std::string(65, '[') + std::string(65, ']'), "deeper than 64"},
      {std::string(1'000'000, '['), "deeper than 64"},
      {"{\"\\u001b[31m\":1,\"\\u001b[31m\":1}", "\\u001b"},
  };
  for (const auto& [text, phrase] : cases) {
    const std::string error = error_of([&] { parse_json(text, "the/file"); });
    EXPECT_TRUE(contains(error, "the/file") && contains(error, phrase)) << error;
    for (const char* of_library : {"parse error", "syntax error", "last read", "json.exception"}) {
      EXPECT_FALSE(contains(error, of_library)) << error;
    }
    EXPECT_LT(error.size(), 400u);
  }
}

TEST(Json, LongTextIsQuotedInPart) {
  const std::string error = error_of([&] { parse_json('"' + std::string(1 << 20, 'x'), "f"); });
  EXPECT_TRUE(contains(error, "no JSON"));
  EXPECT_LT(error.size(), 400u);
}

TEST(Json, FilesAreReadWhole) {
  const test::TempDir dir;
  test::spew(dir / "a.json", "{\"x\": [1, 2]}");
  test::spew(dir / "python.json",
             R"({"a": [0.0, Infinity], "b": -Infinity,"c":NaN, "d": "NaN \" Infinity", "e": 1})");
  EXPECT_EQ(read_json(dir / "python.json").dump(),
            R"({"a":[0.0,null],"b":"-Infinity","c":"NaN","d":"NaN \" Infinity","e":1})");
  for (const char* text :
       {"{\"a\": infinity}", "{\"a\": Infinit}", "{\"a\": +Infinity}", "{NaN: 1}"}) {
    test::spew(dir / "other.json", text);
    EXPECT_TRUE(contains(error_of([&] { read_json(dir / "other.json"); }), "no JSON")) << text;
  }
  EXPECT_EQ(read_json(dir / "a.json").dump(), R"({"x":[1,2]})");
  test::spew(dir / "b.json", "{\"x\": [1, 2");
  EXPECT_TRUE(contains(error_of([&] { read_json(dir / "b.json"); }), "b.json"));
  EXPECT_TRUE(contains(error_of([&] { read_json(dir / "c.json"); }), "No such file"));
}

// A megabyte that was rebuilt for every NaN took hundreds of times as long.
TEST(Json, ListsOfNonNumbersCostAsMuchAsOthers) {
  const test::TempDir dir;
  const auto cost = [&](const std::string& item) {
    std::string text = "[";
    while (text.size() < 2'000'000) text += item + ",";
    test::spew(dir / "list.json", text + "0]");
    return test::cpu_seconds([&] { read_json(dir / "list.json"); });
  };
  const double plain = cost("null");
  EXPECT_LT(cost("NaN"), 10 * plain);
  EXPECT_LT(cost("-Infinity"), 10 * plain);
}

// Texts that libstdc++'s hash, MurmurHash64A with a seed that is the same everywhere, takes to one
// value: 2^parts of them, each of one of the two texts of 16 characters that stand for every part.
// After such a part its state is the same with either: the second 8 characters make up for what the
// first 8 did.
std::vector<std::array<std::string, 2>> same_to_the_standard_hash(std::size_t parts) {
  constexpr std::uint64_t kMul = 0xc6a4a7935bd1e995u;
  std::uint64_t inverse = kMul;
  for (int i = 0; i < 6; ++i) inverse *= 2 - kMul * inverse;
  const auto shifted = [](std::uint64_t value) { return value ^ value >> 47; };  // undoes itself
  const auto mixed = [&](std::uint64_t block) { return shifted(block * kMul) * kMul; };
  const auto unmixed = [&](std::uint64_t block) { return shifted(block * inverse) * inverse; };
  std::mt19937_64 random(1);
  const auto letters = [&] {
    std::uint64_t block = 0;
    for (int i = 0; i < 8; ++i) block = block << 8 | ('a' + random() % 26);
    return block;
  };
  const auto text_of = [](std::uint64_t block) {
    std::string text(8, ' ');
    std::memcpy(text.data(), &block, 8);
    return text;
  };
  const auto is_plain = [](const std::string& text) {
    return std::ranges::all_of(
        text, [](char c) { return ' ' <= c && c <= '~' && c != '"' && c != '\\'; });
  };
  std::uint64_t state = 0xc70f6907u ^ 16 * parts * kMul;
  std::vector<std::array<std::string, 2>> out;
  while (out.size() < parts) {
    const std::uint64_t first = letters(), other = letters();
    const std::uint64_t after = (state ^ mixed(first)) * kMul;
    const std::uint64_t after_other = (state ^ mixed(other)) * kMul;
    std::uint64_t second = 0, twin = 0;
    do {
      second = letters();
      twin = unmixed(mixed(second) ^ after ^ after_other);
    } while (!is_plain(text_of(twin)));
    out.push_back({text_of(first) + text_of(second), text_of(other) + text_of(twin)});
    state = (after ^ mixed(second)) * kMul;
  }
  return out;
}

// Whoever writes a file chooses the keys of its objects.
TEST(Json, KeysThatSomebodyChoseCostAsMuchAsOthers) {
  constexpr std::size_t kBits = 14;
  const std::vector<std::array<std::string, 2>> parts = same_to_the_standard_hash(kBits);
  std::mt19937_64 random(1);
  std::string chosen = "{", ordinary = "{";
  std::set<std::size_t> hashes;
  for (std::size_t key = 0; key < std::size_t{1} << kBits; ++key) {
    std::string text;
    for (std::size_t i = 0; i < kBits; ++i) text += parts[i][key >> i & 1];
    hashes.insert(std::hash<std::string>()(text));
    chosen += '"' + text + "\":0,";
    for (char& c : text) c = static_cast<char>('a' + random() % 26);
    ordinary += '"' + text + "\":0,";
  }
  EXPECT_EQ(hashes.size(), 1u) << "libstdc++ hashes in another way now";
  const auto cost = [](const std::string& text) {
    return test::cpu_seconds([&] { parse_json(text + "\"a\":0}", "x"); });
  };
  cost(ordinary);
  EXPECT_LT(cost(chosen), 10 * cost(ordinary));
}

}  // namespace
}  // namespace mnm
