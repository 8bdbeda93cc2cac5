#include "image/unfinished_set.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <functional>
#include <string>
#include <vector>

#include "tests/support/error_of.h"
#include "tests/support/temp_dir.h"

namespace mnm {
namespace {

namespace fs = std::filesystem;
using test::contains;
using test::error_of;

constexpr std::int64_t kTotal = 40;
constexpr std::uint64_t kRow = 3;  // bytes
constexpr const char* kFirst = "mixnmatch unfinished image set name\n";

class Unfinished : public ::testing::Test {
 protected:
  UnfinishedSet open() const { return {directory_, "name", kTotal, kRow}; }
  void make_directory() const {
    fs::remove_all(directory_);
    fs::create_directory(directory_);
  }
  // What a call left that had read pictures [0, 20), of which 9 and 10 are broken.
  void leave() const {
    make_directory();
    UnfinishedSet set = open();
    set.append(std::vector<std::uint8_t>(8 * kRow, 1), 8, {});
    set.append(std::vector<std::uint8_t>(10 * kRow, 2), 20, {{9, "nine"}, {10, "ten"}});
  }

  test::TempDir root_;
  fs::path directory_ = root_ / ".set.unfinished", journal_ = directory_ / "journal",
           images_ = directory_ / kImagesFile, thesis_ = root_ / "thesis.txt";
};

// Each is planted where the next call would write. None may lose a byte.
TEST_F(Unfinished, NothingThatNoCallLeftIsTouched) {
  struct Case {
    const char* name;
    std::function<void()> plant;
    const char* phrase;
  };
  const fs::path folder = root_ / "folder";
  fs::create_directory(folder);
  const std::vector<Case> cases = {
      {"pixels are a link", [&] { fs::create_symlink(thesis_, images_); }, "no regular file"},
      {"pixels are a link to nothing", [&] { fs::create_symlink(root_ / "new", images_); },
       "no regular file"},
      {"journal is a link", [&] { fs::create_symlink(thesis_, journal_); }, "no regular file"},
      {"pixels have a second name", [&] { fs::create_hard_link(thesis_, images_); },
       "no regular file"},
      {"journal has a second name", [&] { fs::create_hard_link(thesis_, journal_); },
       "no regular file"},
      {"journal is a pipe", [&] { ASSERT_EQ(mkfifo(journal_.c_str(), 0600), 0); },
       "no regular file"},
      {"pixels are a directory", [&] { fs::create_directory(images_); }, "no regular file"},
      {"the directory is a link",
       [&] {
         fs::remove(directory_);
         fs::create_directory_symlink(folder, directory_);
       },
       "no directory"},
      {"the directory is a file",
       [&] {
         fs::remove(directory_);
         test::spew(directory_, "text");
       },
       "no directory"},
      {"another file", [&] { test::spew(directory_ / "notes.txt", "text"); }, "'notes.txt'"},
      {"another journal", [&] { test::spew(journal_, "Monday: wrote two pages\n"); },
       "not what an earlier call left"},
      {"pixels without a journal", [&] { test::spew(images_, std::string(500, 'x')); },
       "not what an earlier call left"}};
  const auto state = [&] {
    std::vector<std::string> all;
    for (const auto& entry : fs::recursive_directory_iterator(root_.path())) {
      all.push_back(entry.path().string());
      if (fs::is_regular_file(entry.path())) all.push_back(test::slurp(entry.path()));
    }
    return all;
  };
  for (const Case& planted : cases) {
    make_directory();
    test::spew(thesis_, "two hundred pages");
    planted.plant();
    const auto before = state();
    const std::string error = error_of([&] { open(); });
    EXPECT_TRUE(contains(error, planted.phrase)) << planted.name << ": " << error;
    EXPECT_TRUE(contains(error, "away")) << planted.name << ": " << error;
    const auto after = state();
    // Empty files of ours may have come beside what was planted; nothing that was there is other.
    for (const std::string& item : before) {
      EXPECT_TRUE(std::ranges::count(after, item) > 0) << planted.name << ": " << item;
    }
    EXPECT_FALSE(fs::exists(root_ / "new")) << planted.name;
    EXPECT_EQ(test::slurp(thesis_), "two hundred pages") << planted.name;
    EXPECT_TRUE(fs::is_empty(folder)) << planted.name;
  }
}

TEST_F(Unfinished, OnlyItsOwnFilesAreRemoved) {
  leave();
  UnfinishedSet set = open();
  test::spew(directory_ / "notes.txt", "text");
  set.remove();
  EXPECT_EQ(test::slurp(directory_ / "notes.txt"), "text");
  EXPECT_FALSE(fs::exists(journal_));
  EXPECT_FALSE(fs::exists(images_));
}

TEST_F(Unfinished, GoesOnWithBrokenPicturesInTheirOrder) {
  leave();
  const UnfinishedSet set = open();
  EXPECT_EQ(set.next(), 20);
  EXPECT_EQ(set.rows(), 18);
  ASSERT_EQ(set.broken().size(), 2u);
  EXPECT_EQ(set.broken()[0].index, 9);
  EXPECT_EQ(set.broken()[1].why, "ten");
}

// A line that cannot be right ends the journal; what comes before it counts.
TEST_F(Unfinished, AJournalEndsBeforeItsFirstWrongLine) {
  const std::string sound = R"({"broken":{"2":"why"},"next":8})";
  for (const std::string& wrong :
       {std::string(R"({"broken":{},"next":-1})"),
        std::string(R"({"broken":{},"next":8})"),
        std::string(R"({"broken":{},"next":3})"),
        std::string(R"({"broken":{},"next":41})"),
        std::string(R"({"broken":{},"next":18446744073709551615})"),
        std::string(R"({"broken":{},"next":9223372036854775808})"),
        std::string(R"({"broken":{},"next":1e300})"),
        std::string(R"({"broken":{},"next":12.5})"),
        std::string(R"({"broken":{},"next":"12"})"),
        std::string(R"({"broken":{},"next":null})"),
        std::string(R"({"broken":[],"next":12})"),
        std::string(R"({"broken":3,"next":12})"),
        std::string(R"({"broken":{"x":"w"},"next":12})"),
        std::string(R"({"broken":{"":"w"},"next":12})"),
        std::string(R"({"broken":{"09":"w"},"next":12})"),
        std::string(R"({"broken":{" 9":"w"},"next":12})"),
        std::string(R"({"broken":{"-9":"w"},"next":12})"),
        std::string(R"({"broken":{"7":"w"},"next":12})"),
        std::string(R"({"broken":{"12":"w"},"next":12})"),
        std::string(R"({"broken":{"99999999999999999999":"w"},"next":12})"),
        std::string(R"({"broken":{"9":4},"next":12})"),
        std::string(R"({"next":12})"),
        std::string("[]"),
        std::string(""),
        std::string(100000, '['),
        std::string("\xff"),
        R"({"broken":{"9":")" + std::string(100000, 'w') + R"("},"next":12})"}) {
    make_directory();
    test::spew(journal_, kFirst + sound + "\n" + wrong + "\n" +
                             R"({"broken":{},"next":30})"
                             "\n");
    test::spew(images_, std::string(128 + kTotal * kRow, 'p'));
    std::int64_t next = 0;
    std::size_t broken = 0;
    EXPECT_EQ(error_of([&] {
                const UnfinishedSet set = open();
                next = set.next();
                broken = set.broken().size();
              }),
              "")
        << wrong.substr(0, 60);
    EXPECT_EQ(next, 8) << wrong.substr(0, 60);
    EXPECT_EQ(broken, 1u) << wrong.substr(0, 60);
    EXPECT_EQ(test::slurp(journal_), kFirst + sound + "\n") << wrong.substr(0, 60);
    EXPECT_EQ(fs::file_size(images_), 128 + 7 * kRow) << wrong.substr(0, 60);
  }
}

TEST_F(Unfinished, ALongReasonIsCutAndGoneOnWith) {
  make_directory();
  open().append({}, 1, {{0, std::string(200000, '\xff')}});
  EXPECT_EQ(open().next(), 1);
}

}  // namespace
}  // namespace mnm
