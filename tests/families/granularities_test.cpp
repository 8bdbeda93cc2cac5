#include "families/granularities.h"

#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "tests/families/expect_error.h"

namespace mnm {
namespace {

using Layers = std::vector<std::vector<Width>>;

Layers resolve(const std::optional<nlohmann::json>& stated, const std::string& said,
               const std::vector<Width>& full) {
  return resolve_granularities(stated ? &*stated : nullptr, "key", said, full);
}

nlohmann::json json(const char* text) { return nlohmann::json::parse(text); }

TEST(Granularities, ComeFromConfigOrUserOrAreTheFullWidth) {
  const struct {
    const char* stated;  // nullptr: the config has none
    const char* said;
    std::vector<Width> full;
    Layers expected;
  } cases[] = {
      {nullptr, "", {512, 64}, {{512}, {64}}},
      {nullptr, "", {}, {}},
      {nullptr, "512", {512}, {{512}}},
      {nullptr, "64,128,512", {512, 512}, {{64, 128, 512}, {64, 128, 512}}},
      {nullptr, " 64, 512 ", {512}, {{64, 512}}},
      {nullptr, "1,2", {2}, {{1, 2}}},
      {nullptr, "1", {1}, {{1}}},
      {nullptr, "1/8,1/4,1/2,1", {512}, {{64, 128, 256, 512}}},
      {nullptr, "1/2,1", {512, 64}, {{256, 512}, {32, 64}}},
      {nullptr, "1/2,2/2", {10}, {{5, 10}}},
      {nullptr, "2147483646/2147483647,1", {2147483647}, {{2147483646, 2147483647}}},
      {"[64, 512]", "", {512, 512}, {{64, 512}, {64, 512}}},
      {"[[64, 512], [32]]", "", {512, 32}, {{64, 512}, {32}}},
      {"[64, 512]", "1/8,1", {512}, {{64, 512}}},
      {"[64, 512]", "64,512", {512}, {{64, 512}}},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(fmt::format("{} '{}'", c.stated == nullptr ? "none" : c.stated, c.said));
    EXPECT_EQ(resolve(c.stated ? std::optional(json(c.stated)) : std::nullopt, c.said, c.full),
              c.expected);
  }
}

TEST(Granularities, MalformedTextIsAUsageError) {
  const struct {
    const char* said;
    const char* part;
  } cases[] = {
      {"64,,512", "'' is neither"},
      {",512", "'' is neither"},
      {"512,", "'' is neither"},
      {" ", "'' is neither"},
      {"abc", "'abc' is neither"},
      {"64x512", "'64x512' is neither"},
      {"0,512", "'0' is neither"},
      {"-64,512", "'-64' is neither"},
      {"1/0,1", "'1/0' is neither"},
      {"1/,1", "'1/' is neither"},
      {"/2,1", "'/2' is neither"},
      {"1/2/4,1", "'1/2/4' is neither"},
      {"2147483648,512", "'2147483648' is neither"},
      {"99999999999999999999,512", "is neither"},
      {"64;512", "'64;512' is neither"},
      {"64,1024", "1024 is wider than layer 0's full width 512"},
      {"1/4,300,1", "mix shares and widths: 1/4 is a share of the full width, and 300"},
      {"1,2/1", "1024 is wider than layer 0's full width 512"},
      {"1/3,1", "1/3 of layer 0's full width 512 is no whole number"},
      {"512,64", "does not ascend at 64"},
      {"64,64,512", "does not ascend at 64"},
      {"1/2,256/512,1", "does not ascend at 256"},
      {"64,128", "ends with 128, expected the full width 512"},
      {"1/2", "ends with 256, expected the full width 512"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.said);
    test::expect_error<UsageError>([&] { resolve(std::nullopt, c.said, {512}); }, c.part);
  }
  test::expect_error<UsageError>([] { resolve(std::nullopt, "64,512", {512, 64}); }, "layer 1");
}

TEST(Granularities, MalformedConfigIsAnErrorThatNamesTheKey) {
  const struct {
    const char* stated;
    const char* part;
  } cases[] = {
      {"[]", "key is []"},
      {"512", "key is 512, expected a list"},
      {"\"64,512\"", "expected a list"},
      {"{\"0\": 512}", "expected a list"},
      {"[64, \"512\"]", "holds \"512\""},
      {"[64.0, 512]", "holds 64.0"},
      {"[0, 512]", "holds 0"},
      {"[-1, 512]", "holds -1"},
      {"[64, 4294967808]", "holds 4294967808"},
      {"[64, 18446744073709551615]", "holds 18446744073709551615"},
      {"[64, null, 512]", "holds null"},
      {"[512, 64]", "does not ascend"},
      {"[512, 512]", "does not ascend"},
      {"[64, 128]", "ends with 128, expected the full width 512"},
      {"[64, 1024]", "ends with 1024, expected the full width 512"},
      {"[[512]]", "holds 1 lists, expected one for each of the 2 layers"},
      {"[[512], [512], [512]]", "holds 3 lists"},
      {"[[512], []]", "key[1] is []: it is empty"},
      {"[[512], 512]", "key[1] is 512, which is no list: all entries must be lists"},
      {"[[512], null, [512]]", "key[1] is null, which is no list"},
      {"[[512], {}]", "key[1] is {}, which is no list"},
      {"[[512], [64]]", "key[1] is [64]: it ends with 64"},
      {"[512, [512]]", "key[0] is 512, which is no list"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.stated);
    test::expect_error<Error>([&] { resolve(json(c.stated), "", {512, 512}); }, c.part);
  }
}

TEST(Granularities, ConfigAndUserMustAgree) {
  test::expect_error<UsageError>([] { resolve(json("[64, 512]"), "128,512", {512}); },
                                 "differ from the config's key [64,512]");
}

}  // namespace
}  // namespace mnm
