#include "extract/read_ahead.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

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

void expect_soon(const std::atomic<std::uint64_t>& asked, std::uint64_t bytes) {
  for (int i = 0; i < 2000 && asked < bytes; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
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
  ReadAhead ahead(slices, [&](const ReadAhead::Slice&, std::uint64_t begin, std::uint64_t end) {
    if (begin == 0) next = 0;
    EXPECT_EQ(begin, next);
    EXPECT_LE(asked + (end - begin), done + ReadAhead::kAhead);
    next = end;
    asked += end - begin;
  });
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
  expect_soon(asked, all);
  ahead.await(all + 1);  // nothing more will be asked for, so nobody waits for it
}

TEST(ReadAhead, EndsBeforeItsTime) {
  std::atomic<std::uint64_t> asked = 0;
  {
    const ReadAhead ahead({slice_of(3 * ReadAhead::kAhead)},
                          [&](const ReadAhead::Slice&, std::uint64_t begin, std::uint64_t end) {
                            asked += end - begin;
                          });
  }
  EXPECT_LE(asked, ReadAhead::kAhead);
  ReadAhead nothing({});
  nothing.await(0);
}

}  // namespace
}  // namespace mnm
