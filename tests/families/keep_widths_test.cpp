#include "families/keep_widths.h"

#include <gtest/gtest.h>

#include <vector>

#include "tests/support/error_of.h"

namespace mnm {
namespace {

using test::contains;

WidthSpace five_layers() {
  WidthSpace space;
  space.layers.assign(5, {{64, 128, 256}, 1, true, ""});
  return space.with_untrained(32);
}

std::vector<Width> kept(const std::vector<std::string>& bounds, std::size_t layer) {
  WidthSpace space = five_layers();
  keep_widths(bounds, space);
  return space.choices(layer);
}

TEST(KeepWidths, LeavesWhatIsNoNarrower) {
  const std::vector<Width> all = five_layers().choices(0);
  ASSERT_EQ(all.front(), kSkip);
  for (const auto& [bound, widths] : std::vector<std::pair<std::string, std::vector<Width>>>{
           {"full", {256}},
           {"256", {256}},
           {"1/2", {128, 160, 192, 224, 256}},
           {"161", {192, 224, 256}},
           {"2/3", {192, 224, 256}},  // 170.7
           {"1", {64, 96, 128, 160, 192, 224, 256}}}) {
    SCOPED_TRACE(bound);
    const std::vector<std::string> bounds = {"0-1,3=" + bound};
    for (const std::size_t layer : {0u, 1u, 3u}) EXPECT_EQ(kept(bounds, layer), widths);
    for (const std::size_t layer : {2u, 4u}) EXPECT_EQ(kept(bounds, layer), all);
  }
  EXPECT_EQ(kept({"0=full;1=1/2", "2=full"}, 1).front(), 128);
  EXPECT_EQ(kept({"0=full;1=1/2", "2=full"}, 2).front(), 256);
  EXPECT_EQ(kept({}, 0), all);
}

TEST(KeepWidths, BoundsAreAlsoFromAbove) {
  for (const auto& [bound, widths] : std::vector<std::pair<std::string, std::vector<Width>>>{
           {"..128", {kSkip, 64, 96, 128}},
           {"..1/2", {kSkip, 64, 96, 128}},
           {"..2/3", {kSkip, 64, 96, 128, 160}},  // 170.7
           {"..full", {kSkip, 64, 96, 128, 160, 192, 224, 256}},
           {"96..", {96, 128, 160, 192, 224, 256}},
           {"100..1/2", {128}},
           {"128..128", {128}},
           {"1/2..full", {128, 160, 192, 224, 256}}}) {
    SCOPED_TRACE(bound);
    EXPECT_EQ(kept({"2=" + bound}, 2), widths);
    EXPECT_EQ(kept({"2=" + bound}, 1), five_layers().choices(1));
  }
}

TEST(KeepWidths, RefusesWhatIsNoBound) {
  const std::pair<std::string, std::string> cases[] = {
      {"", "expected layers and a width"},
      {"3", "expected layers and a width"},
      {"5=full", "there is no layer 5: the model has 5"},
      {"a=full", "expected numbers and ranges"},
      {"0-2=full;1=64", "layer 1 has a bound already"},
      {"0=257", "a width of 1 to 256"},
      {"0=3/2", "a width of 1 to 256"},
      {"0=0", "expected 'full', a fraction"},
      {"0=1/0", "expected 'full', a fraction"},
      {"0=-1", "expected 'full', a fraction"},
      {"0=wide", "expected 'full', a fraction"},
      {"0=", "expected 'full', a fraction"},
      {"0=..", "expected 'full', a fraction"},
      {"0=..0", "expected 'full', a fraction"},
      {"0=..257", "expected 'full', a fraction"},
      {"0=64..x", "expected 'full', a fraction"},
      {"0=64..128..256", "expected 'full', a fraction"},
      {"0=..63", "layer 0 has no granularity within it"},
      {"0=160..192", "layer 0 has no granularity within it"},
      {"0=256..64", "layer 0 has no granularity within it"},
  };
  for (const auto& [text, says] : cases) {
    const std::string error = test::usage_error_of([&, &bound = text] { kept({bound}, 0); });
    EXPECT_TRUE(contains(error, says)) << "'" << text << "': " << error;
  }
}

}  // namespace
}  // namespace mnm
