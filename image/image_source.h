// Where pictures come from. Three layouts are read, and each is one file:
//   image/image_folder   a directory of directories, one for each class (torchvision's ImageFolder)
//   image/idx            MNIST's files of pixels and of labels, gzipped or not
//   image/webdataset     tar archives of members KEY.jpg and KEY.cls (WebDataset)
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/file.h"
#include "image/decode.h"
#include "image/image.h"

namespace mnm {

struct ListedImage {
  std::string name;  // below the source, unique: "cat/1.jpg", "train-00.tar/000017.jpg", "17"
  std::int64_t label = 0;
};

// A list of pictures with their labels. It is read when it is opened; pictures are read later.
class ImageSource {
 public:
  virtual ~ImageSource() = default;

  std::string kind;                  // "folder", "idx", "webdataset"
  std::vector<ListedImage> images;   // in the order of the set
  std::vector<std::string> classes;  // labels are below their number
  std::string fingerprint;           // of names, labels, and the sizes and times of the files
  std::int64_t without_class = 0;    // pictures that are left out because they have no class

  // Decodes one picture. Several threads may call this at once. Error as decode_image() has it, and
  // where the file cannot be read.
  virtual Image decode(std::size_t index, const DecodeOptions& options) const = 0;

  // Error if a file that holds many pictures was written or replaced since it was opened.
  virtual void check_unchanged() const {}
};

struct SourceOptions {
  std::filesystem::path labels{};      // IDX: else the file beside it whose name says labels
  std::vector<std::string> classes{};  // their names; else folders, or numbers
};

// Opens the layout that the paths have: one directory, one IDX file, or one or several tar
// archives. Error if a path does not exist, has another layout, or holds no picture; if there are
// not as many labels as pictures; or if a label is not below the number of classes.
std::unique_ptr<ImageSource> open_image_source(std::span<const std::filesystem::path> paths,
                                               const SourceOptions& options);

// One picture's file, which is `size` bytes of `file` from `begin` on. Error, which names the
// picture `name`, if it has more than most_encoded() bytes.
std::vector<std::byte> read_encoded(const MappedFile& file, std::uint64_t begin, std::uint64_t size,
                                    const std::string& name, const DecodeOptions& options);

// The names "0", "1", ... up to the largest label, or `given`. Error if a label is negative or is
// not among those that were given, or if there are more than a million classes.
std::vector<std::string> class_names(const std::vector<ListedImage>& images,
                                     const std::vector<std::string>& given,
                                     const std::string& source);

}  // namespace mnm
