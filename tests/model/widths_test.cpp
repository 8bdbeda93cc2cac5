#include "model/widths.h"

#include <gtest/gtest.h>

#include <map>
#include <random>

#include "tests/support/error_of.h"

namespace mnm {
namespace {

TEST(Widths, Text) {
  const std::vector<std::pair<Widths, std::string>> cases = {
      {{}, ""},
      {{512}, "512"},
      {{512, 512}, "512x2"},
      {{512, 512, 512, 512, 256, 256}, "512x4,256x2"},
      {{64, 128, 64}, "64,128,64"},
      {{kSkip}, "-"},
      {{kSkip, kSkip, 64, kSkip}, "-x2,64,-"},
      {{2147483647}, "2147483647"},
  };
  for (const auto& [widths, text] : cases) {
    EXPECT_EQ(to_string(widths), text);
    if (widths.empty()) continue;  // no model has no layers
    EXPECT_EQ(parse_widths(text, widths.size()), widths) << text;
  }
}

TEST(Widths, ParsesUnmergedAndSpacedForms) {
  EXPECT_EQ(parse_widths("512,512,256x2", 4), (Widths{512, 512, 256, 256}));
  EXPECT_EQ(parse_widths(" 512 x 2 , - ,64 ", 4), (Widths{512, 512, kSkip, 64}));
  EXPECT_EQ(parse_widths("64x1,64x3", 4), (Widths(4, 64)));
}

TEST(Widths, UniformMeansOneWidthWhereverALayerLies) {
  for (const Widths& widths : {Widths{}, Widths{64}, Widths{64, 64, 64}, Widths{kSkip, kSkip}}) {
    EXPECT_TRUE(is_uniform(widths)) << to_string(widths);
  }
  for (const Widths& widths : {Widths{64, 128}, Widths{64, 64, 128}, Widths{64, kSkip, 64}}) {
    EXPECT_FALSE(is_uniform(widths)) << to_string(widths);
  }
}

TEST(Widths, ASingleValueMeansEveryLayer) {
  EXPECT_EQ(parse_widths("256", 8), Widths(8, 256));
  EXPECT_EQ(parse_widths("-", 3), Widths(3, kSkip));
  EXPECT_EQ(parse_widths("256", 1), Widths{256});
  // With a count it means what it says.
  EXPECT_THROW(parse_widths("256x1", 8), UsageError);
}

TEST(Widths, RoundTripAndCanonical) {
  std::mt19937 random(7);
  std::map<std::string, Widths> seen;
  for (int i = 0; i < 5000; ++i) {
    Widths widths(1 + random() % 6);
    for (Width& width : widths) width = static_cast<Width>(random() % 3) * 64;
    const std::string text = to_string(widths);
    ASSERT_EQ(parse_widths(text, widths.size()), widths) << text;
    // Among widths of one length, equal text means equal widths.
    const std::string key = std::to_string(widths.size()) + ":" + text;
    ASSERT_EQ(seen.emplace(key, widths).first->second, widths);
  }
}

TEST(Widths, RefusesEverythingElse) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"", "is no width"},
      {",", "is no width"},
      {"64,", "is no width"},
      {"64,,64", "is no width"},
      {"0", "is no width"},
      {"-64", "is no width"},
      {"+64", "is no width"},
      {"64.0", "is no width"},
      {"abc", "is no width"},
      {"2147483648x4", "is no width"},
      {"64x", "is no count"},
      {"64x0", "is no count"},
      {"64x-1", "is no count"},
      {"64x4x1", "is no count"},
      {"x4", "is no width"},
      {"64x5", "more than"},
      {"64x18446744073709551615", "more than"},
      {"64x18446744073709551616", "is no count"},
      {"64x4,64", "more than"},
      {"64x3", "name 3 layers"},
      {"64,64", "name 2 layers"},
      {"--", "is no width"},
      {"64 64", "is no width"},
      {"64x3,-x18446744073709551613", "more than"},
  };
  for (const auto& [text, phrase] : cases) {
    const std::string error = test::usage_error_of([&] { parse_widths(text, 4); });
    EXPECT_TRUE(test::contains(error, phrase)) << "'" << text << "': " << error;
  }
  EXPECT_THROW(parse_widths("64,64", 0), UsageError);
}

}  // namespace
}  // namespace mnm
