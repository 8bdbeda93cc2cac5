// A set of pictures of one size, decoded once. It is a directory:
//   images.npy    uint8 [N, height, width, channels]
//   labels.npy    int64 [N]
//   classes.json  the names of the classes; label i is the i-th
//   names.json    where each picture came from
//   set.json      how the set was made, and which pictures were left out
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/progress.h"
#include "image/image_source.h"
#include "image/preparation.h"

namespace mnm {

inline constexpr const char *kImagesFile = "images.npy", *kLabelsFile = "labels.npy",
                            *kClassesFile = "classes.json", *kNamesFile = "names.json",
                            *kSetFile = "set.json";

struct ImageSetOptions {
  std::filesystem::path target;
  AtomicDirectory::Replaceable replaceable{};  // what may be at the target already
  std::int64_t max_pixels = kMaxPixels;        // of a picture
  bool skip_broken = false;                    // the set is made without them
  unsigned threads = 1;
};

struct BrokenImage {
  std::string name, why;  // `why` is a sentence that begins with the attempt
};

struct ImageSetResult {
  // False: all pictures are broken, or some are and skip_broken is not set. In the second case the
  // sound ones lie in unfinished_set(), from which a call with skip_broken goes on.
  bool written = false;
  std::int64_t count = 0, channels = 0;
  Extent extent;
  std::int64_t resumed = 0;  // pictures that an earlier call had read
  std::vector<BrokenImage> broken;
};

// Decodes and prepares every picture of the source and writes the set, in the order of the source.
// The bytes do not depend on the number of threads.
//
// Until it is whole, the set lies beside the target, as ".NAME.unfinished". It stays there if the
// call is stopped or the process dies, and the next call with the same source and preparation goes
// on from there. Error if another process is writing it, and if the disk has no room.
//
// Where pictures keep their size, all must have the size of the first; others are broken.
ImageSetResult make_image_set(const ImageSource& source, const Preparation& preparation,
                              const ImageSetOptions& options, const ProgressSink& progress);

// The directory in which an unfinished set lies.
std::filesystem::path unfinished_set(const std::filesystem::path& target);

}  // namespace mnm
