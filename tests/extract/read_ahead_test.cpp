#include "extract/read_ahead.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "base/error.h"
#include "tests/support/temp_dir.h"

namespace mnm {
namespace {

ReadAhead::Slice slice_of(std::uint64_t bytes) {
  TensorCopy copy;
  copy.rows = 1;
  copy.row_bytes = copy.bytes = bytes;
  copy.kept = {{0, bytes}};
  return {nullptr, copy};
}

bool held_none(const ReadAhead::Slice&) { return false; }

// Another thread asks. If it never does, the test does not end.
void await_asked(const std::atomic<std::uint64_t>& asked, std::uint64_t bytes) {
  while (asked < bytes) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  EXPECT_EQ(asked, bytes);
}

TEST(ReadAhead, AsksForEveryByteOnceAndNoFurtherThanItsBound) {
  const std::uint64_t sizes[] = {5, 2 * ReadAhead::kAhead + 7, 0, 3 * ReadAhead::kStep};
  std::vector<ReadAhead::Slice> slices;
  std::uint64_t all = 0;
  for (const std::uint64_t size : sizes) {
    slices.push_back(slice_of(size));
    all += size;
  }
  std::atomic<std::uint64_t> asked = 0, done = 0;
  std::uint64_t next = 0;
  const auto ask = [&](const ReadAhead::Slice&, std::uint64_t begin, std::uint64_t end) {
    if (begin == 0) next = 0;
    EXPECT_EQ(begin, next);
    EXPECT_LE(asked + (end - begin), done + ReadAhead::kAhead);
    next = end;
    asked += end - begin;
  };
  ReadAhead ahead(slices, {held_none, ask});
  ahead.await(5);
  EXPECT_GE(asked, 5u);
  ahead.await(all);  // more than it goes ahead: all that it does
  EXPECT_GT(asked, ReadAhead::kAhead - ReadAhead::kStep);
  EXPECT_LT(asked, all);
  for (std::uint64_t at = 0; at < all; at += ReadAhead::kAhead / 4) {
    done = at;
    ahead.done(at);
    ahead.await(std::min(all, at + ReadAhead::kAhead / 2));
    EXPECT_GE(asked, std::min(all, at + ReadAhead::kAhead / 2));
  }
  await_asked(asked, all);
  ahead.await(all + 1);  // nothing more will be asked for, so nobody waits for it
}

TEST(ReadAhead, EndsBeforeItsTime) {
  std::atomic<std::uint64_t> asked = 0;
  {
    const auto ask = [&](const ReadAhead::Slice&, std::uint64_t begin, std::uint64_t end) {
      asked += end - begin;
    };
    const ReadAhead ahead({slice_of(3 * ReadAhead::kAhead)}, {held_none, ask});
  }
  EXPECT_LE(asked, ReadAhead::kAhead);
  ReadAhead nothing({});
  nothing.await(0);
}

// Slices between blocks of files, many times the ring, some of them left to the kernel; each step
// is looked at when it is there, and given back late or early.
TEST(ReadAhead, HoldsWhatTheKernelIsNotAskedFor) {
  constexpr std::uint64_t kStep = ReadAhead::kStep;
  const test::TempDir dir;
  std::string text(9 * kStep + 77, '\0');
  std::mt19937 random(3);
  for (char& c : text) c = static_cast<char>(random());
  test::spew(dir / "f", text);
  SourceFile file(dir / "f");
  file.expect(SourceFile::Access::kAnnounced);
  std::vector<ReadAhead::Slice> slices;
  std::uint64_t begin = 0;
  for (int i = 0; i < 40; ++i) {
    const std::uint64_t most = i % 5 == 4 ? 1000 : 5 * kStep;
    const std::uint64_t size = 1 + random() % most, offset = random() % (text.size() - size);
    ReadAhead::Slice slice = slice_of(size);
    slice.file = &file;
    slice.copy.offset = offset;
    slices.push_back(slice);
  }
  slices[7].copy.offset = text.size() - slices[7].copy.bytes;  // to the file's end
  const auto odd = [&](const ReadAhead::Slice& slice) { return slice.copy.bytes % 2 == 1; };
  std::atomic<std::uint64_t> asked = 0, expected = 0;
  ReadAhead ahead(slices, {odd, [&](const ReadAhead::Slice&, std::uint64_t from, std::uint64_t to) {
                             asked += to - from;
                           }});
  int held = 0;
  for (std::size_t i = 0; i < slices.size(); ++i) {
    const TensorCopy& copy = slices[i].copy;
    const bool hold = odd(slices[i]) && ReadAhead::can_hold(copy);
    for (std::uint64_t from = 0; from < copy.bytes;) {
      const std::uint64_t to = std::min(copy.bytes, from + 1 + random() % (3 * kStep));
      ahead.await(begin + to);
      const auto pieces = ahead.held(i, from, to);
      ASSERT_EQ(pieces.has_value(), hold);
      if (hold) {
        std::string bytes;
        for (const auto piece : *pieces) {
          bytes.append(reinterpret_cast<const char*>(piece.data()), piece.size());
        }
        ASSERT_TRUE(bytes == text.substr(copy.offset + from, to - from)) << i << ' ' << from;
        ++held;
      }
      if (random() % 3 != 0) ahead.done(begin + to);
      from = to;
    }
    begin += copy.bytes;
    ahead.done(begin);
    if (!hold) expected += copy.bytes;
  }
  EXPECT_GT(held, 20);
  EXPECT_EQ(asked, expected);
}

TEST(ReadAhead, SaysWhatCannotBeRead) {
  const test::TempDir dir;
  test::spew(dir / "f", std::string(4 * ReadAhead::kStep, 'x'));
  const SourceFile file(dir / "f");
  std::filesystem::resize_file(dir / "f", 2 * ReadAhead::kStep);
  ReadAhead::Slice slice = slice_of(4 * ReadAhead::kStep);
  slice.file = &file;
  ReadAhead::Ways ways;
  ways.hold = [](const ReadAhead::Slice&) { return true; };
  ReadAhead ahead({slice}, ways);
  ahead.await(2 * ReadAhead::kStep);
  EXPECT_THROW(ahead.await(4 * ReadAhead::kStep), Error);
}

}  // namespace
}  // namespace mnm
