// MNIST's files, which Fashion-MNIST and others have too: big-endian, a magic number, the sizes,
// then bytes. Pictures have magic 0x803 and sizes count, height, width; labels have magic 0x801 and
// a count (LeCun et al., "The MNIST database", section "File formats").
#pragma once

#include <filesystem>
#include <memory>

#include "image/image_source.h"

namespace mnm {

// `pictures` is a file of pictures, gzipped or not. Its labels are options.labels, or the file
// beside it in whose name "images" is "labels" and "idx3" is "idx1", with or without ".gz". Error,
// which names the file, for another format, a file that is shorter or longer than its header says,
// and for counts that differ.
std::unique_ptr<ImageSource> open_idx(const std::filesystem::path& pictures,
                                      const SourceOptions& options);

}  // namespace mnm
