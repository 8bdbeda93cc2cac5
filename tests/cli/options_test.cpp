#include "cli/options.h"

#include <gtest/gtest.h>

#include <limits>

#include "base/error.h"
#include "base/quantity.h"

namespace mnm {
namespace {

struct Values {
  std::string dir, name = "evolution";
  std::vector<std::string> budgets;
  std::int64_t count = 7, tokens = 16384, odd = 12345;
  std::uint64_t seed = 1;
  double rate = 0.5, seconds = 0;
  bool force = false;
  Dtype dtype = Dtype::kBF16;
  CostKind cost = CostKind::kBytes;
  std::optional<std::int64_t> limit;
};

constexpr std::string_view kNames[] = {"uniform", "evolution", "grid"};

OptionTable table(Values& values) {
  OptionTable options("try", "What it does.");
  options.argument("DIR", required(text_value(values.dir, "")), "a directory")
      .option("strategy", choice_value(values.name, kNames), "how")
      .option("budget", texts_value(values.budgets, "LIMIT"), "a limit")
      .section("numbers")
      .option("count", count_value(values.count, 1, 10), "of things")
      .option("tokens", quantity_value(values.tokens, "N"), "of tokens")
      .option("odd", quantity_value(values.odd, "N"), "of odd things")
      .option("seed", count_value(values.seed), "of the generator")
      .option("rate", real_value(values.rate, 0, 1), "of learning")
      .option("time", duration_value(values.seconds), "at most")
      .option("limit", quantity_value(values.limit, "N"), "at most")
      .option("force", flag_value(values.force), "replace")
      .option("dtype", dtype_value(values.dtype), "of weights")
      .option("cost", cost_kind_value(values.cost), "axis");
  return options;
}

TEST(Options, SetTheVariablesTheyAreBoundTo) {
  Values v;
  OptionTable options = table(v);
  ASSERT_TRUE(options.parse({"--count",
                             "9",
                             "here",
                             "--budget=1.2M",
                             "--force",
                             "--budget",
                             "5K",
                             "--tokens",
                             "64KiB",
                             "--seed",
                             "18446744073709551615",
                             "--rate",
                             "1e-1",
                             "--time",
                             "1h30m",
                             "--limit",
                             "3M",
                             "--dtype",
                             "float16",
                             "--cost",
                             "flops",
                             "--strategy",
                             "grid"}));
  EXPECT_EQ(v.dir, "here");
  EXPECT_EQ(v.count, 9);
  EXPECT_EQ(v.budgets, (std::vector<std::string>{"1.2M", "5K"}));
  EXPECT_TRUE(v.force);
  EXPECT_EQ(v.tokens, 65536);
  EXPECT_EQ(v.seed, std::numeric_limits<std::uint64_t>::max());
  EXPECT_EQ(v.rate, 0.1);
  EXPECT_EQ(v.seconds, 5400);
  EXPECT_EQ(v.limit, 3000000);
  EXPECT_EQ(v.dtype, Dtype::kF16);
  EXPECT_EQ(v.cost, CostKind::kFlops);
  EXPECT_EQ(v.name, "grid");
  EXPECT_TRUE(options.given("count"));
  EXPECT_FALSE(options.given("odd"));
  EXPECT_EQ(options.text("budget"), "1.2M, 5K");
}

TEST(Options, AbsentOnesLeaveTheirVariablesAlone) {
  Values v;
  OptionTable options = table(v);
  ASSERT_TRUE(options.parse({"here"}));
  EXPECT_EQ(v.count, 7);
  EXPECT_FALSE(v.force);
  EXPECT_FALSE(v.limit);
  EXPECT_EQ(v.dtype, Dtype::kBF16);
}

TEST(Options, HelpTakesDefaultsFromTheVariables) {
  Values v;
  v.count = 3;
  const std::string help = table(v).help();
  for (const char* part :
       {"usage: mixnmatch try DIR [options]", "What it does.", "--count N", "(default 3)",
        "(default 0.5)", "(default bf16)", "(default bytes)", "(default evolution)",
        "uniform|evolution|grid", "(default 12345)", "numbers", "may be repeated"}) {
    EXPECT_NE(help.find(part), std::string::npos) << part << "\n" << help;
  }
  EXPECT_EQ(help.find("(default )"), std::string::npos) << help;
  std::size_t begin = 0;
  while (begin < help.size()) {
    const std::size_t end = help.find('\n', begin);
    EXPECT_LE(end - begin, 100u) << help.substr(begin, end - begin);
    begin = end + 1;
  }
}

// The default that is printed, given as the value, must mean the default.
TEST(Options, PrintedDefaultsReadBackAsThemselves) {
  Values v;
  OptionTable options = table(v);
  ASSERT_TRUE(options.parse({"here"}));
  Arguments arguments = {"here"};
  for (const auto& [name, text] : options.settings()) {
    if (name == "DIR" || name == "force" || text.empty()) continue;
    arguments.push_back("--" + name);
    arguments.push_back(text);
  }
  Values again;
  again.name.clear();
  again.count = again.tokens = again.odd = 0;
  again.seed = 0;
  again.rate = 0;
  again.dtype = Dtype::kF32;
  again.cost = CostKind::kParams;
  ASSERT_TRUE(table(again).parse(arguments));
  EXPECT_EQ(again.name, v.name);
  EXPECT_EQ(again.count, v.count);
  EXPECT_EQ(again.tokens, v.tokens);
  EXPECT_EQ(again.odd, v.odd);
  EXPECT_EQ(again.seed, v.seed);
  EXPECT_EQ(again.rate, v.rate);
  EXPECT_EQ(again.dtype, v.dtype);
  EXPECT_EQ(again.cost, v.cost);
}

TEST(Options, WrongUsageIsNamed) {
  const struct {
    Arguments arguments;
    const char* expected;
  } kCases[] = {
      {{}, "DIR is missing"},
      {{"a", "b"}, "'b' is one argument too many"},
      {{"a", "--buget", "1"}, "did you mean '--budget'"},
      {{"a", "--budge", "1"}, "did you mean '--budget'"},
      {{"a", "--count"}, "--count"},
      {{"a", "--count", "x"}, "'x' is not a whole number from 1 to 10"},
      {{"a", "--count", "11"}, "'11' is not a whole number from 1 to 10"},
      {{"a", "--count", "0"}, "'0' is not a whole number"},
      {{"a", "--count", "3.5"}, "'3.5' is not a whole number"},
      {{"a", "--count", ""}, "--count"},
      {{"a", "--count", "99999999999999999999"}, "not a whole number"},
      {{"a", "--seed=-1"}, "'-1' is not a whole number"},
      {{"a", "--count", "1", "--count", "2"}, "--count is given twice"},
      {{"a", "--force=yes"}, "force"},
      {{"a", "--strategy", "gird"}, "did you mean 'grid'"},
      {{"a", "--rate", "nan"}, "--rate"},
      {{"a", "--rate", "2"}, "outside 0 to 1"},
      {{"a", "--time", "5x"}, "not a time such as 90s, 10m or 1h30m"},
      {{"a", "--dtype", "f64"}, "--dtype"},
      {{"a", "--tokens", "many"}, "--tokens"},
  };
  for (const auto& c : kCases) {
    Values v;
    OptionTable options = table(v);
    try {
      options.parse(c.arguments);
      ADD_FAILURE() << "accepted: " << fmt::format("{}", fmt::join(c.arguments, " "));
    } catch (const UsageError& error) {
      EXPECT_NE(std::string(error.what()).find(c.expected), std::string::npos)
          << error.what() << "\nlacks: " << c.expected;
    }
  }
}

TEST(Options, RestoreSetsAsIfGiven) {
  Values v;
  OptionTable options = table(v);
  ASSERT_TRUE(options.parse({"here"}));
  options.restore("budget", {"1K", "2K"});
  options.restore("count", {"5"});
  EXPECT_EQ(v.budgets, (std::vector<std::string>{"1K", "2K"}));
  EXPECT_EQ(v.count, 5);
  EXPECT_TRUE(options.given("count"));
  EXPECT_THROW(options.restore("count", {"50"}), UsageError);
  EXPECT_THROW(options.restore("gone", {"1"}), Error);
}

TEST(Durations, ReadAndWritten) {
  const struct {
    const char* text;
    double seconds;
  } kGood[] = {{"90", 90},     {"90s", 90},        {"10m", 600},  {"1h30m", 5400}, {"1.5h", 5400},
               {"2d", 172800}, {"1h1m1s", 3661.0}, {"0.5s", 0.5}, {"250ms", 0.25}};
  for (const auto& c : kGood) EXPECT_EQ(parse_duration(c.text), c.seconds) << c.text;
  for (const char* text :
       {"", "m", "1m1h", "1s1s", "1ms1s", "1x", "-5", "1h30", "1.2.3s", "nan", " 5"}) {
    EXPECT_THROW(parse_duration(text), UsageError) << text;
  }
  EXPECT_EQ(duration_text(0.25), "250ms");
  EXPECT_EQ(duration_text(9.94), "9.9s");
  EXPECT_EQ(duration_text(9.97), "10s");
  EXPECT_EQ(duration_text(61), "1m01s");
  EXPECT_EQ(duration_text(5400), "1h30m");
  EXPECT_EQ(duration_text(std::numeric_limits<double>::infinity()), "?");
}

}  // namespace
}  // namespace mnm
