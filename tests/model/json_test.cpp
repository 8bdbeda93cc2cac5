#include "model/json.h"

#include <gtest/gtest.h>

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
      {"", "no JSON"},
      {"{", "line 1, column 2"},
      {"{\"a\":1,}", "no JSON"},
      {"{\n\"a\": NaN}", "line 2"},
      {"{} {}", "no JSON"},
      {std::string("{}\0{", 4), "byte 2 is zero"},
      {"[1e999]", "no JSON"},
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

}  // namespace
}  // namespace mnm
