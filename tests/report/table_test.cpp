#include "report/table.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "base/error.h"

namespace mnm {
namespace {

Table sample() {
  Table table{{{"widths", "widths", false},
               {"params", "parameters"},
               {"loss", "loss", true, true},
               {"hidden", "hidden", true, false, false}},
              {}};
  table.rows.push_back({cell(std::string("512x4,\"a\"")), quantity_cell(1234567),
                        measured_cell(1.390312, 0.00412), cell(std::int64_t{9007199254740993})});
  table.rows.push_back({cell(std::string("8x1")), quantity_cell(12),
                        measured_cell(std::nan(""), std::nan("")), missing_cell()});
  return table;
}

TEST(Table, ForPeople) {
  EXPECT_EQ(sample().text(),
            "widths     parameters             loss\n"
            "512x4,\"a\"       1.23M  1.3903 ± 0.0041\n"
            "8x1                12              nan\n");
}

TEST(Table, AsCsvQuotesAndKeepsExactNumbers) {
  EXPECT_EQ(sample().csv(),
            "widths,params,loss,loss_se,hidden\r\n"
            "\"512x4,\"\"a\"\"\",1234567,1.390312,0.00412,9007199254740993\r\n"
            "8x1,12,,,\r\n");
}

TEST(Table, AsJsonHasNullWhereThereIsNoNumber) {
  const auto json = sample().json();
  ASSERT_EQ(json.size(), 2u);
  EXPECT_EQ(json[0]["params"], 1234567);
  EXPECT_EQ(json[0]["loss"], 1.390312);
  EXPECT_EQ(json[0]["loss_se"], 0.00412);
  EXPECT_TRUE(json[1]["loss"].is_null());
  EXPECT_TRUE(json[1]["loss_se"].is_null());
  EXPECT_TRUE(json[1]["hidden"].is_null());
}

// Spreadsheets leave out blanks before a formula, and some read full-width signs.
TEST(Table, TextThatASpreadsheetWouldRunStaysText) {
  for (const char* formula : {"=1+1", "+1", "-2x8", "@SUM(A1)", " =1", "\u00a0=1", "\uff1d1+1"}) {
    const Table table{{{"a", "A"}}, {{cell(std::string(formula))}}};
    EXPECT_EQ(table.csv(), "a\r\n'" + std::string(formula) + "\r\n") << formula;
  }
  for (const char* text : {"-", "64x8", "a=1"}) {
    const Table table{{{"a", "A"}}, {{cell(std::string(text))}}};
    EXPECT_EQ(table.csv(), "a\r\n" + std::string(text) + "\r\n") << text;
  }
}

TEST(Table, WithoutRowsHasItsHead) {
  Table table{{{"a", "A"}}, {}};
  EXPECT_EQ(table.text(), "A\n");
  EXPECT_EQ(table.csv(), "a\r\n");
  EXPECT_EQ(table.json().dump(), "[]");
}

TEST(Measured, HasTwoDigitsOfItsError) {
  const struct {
    double value, error;
    const char* text;
  } kCases[] = {{1.390312, 0.00412, "1.3903 ± 0.0041"},
                {1.390312, 0.0412, "1.390 ± 0.041"},
                {123.4, 12.0, "123 ± 12"},
                {-0.00123456, 0.0000123, "-0.001235 ± 0.000012"},
                {1.5, 0, "1.5000 ± 0.0000"},
                {1e-9, 2.34e-9, "1.0e-09 ± 2.3e-09"},
                {5e6, 1e6, "5000000 ± 1000000"}};
  for (const auto& c : kCases) EXPECT_EQ(measured_text(c.value, c.error), c.text);
  EXPECT_EQ(measured_text(1.25, std::nan("")), "1.2500 ± -");
  EXPECT_EQ(measured_text(std::nan(""), 0), "nan");
  EXPECT_EQ(measured_text(std::numeric_limits<double>::infinity(), 0), "inf");
}

}  // namespace
}  // namespace mnm
