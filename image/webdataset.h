// Tar archives in which members that follow each other and share a key make one example: KEY.jpg
// (or .jpeg, .png) with KEY.cls, the number of its class. This is the layout of WebDataset, in
// which timm's data sets are published.
#pragma once

#include <filesystem>
#include <memory>
#include <span>

#include "base/file.h"
#include "image/image_source.h"

namespace mnm {

bool is_tar(const MappedFile& file);

// The archives are read one after another. A key is the member's name up to the first point after
// its last '/'. Other members of an example are not read. Error, which names archive and member, as
// list_tar() has it; for an example without a picture, with two, or without a class that is a
// number; and for two examples of one key. Pictures are named ARCHIVE/MEMBER. Where file names of
// archives are alike, ARCHIVE has as many folders as tell all archives apart. UsageError for an
// archive that is given twice.
std::unique_ptr<ImageSource> open_webdataset(std::span<const std::filesystem::path> archives,
                                             const SourceOptions& options);

}  // namespace mnm
