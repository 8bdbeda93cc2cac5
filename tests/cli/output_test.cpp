#include "cli/output.h"

#include <gtest/gtest.h>

#include <cstdio>

#include "base/error.h"

namespace mnm {
namespace {

TEST(OutputFormat, JsonAndCsvExcludeEachOther) {
  EXPECT_EQ(output_format(false, false), OutputFormat::kText);
  EXPECT_EQ(output_format(true, false), OutputFormat::kJson);
  EXPECT_EQ(output_format(false, true), OutputFormat::kCsv);
  EXPECT_THROW(output_format(true, true), UsageError);
}

TEST(Output, JsonOfNamesThatAreNoText) {
  ::testing::internal::CaptureStdout();
  EXPECT_NO_THROW(print_json({{"name", "b\xff"}}));
  std::fflush(stdout);
  EXPECT_EQ(::testing::internal::GetCapturedStdout(), "{\n  \"name\": \"b\xef\xbf\xbd\"\n}\n");
}

}  // namespace
}  // namespace mnm
