// A set that is being written (image/image_set.h): its pixels, and a journal of how far it is.
//
// The journal's first line says whose it is, and identifies source and preparation. Each further
// line is a JSON object: the number of the next picture, and the pictures before it that are broken
// since the last line. A line is written after the pixels that it counts. So what a dead process
// left is sound up to its last whole line.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "image/image_set.h"

namespace mnm {

class UnfinishedSet {
 public:
  // Goes on with what is in `directory` if its journal names `identity`; starts anew if it names
  // another. A journal ends before its first line that cannot be right. `total`: pictures of the
  // source. `row_bytes`: of one picture.
  //
  // Error if another process has it open, and if no such call can have left what is there: a link,
  // a directory of another user, any other file, a file that has a second name, a journal that
  // begins otherwise. Nothing of that is written to or removed.
  UnfinishedSet(std::filesystem::path directory, const std::string& identity, std::int64_t total,
                std::uint64_t row_bytes);
  UnfinishedSet(const UnfinishedSet&) = delete;
  UnfinishedSet& operator=(const UnfinishedSet&) = delete;
  ~UnfinishedSet();

  const std::filesystem::path& directory() const { return directory_; }
  std::int64_t next() const { return next_; }  // pictures of the source that are done
  std::int64_t rows() const { return next_ - static_cast<std::int64_t>(broken_.size()); }
  // Numbers of the source's pictures, ascending, and why.
  struct Broken {
    std::int64_t index = 0;
    std::string why;
  };
  const std::vector<Broken>& broken() const { return broken_; }

  // Adds the pictures up to `next`: the pixels of the sound ones, and the broken ones.
  void append(std::span<const std::uint8_t> pixels, std::int64_t next, std::vector<Broken> broken);

  // Writes the head of images.npy, flushes it to the disk, and moves it to `path`. Then the
  // directory can be removed; only these two files are removed with it.
  void finish(const Extent& extent, std::int64_t channels, const std::filesystem::path& path);
  void remove();

 private:
  void read_journal(const std::string& first, std::int64_t total);
  void close_all();

  std::filesystem::path directory_;
  std::uint64_t row_bytes_;
  std::int64_t next_ = 0;
  std::vector<Broken> broken_;
  int lock_ = -1, pixels_ = -1, journal_ = -1;  // descriptors
};

}  // namespace mnm
