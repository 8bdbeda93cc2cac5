#include "extract/source_file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "base/error.h"
#include "extract/block_ring.h"
#include "tests/support/error_of.h"
#include "tests/support/temp_dir.h"

namespace mnm {
namespace {

using test::slurp;
using test::spew;
using test::TempDir;

std::string pattern(std::size_t size) {
  std::string text(size, '\0');
  for (std::size_t i = 0; i < size; ++i) text[i] = static_cast<char>((i * 31 + i / 251) % 256);
  return text;
}

TEST(SourceFile, ReadsExactlyWhatIsAsked) {
  TempDir dir;
  const std::string text = pattern(100'000);
  spew(dir / "f", text);
  const SourceFile file(dir / "f");
  EXPECT_EQ(file.size(), text.size());
  for (const auto& [offset, length] : {std::pair<std::size_t, std::size_t>{0, 0},
                                       {0, 100'000},
                                       {1, 1},
                                       {99'999, 1},
                                       {100'000, 0},
                                       {4095, 8194}}) {
    std::vector<std::byte> bytes(length);
    file.prefetch(offset, length);
    file.read(offset, bytes);
    EXPECT_EQ(std::string(reinterpret_cast<const char*>(bytes.data()), length),
              text.substr(offset, length));
  }
  std::vector<std::byte> bytes(2);
  EXPECT_THROW(file.read(99'999, bytes), Error);
  EXPECT_THROW(file.read(1u << 30, bytes), Error);
}

// Past the page cache or not, as the file system can.
TEST(SourceFile, ReadsBlocksUpToTheFilesEnd) {
  constexpr std::uint64_t kBlock = SourceFile::kBlock;
  TempDir dir;
  const std::string text = pattern(3 * kBlock + 100);
  spew(dir / "f", text);
  SourceFile file(dir / "f");
  const BlockRing ring(8 * kBlock);
  for (const auto access : {SourceFile::Access::kSequential, SourceFile::Access::kAnnounced}) {
    file.expect(access);
    for (std::uint64_t from = 0; from <= 4 * kBlock; from += kBlock) {
      for (std::uint64_t to = from; to <= 5 * kBlock; to += kBlock) {
        const std::span<std::byte> bytes = ring.at(0, to - from)[0];
        std::ranges::fill(bytes, std::byte{'-'});
        file.read_blocks(from, bytes);
        const std::string expected =
            text.substr(std::min<std::size_t>(from, text.size()), to - from);
        const std::string read(reinterpret_cast<const char*>(bytes.data()), expected.size());
        EXPECT_EQ(read, expected);
      }
    }
  }
  std::filesystem::resize_file(dir / "f", 2 * kBlock);
  file.read_blocks(0, ring.at(0, 2 * kBlock)[0]);
  EXPECT_THROW(file.read_blocks(0, ring.at(0, 4 * kBlock)[0]), Error) << "cut short";
}

TEST(SourceFile, SaysWhetherThePageCacheHasIt) {
  TempDir dir;
  spew(dir / "f", pattern(1 << 20));
  const SourceFile file(dir / "f");
  EXPECT_TRUE(file.is_cached(4097, 100'000)) << "just written";
  const int fd = ::open((dir / "f").c_str(), O_RDONLY);
  ::fsync(fd);
  ::posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
  ::close(fd);
  if (file.is_cached(4097, 100'000)) GTEST_SKIP() << "this file system keeps its files in memory";
  std::vector<std::byte> bytes(1000);
  file.read(500'000, bytes);
  EXPECT_FALSE(file.is_cached(4097, 100'000));
  EXPECT_TRUE(file.is_cached(500'000, 1000));
}

TEST(SourceFile, WindowsShowTheFile) {
  TempDir dir;
  const std::string text = pattern(100'000);
  spew(dir / "f", text);
  const SourceFile file(dir / "f");
  for (const auto& [offset, length] :
       {std::pair<std::size_t, std::size_t>{0, 100'000}, {1, 1}, {4095, 8194}, {99'999, 1}}) {
    const SourceFile::Window window(file, offset, length);
    window.fetch(window.bytes());
    window.fetch(window.bytes().last(1));
    EXPECT_EQ(std::string(reinterpret_cast<const char*>(window.bytes().data()), length),
              text.substr(offset, length));
  }
  const SourceFile::Window past(file, 90'000, 50'000);
  EXPECT_NE(test::error_of([&] { past.fetch(past.bytes()); }).find("cut short"), std::string::npos);
}

TEST(SourceFile, AppendsRangesAndCountsThem) {
  TempDir dir;
  const std::string text = pattern(3'000'001);
  spew(dir / "f", text);
  const SourceFile file(dir / "f");
  double counted = 0;
  const ProgressSink count = [&](const Progress& progress) {
    return counted = progress.done, true;
  };
  Meter meter(count, 2'000'003, kEveryStep);
  OutputFile out(dir / "out");
  out.write(std::string_view("head"));
  file.copy_to(out, 5, 2'000'003, &meter);
  file.copy_to(out, 7, 0);
  file.copy_to(out, 3'000'000, 1);
  out.close();
  EXPECT_EQ(counted, 2'000'003);
  EXPECT_TRUE(slurp(dir / "out") == "head" + text.substr(5, 2'000'003) + text.substr(3'000'000));
}

// A FIFO is what no kernel's copy_file_range takes: the copy must go through the buffer.
TEST(SourceFile, CopiesByHandWhereTheKernelRefuses) {
  TempDir dir;
  const std::string text = pattern(1'000'003);
  spew(dir / "f", text);
  const std::filesystem::path fifo = dir / "fifo";
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  std::string received;
  std::thread reader([&] { received = slurp(fifo); });
  {
    const SourceFile file(dir / "f");
    OutputFile out(fifo);
    file.copy_to(out, 1, 1'000'001);
    out.close();
  }
  reader.join();
  EXPECT_TRUE(received == text.substr(1, 1'000'001));
}

TEST(SourceFile, CopiesBetweenFileSystems) {
  TempDir dir;
  struct stat here {
  }, there{};
  if (::stat("/dev/shm", &there) != 0 || ::stat(dir.path().c_str(), &here) != 0 ||
      here.st_dev == there.st_dev) {
    GTEST_SKIP() << "there is one file system only";
  }
  const std::string text = pattern(700'001);
  spew(dir / "f", text);
  const std::filesystem::path target = "/dev/shm/mnm-test-" + std::to_string(::getpid());
  {
    const SourceFile file(dir / "f");
    OutputFile out(target);
    file.copy_to(out, 3, 600'000);
    out.close();
  }
  EXPECT_TRUE(slurp(target) == text.substr(3, 600'000));
  std::filesystem::remove(target);
}

TEST(SourceFile, StopsWhenProgressSaysSo) {
  TempDir dir;
  spew(dir / "f", pattern(1000));
  const SourceFile file(dir / "f");
  OutputFile out(dir / "out");
  const ProgressSink stop = [](const Progress&) { return false; };
  Meter meter(stop, 1000, kEveryStep);
  EXPECT_THROW(file.copy_to(out, 0, 1000, &meter), Stopped);
}

TEST(SourceFile, RefusesToCopyPastTheEnd) {
  TempDir dir;
  spew(dir / "f", pattern(1000));
  const SourceFile file(dir / "f");
  OutputFile out(dir / "out");
  EXPECT_THROW(file.copy_to(out, 0, 1001), Error);
  EXPECT_THROW(file.copy_to(out, 5000, 1), Error);
}

TEST(SourceFile, RefusesWhatCannotBeRead) {
  TempDir dir;
  EXPECT_THROW(SourceFile(dir / "none"), Error);
}

TEST(SourceFile, NoticesThatTheFileChanged) {
  namespace fs = std::filesystem;
  using Change = void (*)(const fs::path&);
  struct Case {
    const char* name;
    Change change;
  };
  const Case cases[] = {
      {"longer", [](const fs::path& f) { fs::resize_file(f, 1001); }},
      {"shorter", [](const fs::path& f) { fs::resize_file(f, 999); }},
      {"rewritten", [](const fs::path& f) { spew(f, pattern(1000)); }},
      {"one byte written",
       [](const fs::path& f) {
         const int fd = ::open(f.c_str(), O_WRONLY);
         EXPECT_EQ(::pwrite(fd, "x", 1, 500), 1);
         ::close(fd);
       }},
      {"replaced",
       [](const fs::path& f) {
         const fs::file_time_type time = fs::last_write_time(f);
         fs::path other = f;
         other += ".new";
         spew(other, pattern(1000));
         fs::last_write_time(other, time);
         fs::rename(other, f);
       }},
      {"removed", [](const fs::path& f) { fs::remove(f); }},
  };
  for (const Case& c : cases) {
    TempDir dir;
    spew(dir / "f", pattern(1000));
    const SourceFile file(dir / "f");
    EXPECT_NO_THROW(file.check_unchanged());
    c.change(dir / "f");
    EXPECT_THROW(file.check_unchanged(), Error) << c.name;
  }
}

}  // namespace
}  // namespace mnm
