#include "report/html.h"

#include <gtest/gtest.h>

#include <string>

namespace mnm {
namespace {

std::size_t count(const std::string& text, const std::string& part) {
  std::size_t found = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) {
    ++found;
  }
  return found;
}

// Names from files that would end the element, open another, or break the program.
const char* const kHostile[] = {"</script><script>alert(1)</script>",
                                "<!--<script>",
                                "<img src=x onerror=alert(1)>",
                                "\u2028\u2029",
                                "\"\\\n\t'&amp;",
                                "]]>",
                                "\xff\xfe"};

TEST(Page, JsonInAScriptCannotLeaveIt) {
  for (const char* text : kHostile) {
    const nlohmann::ordered_json value = {{text, text}};
    const std::string safe = json_in_script(value);
    EXPECT_EQ(safe.find_first_of("<>&"), std::string::npos) << safe;
    EXPECT_EQ(safe.find("\u2028"), std::string::npos) << safe;
    EXPECT_EQ(safe.find("\u2029"), std::string::npos) << safe;
    // What is read back is what was written, but for bytes that are not UTF-8.
    const auto read = nlohmann::ordered_json::parse(safe);
    if (std::string(text) != "\xff\xfe") {
      EXPECT_EQ(read, value);
    }
  }
}

TEST(Page, ShowsNoMarkThatSteersWhatIsRead) {
  const std::string name = "mo\x1b]0;x\x07\u202egnp\u009b";
  const std::string page = evidence_page({{"names", {name}}});
  for (const std::string mark : {"\x1b", "\x07", "\u202e", "\u009b", "\\u202e", "\\u009b"}) {
    EXPECT_EQ(page.find(mark), std::string::npos) << testing::PrintToString(mark);
  }
  EXPECT_NE(page.find(R"(mo\\x1b]0;x\\x07)"), std::string::npos);
}

TEST(Page, TextInHtml) {
  EXPECT_EQ(html_text("a<b>&\"c'"), "a&lt;b&gt;&amp;&quot;c&#39;");
  EXPECT_EQ(html_text(""), "");
}

TEST(Page, HasTheSameElementsWhateverFilesSay) {
  const std::string empty = evidence_page({{"groups", nlohmann::ordered_json::array()}});
  nlohmann::ordered_json hostile = {{"groups", nlohmann::ordered_json::array()}};
  for (const char* text : kHostile) hostile["names"].push_back(text);
  const std::string page = evidence_page(hostile);
  for (const std::string tag : {"<script", "</script", "<img", "<!--"}) {
    EXPECT_EQ(count(page, tag), count(empty, tag)) << tag;
  }
  EXPECT_EQ(count(page, "</script>"), 3u);  // the data, Chart.js, the page's program
}

TEST(Page, LoadsNothingAndCarriesItsLicence) {
  const std::string page = evidence_page({});
  EXPECT_NE(page.find("default-src 'none'"), std::string::npos);
  EXPECT_EQ(page.find(" src=\""), std::string::npos);
  EXPECT_EQ(page.find("<link"), std::string::npos);
  EXPECT_NE(page.find("Permission is hereby granted, free of charge"), std::string::npos);
  EXPECT_NE(page.find("Chart.js v3"), std::string::npos);
}

}  // namespace
}  // namespace mnm
