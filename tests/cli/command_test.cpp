#include "cli/command.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <regex>
#include <set>

#include "base/error.h"
#include "cli/common_options.h"

namespace mnm {
namespace {

struct Outcome {
  int status;
  std::string out, err;
};

Outcome run(const Arguments& arguments) {
  testing::internal::CaptureStdout();
  testing::internal::CaptureStderr();
  const int status = run_program(arguments);
  return {status, testing::internal::GetCapturedStdout(), testing::internal::GetCapturedStderr()};
}

TEST(Commands, EachHasHelpThatNamesItsOptions) {
  std::set<std::string_view> names;
  for (const Command& command : commands()) {
    EXPECT_TRUE(names.insert(command.name).second) << command.name;
    const std::string name(command.name);
    const Outcome help = run({"help", name});
    EXPECT_EQ(help.status, 0) << name;
    EXPECT_NE(help.out.find("usage: mixnmatch " + name), std::string::npos) << help.out;
    EXPECT_EQ(help.err, "") << name;
    EXPECT_EQ(run({name, "--help"}).out, help.out) << name;
    EXPECT_EQ(run({name, "-h"}).out, help.out) << name;
    EXPECT_NE(run({"help"}).out.find("  " + name + " "), std::string::npos) << name;
  }
  EXPECT_GE(names.size(), 9u);
}

// A file of tokens may have no header, and then only the user knows what it is.
TEST(Commands, ThatTakeTokenFilesTakeTheirFormat) {
  std::set<std::string_view> takers;
  for (const Command& command : commands()) {
    const std::string help = run({"help", std::string(command.name)}).out;
    if (!std::regex_search(help, std::regex("\n  --[a-z-]+ DATA\\s"))) continue;
    takers.insert(command.name);
    EXPECT_NE(help.find("\n  --token-format bytes|"), std::string::npos) << command.name;
  }
  EXPECT_EQ(takers, (std::set<std::string_view>{"bench", "draft", "eval", "nest", "search",
                                                "sensitivity", "train"}));
}

TEST(Commands, WrongUsageExitsWithTwoAndOneSentence) {
  for (const Command& command : commands()) {
    const Outcome outcome = run({std::string(command.name), "--no-such-option"});
    EXPECT_EQ(outcome.status, 2) << command.name;
    EXPECT_EQ(outcome.out, "") << command.name;
    EXPECT_EQ(outcome.err.find("mixnmatch: "), 0u) << outcome.err;
    EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1) << outcome.err;
  }
  EXPECT_EQ(run({}).status, 2);
  EXPECT_EQ(run({"serach"}).status, 2);
  EXPECT_NE(run({"serach"}).err.find("did you mean 'search'"), std::string::npos);
  EXPECT_EQ(run({"help", "serach"}).status, 2);
}

TEST(Commands, VersionIsOneLine) {
  const Outcome outcome = run({"--version"});
  EXPECT_EQ(outcome.status, 0);
  EXPECT_EQ(outcome.out.find("mixnmatch "), 0u);
  EXPECT_EQ(std::count(outcome.out.begin(), outcome.out.end(), '\n'), 1);
}

TEST(Commands, FailureExitsWithOne) {
  const Outcome outcome = run({"inspect", "/no/such/directory"});
  EXPECT_EQ(outcome.status, 1);
  EXPECT_EQ(outcome.out, "");
  EXPECT_NE(outcome.err.find("/no/such/directory"), std::string::npos) << outcome.err;
}

TEST(Commands, AreKeptAsTheyWereTyped) {
  EXPECT_EQ(command_line("eval", {"a b", "--seed", "1"}), "mixnmatch eval 'a b' --seed 1");
}

TEST(Budgets, NameTheirKindOrTakeTheCommonOne) {
  EXPECT_EQ(parse_budget("1.2M", CostKind::kParams), Budget(CostKind::kParams, 1200000));
  EXPECT_EQ(parse_budget("bytes=3MB", CostKind::kParams), Budget(CostKind::kBytes, 3000000));
  EXPECT_EQ(parse_budget("non-embedding=5K", CostKind::kFlops),
            Budget(CostKind::kNonEmbedding, 5000));
  EXPECT_EQ(parse_budget("memory=3GB", CostKind::kParams), Budget(CostKind::kMemory, 3000000000));
  for (const char* bad : {"", "0", "-5", "=5", "bytes=", "bites=5", "1.2X", "bytes=1=2", "nan"}) {
    EXPECT_THROW(parse_budget(bad, CostKind::kParams), UsageError) << bad;
  }
}

TEST(Budgets, SayWhatTheyAreOf) {
  CostBasis basis{.context = 256, .cache = {.context = 4096, .batch = 1}};
  EXPECT_EQ(cost_text(CostKind::kParams, basis), "params");
  EXPECT_EQ(cost_text(CostKind::kFlops, basis), "flops at a context of 256");
  EXPECT_EQ(cost_text(CostKind::kLatency, basis), "nanoseconds of latency");
  EXPECT_EQ(cost_text(CostKind::kMemory, basis), "memory with the cache of 4096 tokens");
  basis.cache.batch = 8;
  EXPECT_EQ(cost_text(CostKind::kMemory, basis),
            "memory with the caches of 8 sequences of 4096 tokens");
}

}  // namespace
}  // namespace mnm
