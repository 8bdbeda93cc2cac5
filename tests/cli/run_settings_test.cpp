#include "cli/run_settings.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "tests/support/error_of.h"

namespace mnm {
namespace {

struct Values {
  std::filesystem::path directory;
  std::vector<std::string> budgets;
  std::uint64_t seed = 1;
  int threads = 0;
};

OptionTable table(Values& values) {
  OptionTable options("try", "What it does.");
  options.argument("DIR", of_run(path_value(values.directory)), "a directory")
      .option("budget", of_run(texts_value(values.budgets, "LIMIT")), "a limit")
      .option("seed", of_run(count_value(values.seed)), "of the generator")
      .option("threads", threads_value(values.threads), "of the CPU");
  return options;
}

RunRow run_of(const std::string& settings) {
  RunRow run;
  run.id = 7;
  run.command = "try";
  run.settings = settings;
  return run;
}

TEST(RunSettings, AreTheGivenOptionsThatMakeARunWithAbsolutePaths) {
  Values values;
  OptionTable options = table(values);
  ASSERT_TRUE(
      options.parse({"model", "--budget", "1M", "--budget", "bytes=2MB", "--threads", "3"}));
  const nlohmann::json expected = {
      {"options",
       {{"DIR", {std::filesystem::absolute("model").string()}}, {"budget", {"1M", "bytes=2MB"}}}}};
  EXPECT_EQ(nlohmann::json::parse(run_settings(options)), expected);
}

TEST(RunSettings, AreTakenBackUnlessTheCommandLineContradictsThem) {
  Values first;
  OptionTable given = table(first);
  ASSERT_TRUE(given.parse({"model", "--budget", "1M", "--seed", "5"}));
  const RunRow run = run_of(run_settings(given));

  Values values;
  OptionTable options = table(values);
  ASSERT_TRUE(options.parse({"elsewhere", "--seed", "5", "--threads", "2"}));
  restore_settings(options, "try", run);
  EXPECT_EQ(values.directory, "elsewhere") << "a path is known by its contents";
  EXPECT_EQ(values.budgets, std::vector<std::string>{"1M"});
  EXPECT_EQ(values.seed, 5u);
  EXPECT_EQ(values.threads, 2);

  Values other;
  OptionTable contradicting = table(other);
  ASSERT_TRUE(contradicting.parse({"--seed", "6"}));
  EXPECT_EQ(test::error_of([&] { restore_settings(contradicting, "try", run); }),
            "run 7 has seed 5: a resumed run keeps its settings, so leave the option out");
  Values absent;
  OptionTable never_given = table(absent);
  ASSERT_TRUE(never_given.parse({"--seed", "6"}));
  EXPECT_EQ(
      test::error_of([&] { restore_settings(never_given, "try", run_of(R"({"options":{}})")); }),
      "run 7 has seed 1: a resumed run keeps its settings, so leave the option out");
}

TEST(RunSettings, OfAnotherCommandOrProgramAreRefused) {
  Values values;
  OptionTable options = table(values);
  ASSERT_TRUE(options.parse({}));
  EXPECT_EQ(test::error_of([&] { restore_settings(options, "search", run_of("{}")); }),
            "run 7 is of 'try' and not of 'search': it cannot be resumed");
  for (const char* settings : {"", "{}", "[]", "{"}) {
    EXPECT_NE(test::error_of([&] {
                restore_settings(options, "try", run_of(settings));
              }).find("no settings to resume with"),
              std::string::npos)
        << settings;
  }
}

}  // namespace
}  // namespace mnm
