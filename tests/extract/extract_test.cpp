#include "extract/extract.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <limits>

#include "base/error.h"
#include "tests/extract/slices.h"
#include "tests/support/error_of.h"

namespace mnm {
namespace {

using test::HandSlice;
using test::random_ranges;
using test::random_tensor;
using test::TempDir;
using test::TestTensor;

constexpr Dtype kDtypes[] = {Dtype::kF32, Dtype::kF16, Dtype::kBF16};

std::string bytes_of(std::span<const float> values, Dtype dtype) {
  std::string bytes(values.size() * size_of(dtype), '\0');
  from_f32(values, dtype, std::as_writable_bytes(std::span(bytes)));
  return bytes;
}

// Shapes that take every way through the code: one run, long rows by reads of their own, short rows
// from a window and across its ends, several ranges, nothing at all, and odd sizes throughout.
TEST(Extract, AgreesWithNaiveSlicing) {
  const std::vector<std::vector<std::int64_t>> shapes = {
      {},         {1},          {1013},    {150'001},    {17, 3},     {3, 17},
      {257, 129}, {5, 3001},    {3001, 5}, {12, 20'011}, {6'011, 40}, {7, 11, 13},
      {3, 1, 5},  {6, 5, 4, 3}, {0, 4},    {4, 0},       {3, 70'001}, {700, 600},
  };
  std::mt19937 random(7);
  for (Dtype stored : kDtypes) {
    TempDir dir;
    std::vector<TestTensor> tensors;
    for (const auto& shape : shapes) {
      const auto id = static_cast<std::uint32_t>(tensors.size());
      tensors.push_back(random_tensor("t" + std::to_string(id), shape, id, 3, stored));
    }
    write_checkpoint(dir / "model", nlohmann::json::object(), tensors, 3);
    const Checkpoint checkpoint = Checkpoint::open(dir / "model");
    Extractor extractor(checkpoint);
    for (const TestTensor& tensor : tensors) {
      const int dims = static_cast<int>(tensor.shape.size());
      for (int dim = -1; dim < dims; ++dim) {
        const std::int64_t size = dim < 0 ? 1 : tensor.shape[static_cast<std::size_t>(dim)];
        // A prefix, several ranges, and nothing.
        for (std::size_t most : {std::size_t{1}, std::size_t{4}, std::size_t{0}}) {
          std::vector<Range> ranges = random_ranges(size, most, random);
          if (most == 1 && !ranges.empty()) ranges[0].begin = 0;
          if (dim < 0) ranges.clear();
          const HandSlice hand(tensor, dim, ranges);
          const std::vector<float> expected = naive_slice(tensor, hand.slice);
          EXPECT_TRUE(extract_f32(checkpoint, hand.slice) == expected);
          for (Dtype target : kDtypes) {
            SCOPED_TRACE(fmt::format("{} {} to {}, dim {}, {} ranges", tensor.name,
                                     to_string(stored), to_string(target), dim, ranges.size()));
            double counted = 0;
            const ProgressSink count = [&](const Progress& p) { return counted = p.done, true; };
            Meter meter(count, 1, kEveryStep);
            OutputFile out(dir / "out");
            extractor.append(hand.slice, target, out, &meter);
            const std::string bytes = bytes_of(expected, target);
            EXPECT_EQ(counted, static_cast<double>(bytes.size()));
            ASSERT_TRUE(test::slurp(dir / "out") == bytes);
          }
        }
      }
    }
    EXPECT_NO_THROW(extractor.check_unchanged());
  }
}

enum class Reading : std::uint8_t { kAsked, kAhead, kHeld };

void expect(Extractor& extractor, const TensorSlice& slice, Reading reading) {
  if (reading == Reading::kAsked) return;
  ReadAhead::Ways ways;
  ways.hold = [=](const ReadAhead::Slice&) { return reading == Reading::kHeld; };
  extractor.read_ahead({&slice}, ways);
}

// Slices of many parts, prepared side by side: in one run and in rows, dense and sparse, converted
// and not, wherever the output begins, in step with the source's pages as well, read when it is
// asked for or ahead, by the kernel or past its cache.
TEST(Extract, LargeSlicesAgreeWhereverTheyBegin) {
  TempDir dir;
  const std::vector<TestTensor> tensors = {random_tensor("w", {600, 3001}, 1, 3, Dtype::kBF16)};
  write_checkpoint(dir / "model", nlohmann::json::object(), tensors);
  const Checkpoint checkpoint = Checkpoint::open(dir / "model");
  Extractor extractor(checkpoint);
  const std::uint64_t offset = checkpoint.at("w").offset;
  const std::vector<std::pair<int, std::vector<Range>>> cuts = {
      {-1, {}},         {0, {{0, 577}}}, {0, {{3, 300}, {301, 599}}},
      {1, {{0, 2000}}}, {1, {{0, 401}}}, {1, {{5, 300}, {2000, 2100}}}};
  for (const auto& [dim, ranges] : cuts) {
    const HandSlice hand(tensors[0], dim, ranges);
    const std::vector<float> expected = naive_slice(tensors[0], hand.slice);
    for (Dtype target : {Dtype::kBF16, Dtype::kF32}) {
      for (std::uint64_t begin : {std::uint64_t{0}, std::uint64_t{7}, std::uint64_t{524'287},
                                  std::uint64_t{65'536}, 8192 + offset % 4096}) {
        SCOPED_TRACE(fmt::format("dim {}, {} ranges, to {} from {}", dim, ranges.size(),
                                 to_string(target), begin));
        const std::string head(static_cast<std::size_t>(begin), 'h');
        const std::string bytes = bytes_of(expected, target);
        for (const Reading reading : {Reading::kAsked, Reading::kAhead, Reading::kHeld}) {
          expect(extractor, hand.slice, reading);
          OutputFile out(dir / "out");
          out.write(head);
          double counted = 0;
          const ProgressSink count = [&](const Progress& p) { return counted = p.done, true; };
          Meter meter(count, 1, kEveryStep);
          extractor.append(hand.slice, target, out, &meter);
          EXPECT_EQ(counted, static_cast<double>(bytes.size()));
          ASSERT_TRUE(test::slurp(dir / "out") == head + bytes);
          expect(extractor, hand.slice, reading);
          std::vector<float> streamed;
          extractor.stream(hand.slice, 70'001, [&](std::span<float> values) {
            streamed.insert(streamed.end(), values.begin(), values.end());
          });
          ASSERT_TRUE(streamed == expected);
        }
      }
    }
  }
}

TEST(Extract, AChunkMayBeLongerThanWhatIsReadAhead) {
  TempDir dir;
  const std::vector<TestTensor> tensors = {random_tensor("w", {19, 1 << 20}, 1, 3, Dtype::kBF16)};
  const HandSlice hand(tensors[0], -1, {});
  static_assert(19 * 2u << 20 > ReadAhead::kAhead + ReadAhead::kStep);
  write_checkpoint(dir / "model", nlohmann::json::object(), tensors);
  const Checkpoint checkpoint = Checkpoint::open(dir / "model");
  for (const Reading reading : {Reading::kAsked, Reading::kAhead, Reading::kHeld}) {
    Extractor extractor(checkpoint);
    expect(extractor, hand.slice, reading);
    int chunks = 0;
    extractor.stream(hand.slice, 19u << 20, [&](std::span<float> values) {
      ++chunks;
      EXPECT_TRUE(std::ranges::equal(values, tensors[0].values));
    });
    EXPECT_EQ(chunks, 1);
  }
}

TEST(Extract, WhatIsReadAheadMayComeInAnotherOrder) {
  TempDir dir;
  const std::vector<TestTensor> tensors = {random_tensor("a", {300, 2000}, 1),
                                           random_tensor("b", {400, 1000}, 2)};
  write_checkpoint(dir / "model", nlohmann::json::object(), tensors, 2);
  const Checkpoint checkpoint = Checkpoint::open(dir / "model");
  const HandSlice a(tensors[0], 1, {{0, 1700}}), b(tensors[1], 0, {{0, 333}});
  const std::string as = bytes_of(naive_slice(tensors[0], a.slice), Dtype::kF32),
                    bs = bytes_of(naive_slice(tensors[1], b.slice), Dtype::kF32);
  Extractor extractor(checkpoint);
  extractor.read_ahead({&a.slice, &b.slice, &a.slice});
  const auto append = [&](const HandSlice& hand) {
    OutputFile out(dir / "out");
    extractor.append(hand.slice, Dtype::kF32, out);
    return test::slurp(dir / "out");
  };
  EXPECT_TRUE(append(a) == as);
  std::size_t streamed = 0;
  extractor.stream(b.slice, 1000, [&](std::span<float> values) { streamed += values.size(); });
  EXPECT_EQ(streamed, 333'000u);
  EXPECT_TRUE(append(b) == bs) << "not what was said";
  EXPECT_TRUE(append(a) == as);
  extractor.read_ahead({&b.slice});
  EXPECT_TRUE(append(b) == bs);
  EXPECT_TRUE(append(b) == bs) << "once more than was said";
}

TEST(Extract, ASourceCutShortOnTheWayIsNamed) {
  TempDir dir;
  const std::vector<TestTensor> tensors = {random_tensor("w", {4000, 1001}, 1)};
  write_checkpoint(dir / "model", nlohmann::json::object(), tensors);
  const Checkpoint checkpoint = Checkpoint::open(dir / "model");
  const std::filesystem::path file = checkpoint.shards()[0];
  const HandSlice hand(tensors[0], 1, {{0, 900}});
  Extractor extractor(checkpoint);
  OutputFile out(dir / "out");
  const std::string error = test::error_of([&] {
    const ProgressSink cut = [&](const Progress&) {
      std::filesystem::resize_file(file, 100'000);
      return true;
    };
    Meter meter(cut, 1, kEveryStep);
    extractor.append(hand.slice, Dtype::kF32, out, &meter);
  });
  EXPECT_NE(error.find(file.filename().string()), std::string::npos) << error;
  EXPECT_NE(error.find("cut short"), std::string::npos) << error;
}

TEST(Extract, KeepsEveryBitWhereTheDtypeStays) {
  // NaNs with payloads, infinities, negative zero and subnormals would not survive a conversion.
  TempDir dir;
  std::string pattern;
  for (std::uint32_t i = 0; i < 65'536; ++i) {
    pattern += static_cast<char>(i & 255);
    pattern += static_cast<char>(i >> 8);
  }
  std::vector<TestTensor> tensors = {{"w", {256, 256}, std::vector<float>(65'536), Dtype::kF16}};
  write_checkpoint(dir / "model", nlohmann::json::object(), tensors);
  std::string file = test::slurp(dir / "model/model.safetensors");
  file.replace(file.size() - pattern.size(), pattern.size(), pattern);
  test::spew(dir / "model/model.safetensors", file);
  const Checkpoint checkpoint = Checkpoint::open(dir / "model");
  for (int dim : {0, 1}) {
    const HandSlice hand(tensors[0], dim, {{0, 200}});
    OutputFile out(dir / "out");
    Extractor(checkpoint).append(hand.slice, Dtype::kF16, out);
    std::string expected;
    for (std::size_t i = 0; i < 65'536; ++i) {
      if ((dim == 0 ? i / 256 : i % 256) < 200) expected += pattern.substr(2 * i, 2);
    }
    EXPECT_TRUE(test::slurp(dir / "out") == expected) << dim;
  }
}

TEST(Extract, RefusesFiniteValuesThatWouldBecomeInfinite) {
  struct Case {
    float value;
    Dtype target;
    bool fits;
  };
  const float infinity = std::numeric_limits<float>::infinity();
  const Case cases[] = {
      {65'504, Dtype::kF16, true},    {65'519, Dtype::kF16, true},  // rounds down to 65,504
      {65'520, Dtype::kF16, false},   {-1e6f, Dtype::kF16, false},
      {infinity, Dtype::kF16, true},  {std::nanf(""), Dtype::kF16, true},
      {3.38e38f, Dtype::kBF16, true}, {-3.4e38f, Dtype::kBF16, false},
      {3.4e38f, Dtype::kF32, true},
  };
  for (const Case& c : cases) {
    TempDir dir;
    std::vector<TestTensor> tensors = {{"w", {2, 2}, {0, 1, c.value, 2}, Dtype::kF32}};
    write_checkpoint(dir / "model", nlohmann::json::object(), tensors);
    const Checkpoint checkpoint = Checkpoint::open(dir / "model");
    const HandSlice hand(tensors[0], -1, {});
    OutputFile out(dir / "out");
    const auto append = [&] { Extractor(checkpoint).append(hand.slice, c.target, out); };
    SCOPED_TRACE(fmt::format("{} to {}", c.value, to_string(c.target)));
    if (c.fits) {
      EXPECT_NO_THROW(append());
    } else {
      EXPECT_THROW(append(), Error);
    }
  }
}

TEST(Extract, NoticesThatTheCheckpointChangedWhileItWasRead) {
  TempDir dir;
  std::vector<TestTensor> tensors = {random_tensor("w", {500, 300}, 1)};
  write_checkpoint(dir / "model", nlohmann::json::object(), tensors);
  const std::filesystem::path file = dir / "model/model.safetensors";
  const HandSlice hand(tensors[0], 1, {{0, 100}});
  {
    const Checkpoint checkpoint = Checkpoint::open(dir / "model");
    Extractor extractor(checkpoint);
    OutputFile out(dir / "out");
    const ProgressSink touch = [&](const Progress&) {
      const auto now = std::filesystem::file_time_type::clock::now();
      std::filesystem::last_write_time(file, now + std::chrono::seconds(1));
      return true;
    };
    Meter meter(touch, 1, kEveryStep);
    extractor.append(hand.slice, Dtype::kF32, out, &meter);
    EXPECT_THROW(extractor.check_unchanged(), Error);
  }
  // Written over, or replaced by another file of the same size, between opening and reading.
  const std::string bytes = test::slurp(file);
  const auto write_over = [&] { test::spew(file, bytes); };
  const auto replace = [&] {
    test::spew(dir / "new", bytes);
    std::filesystem::rename(dir / "new", file);
  };
  for (const std::function<void()>& change :
       {std::function<void()>(write_over), std::function<void()>(replace)}) {
    const Checkpoint checkpoint = Checkpoint::open(dir / "model");
    change();
    OutputFile out(dir / "out");
    Extractor extractor(checkpoint);
    extractor.append(hand.slice, Dtype::kF32, out);
    EXPECT_THROW(extractor.check_unchanged(), Error);
    EXPECT_THROW(extract_f32(checkpoint, hand.slice), Error);
  }
  // Cut short between opening and reading: an error and not a signal.
  const Checkpoint checkpoint = Checkpoint::open(dir / "model");
  std::filesystem::resize_file(file, std::filesystem::file_size(file) - 300'000);
  OutputFile out(dir / "out");
  EXPECT_THROW(Extractor(checkpoint).append(hand.slice, Dtype::kF32, out), Error);
  EXPECT_THROW(Extractor(checkpoint).append(hand.slice, Dtype::kBF16, out), Error);
  EXPECT_THROW(extract_f32(checkpoint, hand.slice), Error);
}

TEST(Extract, StopsWhenProgressSaysSo) {
  TempDir dir;
  std::vector<TestTensor> tensors = {random_tensor("w", {50, 30}, 1)};
  write_checkpoint(dir / "model", nlohmann::json::object(), tensors);
  const Checkpoint checkpoint = Checkpoint::open(dir / "model");
  for (int dim : {-1, 0, 1}) {
    for (Dtype target : kDtypes) {
      const HandSlice hand(tensors[0], dim, {{0, 10}});
      OutputFile out(dir / "out");
      const ProgressSink stop = [](const Progress&) { return false; };
      Meter meter(stop, 1, kEveryStep);
      EXPECT_THROW(Extractor(checkpoint).append(hand.slice, target, out, &meter), Stopped);
    }
  }
}

TEST(Extract, NamesATensorThatIsNotThere) {
  TempDir dir;
  std::vector<TestTensor> tensors = {random_tensor("w", {5}, 1)};
  write_checkpoint(dir / "model", nlohmann::json::object(), tensors);
  const Checkpoint checkpoint = Checkpoint::open(dir / "model");
  const TestTensor other{"v", {5}, {}, Dtype::kF32};
  const HandSlice hand(other, -1, {});
  OutputFile out(dir / "out");
  EXPECT_THROW(Extractor(checkpoint).append(hand.slice, Dtype::kF32, out), Error);
}

}  // namespace
}  // namespace mnm
