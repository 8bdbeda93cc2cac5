#include "image/tar.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/support/error_of.h"
#include "tests/support/tar_of.h"

namespace mnm {
namespace {

using test::contains;
using test::error_of;
using test::kTarEnd;
using test::tar_member;

std::vector<TarMember> list(const std::string& archive) {
  return list_tar(std::as_bytes(std::span(archive)), "a.tar");
}

TEST(Tar, ListsFilesWithTheirPlaces) {
  const std::string archive = tar_member("d", "", '5') + tar_member("d/a", "first") +
                              tar_member("b", "") + tar_member("c", std::string(512, 'x')) +
                              kTarEnd;
  ASSERT_TRUE(has_tar_header(std::as_bytes(std::span(archive))));
  const auto members = list(archive);
  ASSERT_EQ(members.size(), 3u);
  EXPECT_EQ(members[0].name, "d/a");
  EXPECT_EQ(archive.substr(members[0].offset, members[0].size), "first");
  EXPECT_EQ(members[1].size, 0u);
  EXPECT_EQ(archive.substr(members[2].offset, members[2].size), std::string(512, 'x'));
}

TEST(Tar, ReadsLongNamesOfGnuAndPax) {
  const std::string name = "long/" + std::string(200, 'n');
  std::string line = " path=" + name + "\n";
  line.insert(0, std::to_string(line.size() + 3));
  const std::string archive = tar_member("././@LongLink", name + '\0', 'L') +
                              tar_member("cut", "1") + tar_member("pax", line, 'x') +
                              tar_member("cut", "2") + tar_member("short", "3") + kTarEnd;
  const auto members = list(archive);
  ASSERT_EQ(members.size(), 3u);
  EXPECT_EQ(members[0].name, name);
  EXPECT_EQ(members[1].name, name);
  EXPECT_EQ(members[2].name, "short");
}

TEST(Tar, RefusesWhatNoSetOfPicturesHolds) {
  const std::string good = tar_member("a", "text");
  std::string damaged = good, huge = good;
  damaged[0] = 'b';
  // GNU's binary size of 2^60 bytes, with its checksum.
  huge = tar_member("a", "");
  huge.replace(124, 12, std::string("\x80\0\0\0\x10\0\0\0\0\0\0\0", 12));
  unsigned sum = 0;
  huge.replace(148, 8, "        ");
  for (std::size_t i = 0; i < 512; ++i) sum += static_cast<unsigned char>(huge[i]);
  huge.replace(148, 6, fmt::format("{:06o}", sum));
  huge[154] = '\0';
  struct Case {
    std::string archive, phrase;
  };
  for (const auto& [archive, phrase] : std::vector<Case>{
           {good + tar_member("../b", "x"), "'../b' is refused: its name leads out of the archive"},
           {good + tar_member("c/../../b", "x"), "its name leads out of the archive"},
           {tar_member("/etc/passwd", "x"), "its name is an absolute path"},
           {tar_member("link", "", '2'), "it is a link"},
           {tar_member("link", "", '1'), "it is a link"},
           {tar_member("device", "", '3'), "neither a file nor a directory"},
           {tar_member("sparse", "", 'S'), "neither a file nor a directory"},
           {damaged, "a wrong checksum"},
           {huge, "the archive ends before it does"},
           {good.substr(0, 513), "the archive ends before it does"},
           {good, "it has no block of zeros at its end"},
           {good + "rest", "it has no block of zeros at its end"},
           {good + kTarEnd + good + kTarEnd, "ends at byte 1024, and more follows at byte 2048"},
           {good + kTarEnd + "x", "and more follows at byte 2048"}}) {
    const std::string error = error_of([&] { list(archive); });
    EXPECT_TRUE(contains(error, "a.tar") && contains(error, phrase)) << error << " / " << phrase;
  }
}

TEST(Tar, DamagedBytesNeverGoUnbounded) {
  const std::string archive = tar_member("pax", "13 path=abcd\n", 'x') +
                              tar_member("d/a", "first") + tar_member("b", "second") + kTarEnd;
  for (std::size_t i = 0; i < archive.size(); ++i) {
    std::string damaged = archive;
    damaged[i] = static_cast<char>(damaged[i] ^ 0x55);
    error_of([&] {
      for (const TarMember& member : list(damaged)) {
        EXPECT_LE(member.offset + member.size, damaged.size());
      }
    });
    error_of([&] { list(archive.substr(0, i)); });
  }
}

}  // namespace
}  // namespace mnm
