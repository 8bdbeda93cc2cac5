#include "extract/slice_reader.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "tests/support/temp_dir.h"

namespace mnm {
namespace {

using test::TempDir;

TensorCopy rows_of(std::uint64_t rows, std::uint64_t row_bytes, std::vector<ByteRange> kept) {
  TensorCopy copy;
  copy.rows = rows;
  copy.row_bytes = row_bytes;
  copy.kept = std::move(kept);
  for (const ByteRange& range : copy.kept) copy.bytes += rows * range.length();
  return copy;
}

TEST(SliceCursor, WalksTheRunsOfEveryRow) {
  TensorCopy copy = rows_of(3, 10, {{1, 3}, {6, 9}});
  copy.offset = 100;
  std::vector<std::uint64_t> bytes;
  for (SliceCursor at(copy); at.run() > 0; at.advance(1)) bytes.push_back(at.offset());
  EXPECT_EQ(bytes, (std::vector<std::uint64_t>{101, 102, 106, 107, 108, 111, 112, 116, 117, 118,
                                               121, 122, 126, 127, 128}));
  for (std::uint64_t i = 0; i < bytes.size(); ++i) {
    EXPECT_EQ(SliceCursor(copy, i).offset(), bytes[i]);
  }
  EXPECT_EQ(SliceCursor(copy, copy.bytes).run(), 0u);
  EXPECT_EQ(SliceCursor(rows_of(0, 10, {})).run(), 0u);
}

TEST(SliceView, ShowsWhatAReaderReads) {
  const TempDir dir;
  std::string text(3'000'000, '\0');
  for (std::size_t i = 0; i < text.size(); ++i) text[i] = static_cast<char>(i * 31 + i / 251);
  test::spew(dir / "f", text);
  const SourceFile file(dir / "f");
  std::vector<TensorCopy> copies = {
      rows_of(1, 2'900'000, {{0, 2'900'000}}), rows_of(100, 20'000, {{0, 15'000}}),
      rows_of(100, 20'000, {{100, 1300}, {15'000, 19'999}}), rows_of(20, 100'000, {{5, 20'000}})};
  for (TensorCopy& copy : copies) {
    copy.offset = 777;
    SliceReader reader(file, copy);
    SliceView view(file, copy);
    for (const auto& [begin, end] : {std::pair<std::uint64_t, std::uint64_t>{0, copy.bytes},
                                     {1, 2},
                                     {copy.bytes / 3, copy.bytes - 1},
                                     {5, 5}}) {
      announce(file, copy, begin, end);
      std::string shown, read(end - begin, '\0');
      for (const auto piece : view.pieces(begin, end)) {
        shown.append(reinterpret_cast<const char*>(piece.data()), piece.size());
      }
      reader.seek(begin);
      EXPECT_EQ(reader.read(std::as_writable_bytes(std::span(read))), read.size());
      EXPECT_TRUE(shown == read);
    }
  }
}

// Neither the gaps between rows nor what is mapped around short pieces is without a bound.
TEST(SliceView, IsForPiecesThatAreLongOrClose) {
  EXPECT_TRUE(SliceView::suits(rows_of(1000, 57'344, {{0, 14'336}})));
  EXPECT_TRUE(SliceView::suits(rows_of(1000, 1 << 20, {{0, 16'384}})));
  EXPECT_FALSE(SliceView::suits(rows_of(1000, 57'344, {{0, 8192}})));
  EXPECT_FALSE(SliceView::suits(rows_of(1000, 1024, {{0, 512}})));
  EXPECT_FALSE(SliceView::suits(rows_of(0, 1024, {})));
  EXPECT_TRUE(reads_gaps(rows_of(1000, 16'384, {{0, 8192}})));
  EXPECT_FALSE(reads_gaps(rows_of(1000, 100'000'000, {{0, 58'000'000}})));
  EXPECT_FALSE(reads_gaps(rows_of(1000, 57'344, {{0, 14'336}})));
}

}  // namespace
}  // namespace mnm
